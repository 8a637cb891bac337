"""Models and optimizers that are copied, pickled and saved whole while a recorder hangs on them."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from deeptracker import Recorder, open_run
from tests.tracker.networks import batch, small, train


def saved_and_loaded(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    assert b"deeptracker" not in file.getvalue()
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("hooks", [True, False])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, saved_and_loaded])
def test_copies_of_the_model_are_whole_and_not_recorded(tmp_path, hooks, duplicate):
    runs = []
    for name in ("alone", "copied"):
        torch.manual_seed(0)
        model = small().eval()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        options = {"every": 1, "activations": True, "activations_every": 1, "hooks": hooks}
        with Recorder(tmp_path / name, model, optimizer, **options) as recorder:

            def seen(step, name=name, model=model, recorder=recorder):
                if not hooks:
                    recorder.step()
                if name == "copied":
                    twin = duplicate(model)
                    assert all(map(torch.equal, twin.parameters(), model.parameters()))
                    # A pass of the copy, with gradients, is none of the model's.
                    twin(batch(100 + step)[0]).sum().backward()

            train(model, optimizer, 4, log=recorder.log, seen=seen)
        runs.append(open_run(tmp_path / name))
    assert runs[0].layers.load().equals(runs[1].layers.load())
    assert runs[0].activations.load().equals(runs[1].activations.load())
    assert np.isfinite(runs[1].activations.activation_mean).all()


def test_copies_of_the_optimizer_step_unrecorded(tmp_path):
    model = small()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer, every=1) as recorder:
        train(model, optimizer, 2, log=recorder.log)
        twin = copy.deepcopy(optimizer)
        for one in twin.param_groups[0]["params"]:
            one.grad = torch.ones_like(one)
        twin.step()
        assert recorder.iteration == 2
        train(model, optimizer, 1, log=recorder.log)
    assert open_run(tmp_path / "run").scalars.sizes["iteration"] == 3


def test_a_layer_that_is_lost_ends_the_recording_by_hand_and_not_the_training(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(tmp_path / "run", model, optimizer, every=1, hooks=False, on_error="warn")
    train(model, optimizer, 2, seen=lambda _: recorder.step())
    weight = model[4].weight
    del model[4].weight
    model[4].weight = weight.detach()
    with pytest.warns(RuntimeWarning, match="no weight any more"):
        recorder.step()
    train(model, optimizer, 2, seen=lambda _: recorder.step())
    assert recorder.iteration == 5
    recorder.close()
