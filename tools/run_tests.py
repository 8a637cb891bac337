"""Run every test: first those without a browser, on all cores at once; then those with one, which need the cores alone.

Run: python tools/run_tests.py [what pytest takes]. Fails when either part does, or when no test ran at all.
"""

from __future__ import annotations

import subprocess
import sys

PARTS = (["-m", "not browser", "-n", "auto", "--dist", "loadfile"], ["-m", "browser"])
NONE_RAN = 5
"""What pytest returns when it had nothing to run."""


def main(arguments: list[str]) -> int:
    """Run both parts with the same arguments, whatever becomes of the first; return the worse outcome."""
    command = [sys.executable, "-m", "pytest"]
    outcomes = [subprocess.call([*command, *part, *arguments]) for part in PARTS]
    return max((one for one in outcomes if one != NONE_RAN), default=NONE_RAN)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
