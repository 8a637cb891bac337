"""`python -m tests.crash --kills 300`: the crash harness at length, with figures at the end."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.crash.content import small_shards
from tests.crash.faults import count_operations, fail_in_turn
from tests.crash.harness import Outcome, kill_writers


def fail_all() -> None:
    """Have each operation fail once, and for good, and say how many there are."""
    with tempfile.TemporaryDirectory(prefix="deeptracker-crash-") as folder:
        total = count_operations(Path(folder) / "whole")
        for dead in (False, True):
            noticed = fail_in_turn(Path(folder), range(total), dead=dead)
            how = "for good" if dead else "once"
            print(f"{total} operations failed in turn, {how}: {noticed} noticed, nothing lost", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description="Kill writers at random moments.")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0.6, help="each is killed within so many of its start")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--filled", type=int, default=0, help="iterations of the first run before the first kill")
    parser.add_argument(
        "--faults", action="store_true", help="instead, have each operation of a recording fail in turn"
    )
    given = parser.parse_args()
    begun = time.monotonic()
    if given.faults:
        fail_all()
        return

    def tell(outcome: Outcome) -> None:
        if outcome.kills % 25 == 0:
            print(f"{asdict(outcome)}, {time.monotonic() - begun:.0f} s", flush=True)

    with tempfile.TemporaryDirectory(prefix="deeptracker-crash-") as folder:
        outcome = kill_writers(
            Path(folder), given.kills, seconds=given.seconds, seed=given.seed, filled=given.filled, tell=tell
        )
    print(asdict(outcome), "nothing lost, nothing torn")


if __name__ == "__main__":
    with small_shards():
        main()
