"""`python -m tests.crash --kills 300`: the crash harness at length, with figures at the end."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.crash.harness import Outcome, kill_writers


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description="Kill writers at random moments.")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0.6, help="each is killed within so many of its start")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--filled", type=int, default=0, help="iterations of the first run before the first kill")
    given = parser.parse_args()
    begun = time.monotonic()

    def tell(outcome: Outcome) -> None:
        if outcome.kills % 25 == 0:
            print(f"{outcome.kills} kills, {time.monotonic() - begun:.0f} s", flush=True)

    with tempfile.TemporaryDirectory(prefix="deeptracker-crash-") as folder:
        outcome = kill_writers(
            Path(folder), given.kills, seconds=given.seconds, seed=given.seed, filled=given.filled, tell=tell
        )
    print(asdict(outcome), "nothing lost, nothing torn")


if __name__ == "__main__":
    main()
