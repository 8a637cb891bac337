"""The path for CUDA devices on a CUDA device; a machine without one skips this file, and says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from deeptracker import Recorder, open_run
from deeptracker.tracker import assembly
from deeptracker.tracker.device.measure import DeviceMeasure, fused_kernels
from deeptracker.tracker.device.steps import DeferredSteps
from deeptracker.tracker.layers import find_layers
from deeptracker.tracker.measure import Measure
from deeptracker.tracker.totals import LAYER_COLUMNS
from tests.tracker.networks import Mixed, batch, small, trainable
from tests.tracker.sessions import Session, assert_recorded, run_twice
from tests.tracker.test_device import assert_same, network, tables

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
LAUNCHES = 20
"""Kernels and copies that a record may launch: ours, and what torch's sort and the copies consist of."""


@pytest.fixture(params=["triton", "torch"])
def kernels(request, monkeypatch):
    """Measure by the fused kernels, and once more by torch's own operations."""
    if request.param == "triton":
        pytest.importorskip("triton")
        return fused_kernels(torch.device("cuda"))
    monkeypatch.setattr(
        assembly,
        "_measuring",
        lambda layers, exchange: (DeviceMeasure(layers, torch.device("cuda", 0)), DeferredSteps),
    )
    return None


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Have CUDA compute the same twice: without that nothing could be compared."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("remember", [False, True])
def test_the_device_gives_the_numbers_of_the_cpu(kernels, remember, order):
    model, twin = network().to(memory_format=order), network()
    expected = tables(Measure(find_layers(twin)), twin, remember)
    measure = DeviceMeasure(find_layers(model.cuda()), torch.device("cuda", 0), kernels)
    measure.remember()
    random = torch.Generator().manual_seed(1)
    out, filters = np.empty((measure.layers, LAYER_COLUMNS)), np.empty_like(expected[1])
    with torch.no_grad():
        for parameter in model.parameters():
            here = parameter.cpu()
            scale = 10.0 ** -torch.randint(0, 8, here.shape, generator=random)
            parameter.copy_(here + here * scale * torch.randn(here.shape, generator=random))
    measure.measure(out, filters, remember=remember)
    assert_same((out[:, :-1], filters), expected)
    for before, recorded in zip(measure.before, find_layers(model), strict=True):
        now = recorded.arrange(recorded.weight).view(before.shape)
        assert np.array_equal(before.cpu().numpy(), now.numpy(), equal_nan=True) == remember


def train(session: Session, optimizer, steps: int = 6, **autocast) -> None:
    model = Mixed().cuda()
    steps_of = optimizer(trainable(model))
    session.start(model, steps_of)
    for step in range(steps):
        x, y = (one.cuda() for one in batch(step))
        steps_of.zero_grad()
        with torch.autocast("cuda", enabled=bool(autocast), **autocast):
            loss = functional.cross_entropy(model(x), y)
        loss.backward()
        session.log(loss)
        steps_of.step()
        session.seen()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda ours: torch.optim.SGD(ours, lr=0.05, momentum=0.9),
        lambda ours: torch.optim.Adam(ours, lr=0.01, fused=True),
        lambda ours: torch.optim.AdamW(ours, lr=torch.tensor(0.01, device="cuda"), capturable=True),
    ],
)
@pytest.mark.parametrize("every", [1, 2])
def test_what_is_recorded_is_what_happened_and_training_is_not_changed(tmp_path, kernels, optimizer, every):
    run, session = run_twice(
        tmp_path / "run", lambda session: train(session, optimizer), every=every, filters_every=every
    )
    assert_recorded(run, session, range(0, 6, every))
    np.testing.assert_array_equal(run.scalars.loss, session.losses)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(tmp_path, dtype):
    run, session = run_twice(
        tmp_path / "run",
        lambda session: train(session, lambda ours: torch.optim.SGD(ours, lr=0.05), dtype=dtype),
        filters_every=1,
    )
    assert_recorded(run, session)


@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_a_gradient_scaler_skips_are_left_out(tmp_path, fused):
    def loop(session: Session) -> None:
        model = Mixed().cuda()
        optimizer = torch.optim.Adam(trainable(model), lr=0.01, fused=fused)
        scaler = torch.amp.GradScaler("cuda", init_scale=256.0, growth_interval=2)
        session.start(model, optimizer)
        for step in range(7):
            x, y = (one.cuda() for one in batch(step))
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.float16):
                loss = functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            if step in (0, 3):
                model.head.weight.grad[0, 0] = torch.inf
            session.log(loss)
            scaler.step(optimizer)
            scaler.update()
            if step not in (0, 3):
                session.seen()

    run, session = run_twice(tmp_path / "run", loop, every=1, filters_every=1)
    assert_recorded(run, session, range(5))


def test_random_numbers_stay_as_they_were(tmp_path):
    def loop(session: Session) -> None:
        model = small().cuda()  # with dropout
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        session.start(model, optimizer)
        for step in range(6):
            x, y = (one.cuda() for one in batch(step))
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            session.log(loss)
            optimizer.step()
            session.seen()
        session.losses.append(float(torch.rand(1, device="cuda")))

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)


def test_layouts_and_a_compiled_model(tmp_path):
    def loop(session: Session) -> None:
        model = Mixed().cuda().to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(trainable(model), lr=0.05, momentum=0.9)
        session.start(model, optimizer)
        compiled = torch.compile(model, backend="aot_eager")
        for step in range(4):
            x, y = (one.cuda() for one in batch(step))
            loss = functional.cross_entropy(compiled(x), y)
            optimizer.zero_grad()
            loss.backward()
            session.log(loss)
            optimizer.step()
            session.seen()

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)


@pytest.mark.parametrize("options", [{"every": 1, "filters_every": 1}, {"every": 3, "filters_every": 2}])
def test_no_step_waits_for_the_device(tmp_path, kernels, options):
    model = Mixed().cuda()
    optimizer = torch.optim.SGD(trainable(model), lr=0.05, momentum=0.9)
    batches = [tuple(one.cuda() for one in batch(step)) for step in range(9)]
    with Recorder(tmp_path / "run", model, optimizer, snapshots=False, **options) as recorder:
        for step, (x, y) in enumerate(batches):
            torch.cuda.set_sync_debug_mode("error" if step else "default")  # kernels are compiled at the first
            try:
                loss = functional.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                recorder.log(loss=loss)
                optimizer.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        assert recorder.iteration == 9
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.layers.iteration, range(0, 9, options["every"]))
    assert np.isfinite(run.scalars.loss).all()


def test_a_record_is_few_launches(tmp_path):
    pytest.importorskip("triton")
    torch.use_deterministic_algorithms(False)  # it fills all new memory
    layers = find_layers(Mixed().cuda())
    measure = DeviceMeasure(layers, torch.device("cuda", 0), fused_kernels(torch.device("cuda")))
    measure.launch(remember=True, filters=True)
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        measure.launch(remember=True, filters=True)
        torch.cuda.synchronize()
    launched = [one.name for one in profile.events() if one.device_type == torch.autograd.DeviceType.CUDA]
    assert 0 < len(launched) <= LAUNCHES, launched
