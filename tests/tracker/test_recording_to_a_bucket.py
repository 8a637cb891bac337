"""A training recorded to a URL is the run that it would be in a folder."""

from __future__ import annotations

from pathlib import Path

import torch
import xarray as xr

from deeptracker import Recorder, open_run
from tests.tracker.networks import small, train


def test_a_recorder_takes_a_url_and_resumes_there(tmp_path: Path, bucket: str) -> None:
    places = [tmp_path / "run", f"{bucket}/runs/run"]
    for place in places:
        torch.manual_seed(1)
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for resume in (False, True):
            with Recorder(place, model, optimizer, every=1, filters_every=1, resume=resume) as recorder:
                train(model, optimizer, 20, log=recorder.log)
                with recorder.validation() as validation:
                    validation.log(["a", "b"], logits=torch.rand(2, 3), targets=[0, 2])
    local, stored = map(open_run, places)
    assert (recorder.path, str(recorder.storage), stored.state) == (None, places[1], "closed")
    assert stored.steps == local.steps == 40
    for family in ("scalars", "layers", "filters", "validation"):
        xr.testing.assert_identical(getattr(stored, family).compute(), getattr(local, family).compute())
