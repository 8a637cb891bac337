"""Runs rules over a run and gathers what they find; a rule that fails is named, and the others go on."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from deeptracker.data_model.anomaly import Anomaly, in_order, to_frame
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.rules import Rule, RunData, Window, find_rules
from deeptracker.data_model.rules.base import Follower


class RuleFailedWarning(UserWarning):
    """A rule raised; what the other rules found is complete."""


@dataclass(frozen=True)
class Detection:
    """What the rules found, in order of time, and why a rule could not look, by its name."""

    anomalies: list[Anomaly] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def default_rules() -> list[Rule]:
    """Return one of each rule with its default thresholds."""
    return [rule() for rule in find_rules().rules.values()]


def chosen_rules(rules: Iterable[str | Rule] | None) -> list[Rule]:
    """Turn names of rules, or rules with thresholds of their own, into rules; None means all.

    Raises `QueryError` for a name that no rule has.
    """
    if rules is None:
        return default_rules()
    known = find_rules().rules
    chosen = []
    for rule in [rules] if isinstance(rules, str) else rules:
        if isinstance(rule, str) and rule not in known:
            raise QueryError(f"There is no rule named {rule!r}. Rules: {', '.join(known)}.")
        chosen.append(known[rule]() if isinstance(rule, str) else rule)
    return chosen


def detect(run: RunData, rules: Iterable[str | Rule] | None = None, iterations: Window = None) -> Detection:
    """Run the rules over `iterations` [start, stop), or over the whole run."""
    if iterations is not None and not iterations[0] < iterations[1]:
        raise QueryError(f"A window needs start < stop; given {iterations[0]} to {iterations[1]}.")
    found: list[Anomaly] = []
    failures = dict(find_rules().failures) if rules is None else {}
    for rule in chosen_rules(rules):
        try:
            found += rule.find(run, iterations)
        except Exception as error:  # noqa: BLE001 - any fault of one rule must leave the others standing
            failures[rule.name] = f"{type(error).__name__}: {error}"
    return Detection(in_order(found), failures)


class Following:
    """Runs rules over a growing run again and again; rules that can look only at what is new.

    The answer of `update` is that of `detect`. A rule whose thresholds have changed starts anew, and so do all where
    records were cut off, or images were given another class.
    """

    def __init__(self, rules: Iterable[str | Rule] | None = None) -> None:
        """Take the rules, as `detect` does; QueryError for an unknown one."""
        self.rules = chosen_rules(rules)
        self._broken = dict(find_rules().failures) if rules is None else {}
        self._followers: dict[str, tuple[object, Follower]] = {}

    def update(self, run: RunData) -> Detection:
        """Return everything that the rules find in the run as it is now."""
        history = _history(run)
        found: list[Anomaly] = []
        failures = dict(self._broken)
        for rule in self.rules:
            state = (history, *(getattr(rule, name) for name in rule.thresholds()))
            known = self._followers.get(rule.name)
            follower = known[1] if known and known[0] == state else rule.follow()
            self._followers[rule.name] = (state, follower)
            try:
                found += follower.update(run)
            except Exception as error:  # noqa: BLE001 - as in detect
                failures[rule.name] = f"{type(error).__name__}: {error}"
                del self._followers[rule.name]  # it may have stopped halfway
        return Detection(in_order(found), failures)


def _history(run: RunData) -> tuple[object, ...]:
    """Return what changes when something of the past has changed."""
    cuts = sum(note.get("key") == "cut" for note in getattr(run, "notes", ()))
    return (id(run), cuts, len(getattr(run, "relabelled", ())))


def find_anomalies(run: RunData, rules: Iterable[str | Rule] | None = None, iterations: Window = None) -> pd.DataFrame:
    """Return what the rules find as a table (rule, kind, entity, start, stop, score, message), in order of
    time.

    `rules` are names of rules or rules with thresholds of their own (None: all), `iterations` a window
    [start, stop). A rule that fails is named in a `RuleFailedWarning`.
    """
    detection = detect(run, rules, iterations)
    warn_of(detection)
    return to_frame(detection.anomalies)


def warn_of(detection: Detection) -> None:
    """Name each rule that failed in a `RuleFailedWarning`."""
    for name, reason in detection.failures.items():
        warnings.warn(f"The rule {name} could not look: {reason}", RuleFailedWarning, stacklevel=3)
