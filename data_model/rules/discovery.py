"""Where rules come from: this folder, other packages that announce theirs, and folders of the user's own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from deeptracker.data_model.rules.base import Rule

GROUP = "deeptracker.rules"
"""Entry-point group in which a package announces modules of rules, or single rules."""

FOLDERS = "DEEPTRACKER_RULES"
"""Environment variable with folders of the user's own rules, separated as in PATH."""

_NO_RULES = ("base", "discovery")
_NEEDED = ("kind", "title", "source")
_added: list[Path] = []


@dataclass(frozen=True)
class FoundRules:
    """The rules by name, and what could not be loaded (a file, an entry point or a folder), with the reason."""

    rules: dict[str, type[Rule]]
    failures: dict[str, str]


def add_rules(folder: str | Path) -> None:
    """Search a folder for rules too, from now on in this process: each file holds one or more subclasses of `Rule`.

    Its files are imported, so it must be one that you trust. What is wrong with a file is told with the first search.
    """
    path = Path(folder).resolve()
    if path not in _added:
        _added.append(path)
        find_rules.cache_clear()


@cache
def find_rules() -> FoundRules:
    """Return the rules of this folder, then those of other packages, then the user's own, each by name.

    What is broken is reported and does not hide the others; the name of a rule that is there already is taken.
    """
    rules: dict[str, type[Rule]] = {}
    failures: dict[str, str] = {}
    for label, load in _sources():
        try:
            for found in _rules_in(load()):
                _enter(found, rules)
        except Exception as error:  # noqa: BLE001 - any fault of a rule's file must leave the other rules standing
            failures[label] = f"{type(error).__name__}: {error}"
    return FoundRules(rules, failures)


def _sources() -> Iterator[tuple[str, Callable[[], object]]]:
    """Return what may hold rules: how it is called where it fails, and what loads it."""
    package = importlib.import_module(__package__ or "")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda entry: entry.name):
        if module.name not in _NO_RULES:
            yield module.name, partial(importlib.import_module, f"{package.__name__}.{module.name}")
    for point in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        yield f"entry point {point.name}", point.load
    given = [Path(one) for one in os.environ.get(FOLDERS, "").split(os.pathsep) if one]
    for folder in dict.fromkeys([*_added, *given]):
        if not folder.is_dir():
            yield str(folder), partial(_missing, folder)
        for file in sorted(folder.glob("*.py")):
            if not file.name.startswith("_"):
                yield str(file), partial(_load_file, file)


def _rules_in(loaded: object) -> list[type[Rule]]:
    """Return the rules that a module defines, in alphabetical order, or the one that was announced by itself."""
    if inspect.isclass(loaded) and issubclass(loaded, Rule):
        return [loaded]
    if not isinstance(loaded, ModuleType):
        raise TypeError(f"{loaded!r} is neither a module nor a subclass of Rule")
    return [
        found
        for _, found in inspect.getmembers(loaded, inspect.isclass)
        if issubclass(found, Rule) and found.__module__ == loaded.__name__ and not found.__name__.startswith("_")
    ]


def _enter(found: type[Rule], rules: dict[str, type[Rule]]) -> None:
    lacking = [name for name in _NEEDED if not hasattr(found, name)]
    if lacking:
        raise TypeError(f"the rule {found.__name__} lacks {' and '.join(lacking)}")
    known = rules.get(found.name)
    if known is not None:
        raise ValueError(f"the name {found.name!r} is taken by {known.__module__}.{known.__name__}; choose another")
    rules[found.name] = found


def _missing(folder: Path) -> object:
    raise FileNotFoundError(f"there is no such folder; correct {FOLDERS}, or what was given to add_rules")


def _load_file(file: Path) -> object:
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
    name = f"deeptracker_rules_{digest}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
