"""How long the first record waits for the compiler, in a fresh process: `python first_call.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import time


def first_call(cache: str) -> float:
    """Return the seconds of the first record in a fresh process that keeps machine code in the folder `cache`."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print the seconds."""
    from deeptracker.tracker.demo_network import TinyNet
    from deeptracker.tracker.layers import find_layers
    from deeptracker.tracker.measure import Measure

    layers = find_layers(TinyNet())
    start = time.perf_counter()
    Measure(layers)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
