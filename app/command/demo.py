"""`deeptracker demo`: train a small CNN on real handwritten digits and watch it while it trains."""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deeptracker.app.command.serve import add_server_options
from deeptracker.data_model.errors import DeepTrackerError, NotARunError, RunExistsError

NEEDED = {"torch": "PyTorch", "sklearn": "scikit-learn", "tqdm": "tqdm"}
NETWORKS = ("residual", "tiny")
STOP_SECONDS = 20.0
"""How long the training may take to write what it has and end."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="train a small CNN with everything recorded, and show it live",
        description="Train a small CNN on real handwritten digits with everything recorded, and show it live.",
    )
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        default=NETWORKS[0],
        help="a residual CNN of 16 layers, or a tiny one of three for very long runs (default: %(default)s)",
    )
    parser.add_argument("--iterations", type=_positive, default=None, metavar="N", help="how long to train")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="folder of the run (default: runs/demo)")
    parser.add_argument("--no-serve", action="store_true", help="train and record only, without the app")
    add_server_options(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Train in a process of its own, and serve the app that shows the run while it grows."""
    path = given.out or free_folder(Path("runs/demo"))
    check(path)
    if given.no_serve:
        return _train(path, given.iterations, given.network)
    from deeptracker.app.library import Library
    from deeptracker.app.serving import Server

    library = Library([path])
    server = Server(library, given.port, given.address, given.allow_origin)
    training = multiprocessing.get_context("spawn").Process(
        target=_train_apart, args=(path, given.iterations, given.network)
    )
    training.start()
    watcher = threading.Thread(
        target=_announce, args=(training, path, f"{server.url}run?path={quote(library.key(library.roots[0]))}")
    )
    watcher.start()
    try:
        server.run()
    finally:
        _stop(training)
        watcher.join()
    return 0 if training.exitcode in (0, None) or (path / "zarr.json").exists() else 1


def check(path: Path) -> None:
    """Raise before anything is written when the demo cannot run, or would write where something is."""
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise DemoUnavailableError(
            f"The demo trains with {' and '.join(missing)}, which this environment lacks. "
            'Install it with: pip install "deeptracker[demo]"'
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunExistsError(f"{path} already holds something. Give another folder with --out.")


class DemoUnavailableError(DeepTrackerError):
    """The demo needs packages that are not installed."""


def free_folder(path: Path) -> Path:
    """Return the path, or the first of `path-2`, `path-3`, ... where nothing is yet."""
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate


def _positive(text: str) -> int:
    if not (text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of iterations: give a whole number from 1 on")
    return int(text)


def _train(path: Path, iterations: int | None, network: str) -> int:
    from deeptracker.tracker.demo import train_demo

    try:
        accuracy = train_demo(path, iterations, network=network)
    except KeyboardInterrupt:
        print(f"\nThe training was stopped; what was recorded is in {path}.", file=sys.stderr)
        return 130
    print(f"The training is finished: {accuracy:.1%} of the validation images are right. The run is in {path}.")
    return 0


def _train_apart(path: Path, iterations: int | None, network: str) -> None:
    """Run in the child: end with one line instead of a traceback, and end when asked to."""
    signal.signal(signal.SIGINT, _interrupt_once)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        sys.exit(_train(path, iterations, network))
    except (DeepTrackerError, ImportError, OSError) as error:
        sys.exit(f"deeptracker: {' '.join(str(error).split())}")


def _interrupt_once(number: int, frame: Any) -> None:
    """Stop the training; the terminal and the parent may both ask, and the run must be closed undisturbed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _announce(training: Any, path: Path, address: str) -> None:
    """Print the address once the run can be opened; say when the training ended."""
    while training.is_alive() and not _has_data(path):
        time.sleep(0.2)
    if training.exitcode not in (0, None) and not _has_data(path):
        os.kill(os.getpid(), signal.SIGINT)  # nothing to serve: the child has said why
        return
    print(f"DeepTracker is at {address}\nCtrl-C stops the training and the app.", flush=True)
    training.join()
    if training.exitcode == 0:
        print("The app stays open; Ctrl-C stops it.", flush=True)


def _has_data(path: Path) -> bool:
    from deeptracker.data_model.run import open_run

    try:
        return open_run(path).iterations != (0, 0)
    except (NotARunError, OSError):
        return False


def _stop(training: Any) -> None:
    if training.is_alive():
        os.kill(training.pid, signal.SIGINT)
        training.join(STOP_SECONDS)
    if training.is_alive():
        training.terminate()
        training.join(STOP_SECONDS)
