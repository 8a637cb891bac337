"""The path for CUDA devices, as far as a CPU can test it: the numbers, the order of things, what is compiled.

The tensors lie on the CPU. Triton's own interpreter runs its kernels on them; its compiler makes the machine code of
devices that are not here.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deeptracker import Recorder, open_run
from deeptracker.tracker import assembly
from deeptracker.tracker.device import plain
from deeptracker.tracker.device.measure import DeviceMeasure, common_device, fused_kernels
from deeptracker.tracker.device.steps import DeferredSteps
from deeptracker.tracker.layers import find_layers
from deeptracker.tracker.measure import Measure
from deeptracker.tracker.totals import FILTER_COLUMNS, LAYER_COLUMNS
from tests.tracker.networks import Mixed, batch, small, train

CPU = torch.device("cpu")


def network() -> nn.Module:
    """Layers of every kind, of one value to many pieces, with NaN, Inf, zeros, tiny, huge and missing gradients."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"mixed": Mixed(), "wide": nn.Linear(3000, 5), "long": nn.Embedding(700, 20)})
    model.register_parameter("scale", nn.Parameter(torch.tensor(0.5)))
    for number, parameter in enumerate(model.parameters()):
        if parameter.requires_grad and number % 4:
            parameter.grad = torch.randn_like(parameter)
    with torch.no_grad():
        model["wide"].weight[0, :5] = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, 1e30])
        model["wide"].weight[1] = 0.0
        model["wide"].weight[2] += 1000.0
        model["wide"].weight.grad = 1e-30 * torch.randn(5, 3000)
        model["mixed"].grouped.weight.grad = torch.full_like(model["mixed"].grouped.weight, torch.nan)
    return model


def tables(measure, model, remember: bool) -> tuple[np.ndarray, np.ndarray]:
    """Measure one step of a made-up optimizer."""
    out = np.empty((measure.layers, LAYER_COLUMNS))
    measure.remember()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 10.0 ** -torch.randint(0, 8, parameter.shape, generator=random)
            parameter += parameter * scale * torch.randn(parameter.shape, generator=random)
    filters = np.empty((sum(one.layer.filters for one in find_layers(model)), FILTER_COLUMNS))
    measure.measure(out, filters, remember=remember)
    return out[:, :-1], filters


def assert_same(found, expected) -> None:
    for one, other in zip(found, expected, strict=True):
        # The CPU's kernel sums short stretches in float32.
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-30)


@pytest.mark.parametrize("group", [plain.GROUP, 4000])
def test_torch_operations_give_the_numbers_of_the_kernel(monkeypatch, group):
    monkeypatch.setattr(plain, "GROUP", group)
    model, twin = network(), network()
    found = tables(DeviceMeasure(find_layers(model), CPU), model, remember=False)
    expected = tables(Measure(find_layers(twin)), twin, remember=False)
    assert_same(found, expected)


def test_remembering_in_the_same_pass_is_remembering():
    model = network()
    measure = DeviceMeasure(find_layers(model), CPU)
    tables(measure, model, remember=True)
    for before, recorded in zip(measure.before, find_layers(model), strict=True):
        now = recorded.arrange(recorded.weight).view(before.shape)
        torch.testing.assert_close(before, now, rtol=0, atol=0, equal_nan=True)


INTERPRETED = """
import itertools
import numpy as np
import torch
from deeptracker.tracker.device import fused
from deeptracker.tracker.device.measure import DeviceMeasure
from deeptracker.tracker.layers import find_layers
from deeptracker.tracker.measure import Measure
from tests.tracker.test_device import CPU, assert_same, network, tables

for remember, order in itertools.product((False, True), (torch.contiguous_format, torch.channels_last)):
    model, twin = network().to(memory_format=order), network()
    measure = DeviceMeasure(find_layers(model), CPU, fused)
    found = tables(measure, model, remember)
    assert_same(found, tables(Measure(find_layers(twin)), twin, remember))
    for before, recorded in zip(measure.before, find_layers(model), strict=True):
        now = recorded.arrange(recorded.weight).view(before.shape)
        assert np.array_equal(before.numpy(), now.numpy(), equal_nan=True) == remember
print("same numbers")
"""


