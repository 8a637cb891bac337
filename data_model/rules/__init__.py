"""The anomaly rules, found by folder: a new rule is one new file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from functools import cache

from deeptracker.data_model.rules.base import Rule, RunData, Window

__all__ = ["FoundRules", "Rule", "RunData", "Window", "find_rules"]


@dataclass(frozen=True)
class FoundRules:
    """The rules of the folder by name, and the files that could not be read, with the reason."""

    rules: dict[str, type[Rule]]
    failures: dict[str, str]


@cache
def find_rules() -> FoundRules:
    """Scan this folder for rules, in alphabetical order; a broken file is reported and does not hide the
    others."""
    rules: dict[str, type[Rule]] = {}
    failures: dict[str, str] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda entry: entry.name):
        if module.name == "base":
            continue
        try:
            loaded = importlib.import_module(f"{__name__}.{module.name}")
        except Exception as error:  # noqa: BLE001 - any fault of a rule's file must leave the other rules standing
            failures[module.name] = f"{type(error).__name__}: {error}"
            continue
        for _, found in inspect.getmembers(loaded, inspect.isclass):
            if issubclass(found, Rule) and found.__module__ == loaded.__name__ and not found.__name__.startswith("_"):
                rules[found.name] = found
    return FoundRules(rules, failures)
