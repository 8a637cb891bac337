"""Whether faults are found, and nothing where there is none: trainings of small CNNs on real digits, with known faults.

Run: python tests/benchmarks/bench_faults.py [--recordings FOLDER] [--half development|held-out]. Trainings that are not
in the folder yet are recorded first, one after the other: an hour for all. Stopped, it goes on where it was.

The rules were chosen on the development half (and on faults for practice, which do not count here); see
`tests/faults/recordings.py` for the split, `tests/faults/judge.py` for what is right.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeptracker.data_model.run import open_run
from tests.faults import sagemaker
from tests.faults.judge import Find, Verdict, judge, table
from tests.faults.recordings import Recording, read_truth, recorded, recordings

FOLDER = Path("runs/faults")
GOAL = {"recall": 0.95, "place": 0.9, "false per 10,000": 1.0}
HALVES = {"development": True, "held-out": False}
SEARCHES: dict[str, Find] = {
    "DeepTracker": lambda run: run.episodes(),
    "SageMaker Debugger, layer rules": sagemaker.layer_rules,
    "SageMaker Debugger, all rules": sagemaker.all_rules,
}


def judged(folder: Path, wanted: Sequence[Recording]) -> dict[str, list[Verdict]]:
    """Return the verdicts of each search on the recordings, recording those that are missing."""
    verdicts: dict[str, list[Verdict]] = {name: [] for name in SEARCHES}
    for one, path in recorded(folder, list(wanted)):
        run = open_run(path)
        for name, find in SEARCHES.items():
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a rule that cannot look must not pass for one that finds nothing
                verdicts[name].append(judge(run, read_truth(run), find(run), one.name))
    return verdicts


def by_fault(verdicts: Sequence[Verdict], peer: Sequence[Verdict]) -> str:
    """Return a line for each fault: how many were found, at the right place and time, how late; and by the peer."""
    lines = [f"{'fault':<38}{'found':>8}{'place':>8}{'time':>8}{'delay':>8}{'peer found':>12}"]
    for fault in sorted({one.fault for one in verdicts if one.fault}):
        mine = [one for one in verdicts if one.fault == fault]
        found = [one for one in mine if one.found]
        theirs = sum(one.found is not None for one in peer if one.fault == fault)
        delay = f"{np.median([one.delay for one in found]):.0f}" if found else "-"
        place, time = (sum(getattr(one, name) for one in mine) for name in ("place", "time"))
        lines.append(
            f"{fault:<38}{f'{len(found)}/{len(mine)}':>8}{place:>8}{time:>8}{delay:>8}{f'{theirs}/{len(mine)}':>12}"
        )
    return "\n".join(lines)


def summary(name: str, verdicts: Sequence[Verdict]) -> str:
    """Return one line of figures over all faults and clean iterations."""
    found = table(verdicts)
    return (
        f"{name:<34}{found['recall']:>7.2f}{found['place']:>7.2f}{found['place among']:>7.2f}{found['time']:>7.2f}"
        f"{found['delay median']:>7.0f}{found['delay 90 %']:>7.0f}{found['false per 10,000']:>8.2f}"
        f"{100 * found['alarm time']:>8.1f} %"
    )


def report(half: str, verdicts: dict[str, list[Verdict]]) -> None:
    """Print the tables of one half."""
    mine, peer = verdicts["DeepTracker"], verdicts["SageMaker Debugger, layer rules"]
    found = table(mine)
    print(f"\n== {half}: {found['faults']:.0f} faults, {found['clean']:,.0f} clean iterations")
    print(by_fault(mine, peer))
    print(
        f"\n{'':<34}{'recall':>7}{'place':>7}{'among':>7}{'time':>7}{'delay':>7}{'90 %':>7}{'false':>8}{'alarmed':>10}"
    )
    for name, ones in verdicts.items():
        print(summary(name, ones))
    reached = {
        name: found[name] <= goal if name.startswith("false") else found[name] >= goal for name, goal in GOAL.items()
    }
    print(
        "goals: " + ", ".join(f"{name} {GOAL[name]:g} {'reached' if ok else 'MISSED'}" for name, ok in reached.items())
    )


def main() -> None:
    """Record what is missing, judge, and print both halves apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, default=FOLDER, help="default: %(default)s")
    parser.add_argument("--half", choices=list(HALVES), action="append", help="default: both")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    given = parser.parse_args()
    figures = {}
    for half in given.half or HALVES:
        wanted = [
            one
            for one in recordings()
            if one.development is HALVES[half] and not (one.fault is not None and one.fault.practice)
        ]
        verdicts = judged(given.recordings, wanted)
        report(half, verdicts)
        figures[half] = {name: table(ones) for name, ones in verdicts.items()}
    print("\nplace: right as the first headline; among: right as one of them; delay in iterations, median and 90 %;")
    print("false: episodes per 10,000 clean iterations; alarmed: share of the clean iterations within a false episode")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
