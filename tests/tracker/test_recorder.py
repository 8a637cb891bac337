"""The recorder on real training loops, against what plain numpy makes of the tensors that autograd left behind."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RecordingError, RunExistsError, RunLockedError
from deeptracker.data_model.missing import is_missing
from tests.tracker import oracle
from tests.tracker.networks import Mixed, batch, small, train


def filters_first(layer: nn.Module, tensor: torch.Tensor | None) -> np.ndarray | None:
    """Return a weight or gradient with output channels first, the slow way: channel by channel."""
    if tensor is None:
        return None
    array = tensor.detach().double().cpu().numpy()
    if not isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return array
    inputs, per_group = array.shape[0] // layer.groups, array.shape[1]
    return np.stack(
        [array[group * inputs : (group + 1) * inputs, out] for group in range(layer.groups) for out in range(per_group)]
    )


def weighted(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that should be recorded, by name: shared weights once."""
    found, seen = {}, set()
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if weight is not None and id(weight) not in seen:
            seen.add(id(weight))
            found[name] = module
    return found


def watch(model: nn.Module, kept: list[dict[str, dict[str, np.ndarray | None]]]):
    """Return a callback that keeps every layer's weight and gradient after each step."""

    def look(_step: int) -> None:
        now = {}
        for name, module in weighted(model).items():
            weight, gradient = filters_first(module, module.weight), filters_first(module, module.weight.grad)
            now[name] = {"weight": np.array(weight), "gradient": None if gradient is None else np.array(gradient)}
        kept.append(now)

    return look


def assert_layers(run, kept, iterations) -> None:
    """Every recorded layer and filter value equals the oracle's for that step; kept[0] is before the first step."""
    layers, filters = run.layers.load(), run.filters.load()
    assert list(layers.layer.values) == list(kept[0])
    np.testing.assert_array_equal(layers.iteration, iterations)
    for row, iteration in enumerate(iterations):
        first = 0
        for number, (name, now) in enumerate(kept[iteration + 1].items()):
            weight, gradient, before = now["weight"], now["gradient"], kept[iteration][name]["weight"]
            compare(layers, row, number, oracle.layer(weight, gradient, before), gradient is None)
            if weight.ndim < 2:
                continue
            for index in range(len(weight)):
                if iteration in filters.iteration:
                    at = int(np.flatnonzero(filters.iteration.values == iteration)[0])
                    of_row = None if gradient is None else gradient[index]
                    expected = oracle.layer(weight[index], of_row, before[index])
                    compare(filters, at, first + index, expected, gradient is None)
            first += len(weight)


def compare(data, row, entity, expected, frozen) -> None:
    for name in data.data_vars:
        value = data[name].values[row, entity]
        if name in expected and "change_above" not in name:
            np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-7, err_msg=f"{name} of {entity}")
        elif name in expected:
            assert value == pytest.approx(expected[name], abs=0.06), name
        elif frozen and name.startswith("gradient"):
            assert is_missing(np.array([value])), name


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_every_statistic_of_every_kind_of_layer(tmp_path, optimizer):
    torch.manual_seed(0)
    model = Mixed()
    steps = optimizer((one for one in model.parameters() if one.requires_grad), lr=0.05)
    kept = []
    look = watch(model, kept)
    look(-1)
    with Recorder(tmp_path / "run", model, steps, every=1, filters_every=2) as recorder:
        losses = train(model, steps, 6, log=recorder.log, seen=look)
        assert recorder.iteration == 6
    run = open_run(tmp_path / "run")
    assert_layers(run, kept, range(6))
    np.testing.assert_array_equal(run.filters.iteration, [0, 2, 4])
    np.testing.assert_array_equal(run.scalars.loss, losses)
    np.testing.assert_allclose(run.scalars.learning_rate, 0.05)
    shapes = {layer.name: (layer.kind, layer.shape, layer.filters) for layer in run.layer_list}
    assert shapes["up"] == ("ConvTranspose2d", (6, 4, 2, 2), 6)
    assert shapes["bn1"] == ("BatchNorm2d", (4,), 0)
    assert "second" not in shapes


def test_a_change_is_that_of_one_step_at_any_interval(tmp_path):
    torch.manual_seed(1)
    model = Mixed()
    optimizer = torch.optim.SGD((one for one in model.parameters() if one.requires_grad), lr=0.05, momentum=0.9)
    kept = []
    look = watch(model, kept)
    look(-1)
    with Recorder(tmp_path / "run", model, optimizer, every=3, filters_every=3) as recorder:
        train(model, optimizer, 8, log=recorder.log, seen=look)
    run = open_run(tmp_path / "run")
    assert_layers(run, kept, [0, 3, 6])
    assert (run.layers.interval == 3).all()
    assert run.scalars.sizes["iteration"] == 8


