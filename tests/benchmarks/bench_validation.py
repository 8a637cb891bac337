"""What one validation costs: from logits in batches to results on the disk, in CPU time of all threads.

Run: python tests/benchmarks/bench_validation.py [--images N] [--classes N]. The logits are random.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from deeptracker import Recorder, open_run

BATCH, VALIDATIONS, LIMIT = 256, 6, 0.5


def validate(recorder: Recorder, ids: list[str], logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the CPU seconds of one validation, stored and committed."""
    start = time.process_time()
    with recorder.validation() as validation:
        for first in range(0, len(ids), BATCH):
            part = slice(first, first + BATCH)
            validation.log(ids[part], logits=logits[part], targets=targets[part])
    recorder.flush()
    return time.process_time() - start


def main() -> None:
    """Print the seconds of the first validation, which takes the images in, and of those after it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(given.images, given.classes, generator=random)
    targets = torch.randint(0, given.classes, (given.images,), generator=random)
    ids = [f"val/image_{number:08d}.jpeg" for number in range(given.images)]
    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tempfile.TemporaryDirectory() as folder:
        with Recorder(Path(folder) / "run", model, optimizer) as recorder:
            seconds = []
            for _ in range(VALIDATIONS):
                seconds.append(validate(recorder, ids, logits, targets))
                optimizer.step()
        assert open_run(Path(folder) / "run").validation.sizes["validation"] == VALIDATIONS
    later = sorted(seconds[1:])[(VALIDATIONS - 1) // 2]
    print(f"{given.images:,} images x {given.classes:,} classes, batches of {BATCH}, CPU seconds (limit {LIMIT})")
    for name, spent in (("first validation", seconds[0]), ("median of the others", later)):
        print(f"  {name:<22}{spent:6.3f}  {'ok' if spent <= LIMIT else 'TOO SLOW'}")


if __name__ == "__main__":
    main()