def in_process(program: str, **environment: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_triton_kernels_give_the_numbers_of_the_kernel():
    pytest.importorskip("triton")
    assert "same numbers" in in_process(INTERPRETED, TRITON_INTERPRET="1")


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from deeptracker.tracker.device import fused

tables = {"weights": "*i64", "gradients": "*i64", "before": "*i64", "layer_of": "*i64"}
tables |= {"starts": "*i64", "lengths": "*i64", "out": "*fp64"}
kernels = [
    (fused.measure_pieces, tables, {"KEEP": True, "CHUNK": 64}),
    (fused.measure_pieces, tables, {"KEEP": False, "CHUNK": 64}),
    (fused.merge, {"table": "*fp64", "begins": "*i64", "out": "*fp64"}, {"BLOCK": 1}),
    (fused.merge, {"table": "*fp64", "begins": "*i64", "out": "*fp64"}, {"BLOCK": 512}),
    (fused.pick, {"addresses": "*i64", "samples": "*i64", "out": "*fp32", "layers": "i32"}, {"BLOCK": 1024}),
    (fused.interpolate, {"ordered": "*fp32", "out": "*fp64"}, {"BLOCK": 1024}),
]
for capability in (80, 90):
    for kernel, signature, constants in kernels:
        everything = signature | dict.fromkeys(constants, "constexpr")
        places = {(list(everything).index(name),): value for name, value in constants.items()}
        source = ASTSource(kernel, everything, constexprs=places)
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        assert made.asm["cubin"], kernel
print("compiled")
"""


def test_triton_kernels_compile_for_devices_that_are_not_here(tmp_path):
    pytest.importorskip("triton")
    assert "compiled" in in_process(COMPILED, TRITON_CACHE_DIR=str(tmp_path))


@pytest.fixture
def deferred(monkeypatch):
    """Have the recorder take the CPU for a device: measured by torch's operations, collected a step later."""
    steps = []

    class Watched(DeferredSteps):
        def after(self, found=None):
            super().after(found)
            steps.append(self._taken is not None)

    monkeypatch.setattr(assembly, "_measuring", lambda layers, exchange: (DeviceMeasure(layers, CPU), Watched))
    return steps


def record(path, **options):
    torch.manual_seed(0)
    model = Mixed()
    optimizer = torch.optim.SGD((one for one in model.parameters() if one.requires_grad), lr=0.05)
    with Recorder(path, model, optimizer, **options) as recorder:
        losses = train(model, optimizer, 9, log=recorder.log)
        assert recorder.iteration == 9
    return losses, open_run(path)


@pytest.mark.parametrize("options", [{"every": 1, "filters_every": 1}, {"every": 3, "filters_every": 2}])
def test_what_is_collected_a_step_later_is_what_was_measured_at_once(tmp_path, monkeypatch, options):
    at_once = record(tmp_path / "once", **options)
    monkeypatch.setattr(assembly, "_measuring", lambda layers, exchange: (DeviceMeasure(layers, CPU), DeferredSteps))
    later = record(tmp_path / "later", **options)
    assert later[0] == at_once[0]
    for family in ("layers", "filters", "scalars"):
        one, other = (getattr(run, family).load() for _, run in (later, at_once))
        np.testing.assert_array_equal(one.iteration, other.iteration)
        for name in one.data_vars:
            np.testing.assert_allclose(one[name], other[name], rtol=2e-5, atol=1e-7, err_msg=name)


def test_nothing_is_collected_before_the_next_step(tmp_path, deferred):
    record(tmp_path / "run", every=1)
    assert deferred == [True] * 9


@pytest.mark.parametrize("look", [False, True])
def test_a_step_that_only_the_device_knows_was_skipped_is_no_iteration(tmp_path, deferred, monkeypatch, look):
    class Elsewhere(torch.Tensor):
        """A flag that claims to lie on a device."""

        is_cpu = False

    torch.manual_seed(0)
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    losses = []
    with Recorder(tmp_path / "run", model, optimizer, every=1, filters_every=1) as recorder:
        for step in range(6):
            x, y = batch(step)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            recorder.log(loss=loss)
            skipped = step in (2, 5)
            optimizer.found_inf = torch.tensor(float(skipped)).as_subclass(Elsewhere)
            optimizer.grad_scale = None
            optimizer.step()
            if not skipped:
                losses.append(loss.item())
            if look:
                assert recorder.iteration == len(losses)
        assert recorder.iteration == 4
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.layers.iteration, range(4))
    np.testing.assert_array_equal(run.scalars.loss, losses)
    assert (run.layers.relative_change_l2 > 0).all()


def test_losses_and_rates_on_the_device_are_not_waited_for(tmp_path, deferred, monkeypatch):
    waited = []
    monkeypatch.setattr(torch.Tensor, "is_cpu", False, raising=False)
    monkeypatch.setattr(torch.Tensor, "item", lambda self: waited.append(self) or self.tolist())
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.25))
    with Recorder(tmp_path / "run", model, optimizer, every=2) as recorder:
        for step in range(4):
            recorder.log(loss=torch.tensor(float(step)))
            recorder.log(loss=torch.tensor(float(step + 1)))
            optimizer.step()
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.scalars.loss, np.arange(4) + 0.5)
    np.testing.assert_array_equal(run.scalars.learning_rate, [0.25] * 4)
    assert not waited


def test_a_device_is_taken_only_where_all_layers_are_on_it():
    layers = find_layers(small())
    assert common_device(layers) is None
    assert fused_kernels(CPU) is None
    with torch.device("meta"):
        assert common_device(find_layers(small())) is None
