"""A loss that repeats with a short period: found, and not where nothing repeats (synthetic losses)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from deeptracker.data_model.anomaly import Standing
from deeptracker.data_model.rules.repeated_batches import PERIODS, WINDOW, RepeatedBatches, chances


def run_of(loss: np.ndarray) -> Any:
    scalars = xr.Dataset({"loss": ("iteration", loss)}, coords={"iteration": np.arange(len(loss))})
    return SimpleNamespace(scalar_names=["loss"], scalars=scalars)


def noise(seed: int, length: int) -> np.ndarray:
    return np.exp(0.3 * np.random.default_rng(seed).normal(size=length) - np.arange(length) / 2000)


def stuck(seed: int, length: int, since: int, period: int) -> np.ndarray:
    batches = np.exp(0.5 * np.random.default_rng(seed + 1).normal(size=period))
    repeated = batches[np.arange(length) % period]
    return noise(seed, length) * np.where(np.arange(length) >= since, repeated, 1.0)


def test_chances_are_those_of_chance() -> None:
    windows = noise(1, 2000 * WINDOW).reshape(2000, WINDOW)
    chance, _ = chances(windows)
    for level in (0.01, 0.001):
        assert 0.5 * level < (chance < level).mean() / len(PERIODS) < 1.5 * level


@pytest.mark.parametrize("period", [4, 7])
def test_batches_that_come_again_and_again_are_found_soon_and_not_before(period: int) -> None:
    found = RepeatedBatches().find(run_of(stuck(3, 2000, 1000, period)))
    assert found[0].standing in (Standing.STRONG, Standing.CERTAIN)
    assert 1000 - 32 <= found[0].start <= 1000 + 2 * WINDOW
    assert f"every {period} iterations" in found[0].message


def test_what_repeats_from_the_beginning_is_meant_to() -> None:
    found = RepeatedBatches().find(run_of(stuck(3, 1000, 0, 4)))
    assert found[0].standing == Standing.WITNESS


def test_noise_steps_and_spikes_do_not_repeat() -> None:
    loss = noise(5, 20_000)
    loss[7000:] *= 0.2
    loss[[3000, 9000]] = 50.0
    loss[[4000, 4001]] = [np.nan, -1.0]
    assert RepeatedBatches().find(run_of(loss)) == []


def test_a_run_that_grows_gives_the_same_answer() -> None:
    loss = stuck(6, 1500, 700, 5)
    follower = RepeatedBatches().follow()
    for stop in (10, 33, 700, 777, 1100, 1500):
        found = follower.update(run_of(loss[:stop]))
    assert found == RepeatedBatches().find(run_of(loss))
    assert found
