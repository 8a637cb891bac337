"""Sharded weights in two processes: what both measure of their parts is what one process measures of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.nn import functional

from deeptracker.tracker.exchange import Exchange
from deeptracker.tracker.layers import find_layers
from deeptracker.tracker.measure import Measure
from deeptracker.tracker.ranks import Announcement
from deeptracker.tracker.sharded import LocalShards, ShardedMeasure, cleared, merge, quartiles
from deeptracker.tracker.totals import FILTER_COLUMNS, GRADIENT, LAYER_COLUMNS
from tests.tracker.networks import Mixed, batch
from tests.tracker.processes import run_ranks


class Uneven(Mixed):
    """Mixed, with a layer of one row (which leaves a rank with nothing) and one of more values than are sampled."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(3, 700)
        self.single = nn.Linear(700, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y * (1 + self.single(self.wide(y)).tanh())


def network() -> Uneven:
    torch.manual_seed(4)
    model = Uneven()
    for one in model.parameters():
        one.requires_grad_(True)
    model.bn1.eval()
    return model


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    x, y = batch(step)
    optimizer.zero_grad()
    functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def measured(model: nn.Module, measure: object) -> tuple[np.ndarray, np.ndarray]:
    """Return what a `Measure` tells of the last of three steps, of layers and of filters."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    layers = find_layers(model)
    table = np.empty((len(layers), LAYER_COLUMNS))
    filters = np.empty((sum(one.layer.filters for one in layers), FILTER_COLUMNS))
    for step in range(3):
        if step == 2:
            measure.remember()
        take_step(model, optimizer, step)
    measure.measure(table, filters, remember=False)
    return table, filters


def assert_same_numbers(sharded: tuple[np.ndarray, ...], whole: tuple[np.ndarray, ...]) -> None:
    table, filters = sharded
    expected, expected_filters = whole
    np.testing.assert_allclose(table[:, :-1], expected[:, :-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(filters, expected_filters, rtol=1e-5, atol=1e-6)


def whole_network() -> tuple[np.ndarray, ...]:
    model = network()
    return measured(model, Measure(find_layers(model)))


def shards(rank: int, whole: tuple[np.ndarray, ...], partly: bool) -> None:
    model = network()
    if partly:
        # What is not in a sharded module stays whole on every rank.
        for name in ("conv1", "up", "wide"):
            fully_shard(getattr(model, name))
    else:
        fully_shard(model)
    compare(rank, model, whole)


def compare(rank: int, model: nn.Module, whole: tuple[np.ndarray, ...]) -> None:
    announcement = Announcement()
    layers = find_layers(model)
    if rank == 0:
        announcement.make({"iteration": 0})
        measure = ShardedMeasure(layers, Exchange(announcement))
        assert_same_numbers(measured(model, measure), whole)
        weights = measure.weights()
    else:
        announcement.hear()
        exchange, local = Exchange(announcement), LocalShards(layers)
        exchange.send("layout", local.layout())
        measured(model, Followed(local, exchange))
        exchange.send("snapshot/0", local.weights())
    for number, recorded in enumerate(layers):
        weight = recorded.weight
        full = recorded.arrange(weight.full_tensor() if hasattr(weight, "full_tensor") else weight)
        if rank == 0:
            np.testing.assert_array_equal(weights[number], full.reshape(recorded.layer.shape).numpy())


class Followed:
    """The calls of `Measure` on a rank that only sends."""

    def __init__(self, local: LocalShards, exchange: Exchange) -> None:
        self.remember, self._local, self._exchange = local.remember, local, exchange

    def measure(self, _table: np.ndarray, _filters: np.ndarray, *, remember: bool) -> None:
        self._exchange.send("record/0", self._local.measure(remember, True))


@pytest.mark.parametrize("partly", [False, True])
def test_shards_put_together_are_the_whole(tmp_path, partly):
    run_ranks(shards, tmp_path, whole_network(), partly)


class Columns(nn.Module):
    """Linear layers of which ranks hold columns, rows, or all, as tensor parallelism leaves them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.columns, self.rows, self.copies, self.hybrid = (nn.Linear(7, 5, bias=False) for _ in range(4))

    def distribute(self) -> None:
        mesh = init_device_mesh("cpu", (2,))
        for layer, placement in ((self.columns, Shard(1)), (self.rows, Shard(0)), (self.copies, Replicate())):
            layer.weight = nn.Parameter(distribute_tensor(layer.weight.detach(), mesh, [placement]))
        # As hybrid sharding has it, in groups of one here: both ranks hold the same, and it must count once.
        both = init_device_mesh("cpu", (2, 1))
        whole = self.hybrid.weight.detach()
        self.hybrid.weight = nn.Parameter(distribute_tensor(whole, both, [Replicate(), Shard(0)]))

    def change(self) -> None:
        """Set gradients and take a step by hand."""
        torch.manual_seed(7)
        for one in self.parameters():
            gradient = torch.randn(5, 7)
            gradient[2, 3] = torch.nan
            sharded = hasattr(one, "placements")
            one.grad = distribute_tensor(gradient, one.device_mesh, one.placements) if sharded else gradient
            with torch.no_grad():
                one.mul_(1.5)


def measured_change(model: Columns, measure: object) -> tuple[np.ndarray, np.ndarray]:
    table, filters = np.empty((4, LAYER_COLUMNS)), np.empty((20, FILTER_COLUMNS))
    measure.remember()
    model.change()
    measure.measure(table, filters, remember=False)
    return table, filters


def parallel_tensors(rank: int, whole: tuple[np.ndarray, ...]) -> None:
    model = Columns()
    model.distribute()
    announcement = Announcement()
    if rank == 0:
        announcement.make({})
        sharded = measured_change(model, ShardedMeasure(find_layers(model), Exchange(announcement)))
        for mine, expected in zip(sharded, whole, strict=True):
            np.testing.assert_allclose(mine[:, :-1], expected[:, :-1], rtol=1e-5, atol=1e-6)
    else:
        announcement.hear()
        exchange, local = Exchange(announcement), LocalShards(find_layers(model))
        assert [piece.number for piece in local.pieces] == [0, 1]
        exchange.send("layout", local.layout())
        measured_change(model, Followed(local, exchange))


def test_columns_rows_and_copies_of_tensor_parallelism(tmp_path):
    model = Columns()
    run_ranks(parallel_tensors, tmp_path, measured_change(model, Measure(find_layers(model))))


@pytest.mark.parametrize("seed", range(5))
def test_merged_spreads_are_those_of_all_values(seed):
    random = np.random.default_rng(seed)
    values = [random.normal(random.normal(), 2, count) for count in random.integers(0, 20, 4)]
    into = cleared(1)
    for part in values:
        merge(into, table_of(part))
    np.testing.assert_allclose(into[0, :GRADIENT], table_of(np.concatenate(values))[0, :GRADIENT], rtol=1e-12)


def table_of(values: np.ndarray) -> np.ndarray:
    table = cleared(1)
    if len(values):
        mean = values.mean()
        spread = [len(values), 0, (values != 0).sum(), mean, ((values - mean) ** 2).sum(), np.abs(values).sum()]
        table[0, :GRADIENT] = [*spread, values.min(), values.max()]
    return table


@pytest.mark.parametrize("values", [[], [np.nan], [3.0], [1.0, np.nan, 2.0, 5.0], list(range(100))])
def test_quartiles_of_the_finite_values(values):
    finite = [one for one in values if one == one]
    expected = np.quantile(finite, [0.25, 0.5, 0.75]) if finite else [np.nan] * 3
    np.testing.assert_allclose(quartiles(np.array(values, np.float64)), expected)
