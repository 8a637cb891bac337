"""Searches a run with many rules side by side: each rule by itself, on the cores of this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deeptracker.data_model.anomaly import in_order
from deeptracker.data_model.detection import Detection, chosen_rules, detect
from deeptracker.data_model.rules import add_rules, find_rules
from deeptracker.data_model.run import open_run
from deeptracker.data_model.storage import Place, open_storage
from deeptracker.data_model.workers import crew


@dataclass(frozen=True)
class Search:
    """One rule, and the run that it is to search, as whoever does it finds them: by URL, name and folders of rules."""

    url: str
    rule: str
    folders: tuple[str, ...] = ()


def detect_shared(
    place: Place,
    rules: Iterable[str] | None = None,
    *,
    folders: Sequence[str] = (),
    workers: int = 1,
    scheduler: str | None = None,
) -> Detection:
    """Return what `detect` returns for a run, the rules having been shared out; None means all rules.

    `folders` hold rules of the user's own. `workers` and `scheduler` as for `crew`: run and folders must be where they
    are for all workers too. A run that is recorded meanwhile is searched by each rule as it is then. Raises what
    `open_run`, `detect` and `crew` raise.
    """
    names = [rule.name for rule in chosen_rules(rules)]
    failures = dict(find_rules().failures) if rules is None else {}
    found = []
    searches = [Search(open_storage(place).url, name, tuple(folders)) for name in names]
    with crew(workers=workers, scheduler=scheduler) as each:
        for one in each(search, searches):
            found += one.anomalies
            failures |= one.failures
    return Detection(in_order(found), failures)


def search(task: Search) -> Detection:
    """Search a run with one rule."""
    for folder in task.folders:
        add_rules(folder)
    return detect(open_run(task.url), [task.rule])
