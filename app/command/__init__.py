"""The command line: `deeptracker` and its commands, a file each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from deeptracker.app.command import anomalies, check, compare, demo, info, serve, watch
from deeptracker.data_model.errors import DeepTrackerError


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets `run`, the function that carries it out."""
    top = argparse.ArgumentParser(
        prog="deeptracker",
        description="Record the whole training of a CNN at every iteration, and explore it at any zoom.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (demo, serve, info, anomalies, watch, compare, check):
        command.add_to(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command; return 0, or 1 after saying on stderr in one line what went wrong."""
    given = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = given.run
    try:
        return run(given)
    except DeepTrackerError as error:
        return _refuse(str(error))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _refuse(f"The operating system refuses: {error.strerror or error}{where}.")
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _refuse(message: str) -> int:
    print(f"deeptracker: {' '.join(message.split())}", file=sys.stderr)
    return 1
