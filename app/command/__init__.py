"""The command line: `deeptracker` and its commands. Each file of this folder that has `add_to` is one."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

from deeptracker.data_model.errors import DeepTrackerError


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets `run`, the function that carries it out."""
    top = argparse.ArgumentParser(
        prog="deeptracker",
        description="Record the whole training of a CNN at every iteration, and explore it at any zoom.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _commands():
        command.add_to(commands)
    return top


def _commands() -> Iterator[ModuleType]:
    """Return the files of this folder that add a command, in the order of their names."""
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda one: one.name):
        if found.name != "__main__" and hasattr(
            module := importlib.import_module(f"{__name__}.{found.name}"), "add_to"
        ):
            yield module


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