def test_weights_loaded_after_the_recorder_was_made_are_no_change(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Recorder(tmp_path / "run", model, optimizer, every=1):
        model.load_state_dict({name: 100 * value + 7 for name, value in model.state_dict().items()})
        train(model, optimizer, 1)
    assert float(open_run(tmp_path / "run").layers.relative_change_l2.max()) < 0.5


def test_nan_inf_and_zero_weights(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with torch.no_grad():
        model[0].weight.zero_()
        model[4].weight[0, :5] = torch.nan
        model[4].weight[1, :3] = torch.inf
    with Recorder(tmp_path / "run", model, optimizer, every=1, filters_every=1) as recorder:
        for one in model.parameters():
            one.grad = torch.full_like(one, torch.nan)
        model[0].weight.grad = torch.zeros_like(model[0].weight)
        model[0].weight.grad[0] = torch.inf
        recorder.log(loss=torch.tensor(torch.nan))
        optimizer.step()
    run = open_run(tmp_path / "run")
    first = run.layers.isel(iteration=0).load()
    conv, linear = first.isel(layer=0), first.isel(layer=1)
    assert conv.weight_l2 == 0
    assert conv.relative_change_l2 == 0
    assert conv.weight_nonzero == 0
    assert conv.gradient_nonfinite == 9
    assert conv.gradient_l2 == 0
    # With a rate of zero, Inf and NaN times zero are NaN: the step has made these weights NaN.
    assert conv.weight_nonfinite == 9
    assert linear.weight_nonfinite == 192
    assert np.isnan(linear.weight_mean)
    assert not is_missing(linear.weight_mean.values[None])[0]
    assert not is_missing(run.scalars.loss.values)[0]


def test_recording_changes_nothing(tmp_path):
    def state():
        torch.manual_seed(3)
        np.random.seed(3)
        random.seed(3)
        model = small()
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    model, optimizer = state()
    plain = train(model, optimizer, 40)
    weights = copy.deepcopy(model.state_dict())
    draws = torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    model, optimizer = state()
    with Recorder(tmp_path / "run", model, optimizer, every=1, filters_every=1) as recorder:

        def validate(step: int) -> None:
            if step % 10 == 5:
                model.eval()
                x, y = batch(1000)
                with recorder.validation() as validation, torch.no_grad():
                    validation.log(range(len(x)), logits=model(x), targets=y, images=x)
                model.train()
                recorder.snapshot()
                recorder.flush()

        recorded = train(model, optimizer, 40, log=recorder.log, seen=validate)
    assert recorded == plain
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == draws


def test_scalars_logged_in_between_and_too_late(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[4].parameters()}], lr=0.5
    )
    with Recorder(tmp_path / "run", model, optimizer, every=1) as recorder:
        train(model, optimizer, 2, log=recorder.log)
        recorder.log(rare=3, half=np.float32(0.5))
        train(model, optimizer, 2, log=recorder.log)
        recorder.log(late=1.5)
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.scalars.rare, [np.nan, np.nan, 3, np.nan])
    assert is_missing(run.scalars.rare.values).tolist() == [True, True, False, True]
    np.testing.assert_array_equal(run.scalars["learning_rate"], [0.1] * 4)
    np.testing.assert_array_equal(run.scalars["learning_rate/1"], [0.5] * 4)
    assert "late" not in run.scalars


@pytest.mark.parametrize("value", ["1", None, torch.ones(2), [1.0], torch.tensor(1j), object()])
def test_what_is_not_a_number_is_refused(tmp_path, value):
    model = small()
    with (
        Recorder(tmp_path / "run", model, torch.optim.SGD(model.parameters(), lr=0.1)) as recorder,
        pytest.raises(RecordingError, match="as 'loss'"),
    ):
        recorder.log(loss=value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is 0"),
        ({"every": "often"}, "every is 'often'"),
        ({"filters_every": -1}, "filters_every is -1"),
        ({"overhead": 0}, "overhead is 0"),
        ({"flush_seconds": 0}, "flush_seconds is 0"),
        ({"on_error": "ignore"}, "on_error is 'ignore'"),
        ({"optimizers": []}, "optimizers is empty"),
        ({"optimizers": ["adam"]}, "optimizers holds a str"),
        ({"model": nn.ReLU()}, "no layer with a weight"),
        ({"model": nn.LazyLinear}, "run one batch"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_arguments_that_make_no_sense(tmp_path, options, message):
    model = small()
    if options.get("model") is nn.LazyLinear:
        options = {"model": nn.Sequential(nn.LazyLinear(3))}
    given = {"model": model, "optimizers": [torch.optim.SGD(model.parameters(), lr=0.1)], **options}
    with pytest.raises(RecordingError, match=message):
        Recorder(tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_refused_and_resumed_on_request(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run"
    with Recorder(path, model, optimizer, every=1, resume=True) as recorder:
        train(model, optimizer, 5, log=recorder.log)
        with recorder.validation() as validation:
            x, y = batch(0)
            validation.log(range(8), logits=model(x), targets=y, images=x)
        with pytest.raises(RunLockedError):
            Recorder(path, model, optimizer, resume=True)
    with pytest.raises(RunExistsError):
        Recorder(path, model, optimizer)
    with Recorder(path, model, optimizer, every=1, resume=True) as recorder:
        assert recorder.iteration == 5
        with pytest.warns(UserWarning, match="second validation"), recorder.validation() as validation:
            validation.log(range(8), logits=model(x), targets=y, images=x)
        train(model, optimizer, 5, log=recorder.log)
        with recorder.validation() as validation:
            validation.log(range(8), logits=model(x), targets=y, images=x)
    run = open_run(path)
    np.testing.assert_array_equal(run.layers.iteration, range(10))
    np.testing.assert_array_equal(run.validation.iteration, [5, 10])
    assert run.state == "closed"
    assert list(run.snapshot_iterations) == [5, 10]
    other = nn.Linear(3, 3)
    with pytest.raises(RecordingError, match="cannot be resumed with this model"):
        Recorder(path, other, torch.optim.SGD(other.parameters(), lr=0.1), resume=True)
    with Recorder(path, model, optimizer, resume=True) as recorder:
        assert recorder.iteration == 10


def test_snapshots_hold_the_weights_in_the_shape_of_the_layer(tmp_path):
    model = Mixed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer, every=1) as recorder:
        recorder.snapshot()
        recorder.snapshot()
        expected = filters_first(model.up, model.up.weight)
        train(model, optimizer, 2)
    run = open_run(tmp_path / "run")
    assert list(run.snapshot_iterations) == [0]
    np.testing.assert_allclose(run.kernels("up", 0), expected)
    np.testing.assert_array_equal(run.kernels("frozen", 0), model.frozen.weight.detach())


def test_other_dtypes_and_memory_layouts(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3)).to(memory_format=torch.channels_last).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    x = torch.randn(2, 2, 8, 8, dtype=torch.bfloat16)
    kept = []
    look = watch(model, kept)
    look(-1)
    with Recorder(tmp_path / "run", model, optimizer, every=1, filters_every=1):
        model(x).square().mean().backward()
        optimizer.step()
        look(0)
    assert_layers(open_run(tmp_path / "run"), kept, [0])


def test_a_layer_that_changes_its_shape_is_an_error(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer, every=1):
        model[4].weight = nn.Parameter(torch.zeros(3, 3))
        with pytest.raises(RecordingError, match="has changed its shape"):
            optimizer.step()


def test_a_gradient_that_was_given_fewer_values_is_an_error_at_once(tmp_path):
    # Torch does not take such a gradient, but does not notice either where its values are replaced.
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer, every=1) as recorder:
        train(model, optimizer, 5, log=recorder.log)
        assert model[0].weight.grad is not None
        model[0].weight.grad.data = torch.zeros(1)
        with pytest.raises(RecordingError, match="has changed its shape"):
            optimizer.step()


def test_a_closed_recorder_lets_go_of_the_optimizer_and_says_so(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(tmp_path / "run", model, optimizer)
    recorder.close()
    recorder.close()
    train(model, optimizer, 1)
    with pytest.raises(RecordingError, match="is closed"):
        recorder.log(loss=1.0)


def test_wrapped_models_keep_their_plain_names(tmp_path):
    model = nn.DataParallel(small())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer) as recorder:
        loss = functional.cross_entropy(model(batch(0)[0]), batch(0)[1])
        loss.backward()
        recorder.log(loss=loss)
        optimizer.step()
    run = open_run(tmp_path / "run")
    assert [layer.name for layer in run.layer_list] == ["0", "4"]
    assert run.description.model == "Sequential"
