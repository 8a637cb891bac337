"""The scan of blocks against a slow twin written from its description, and what it promises (synthetic series)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deeptracker.data_model import block_kernel, block_scan
from deeptracker.data_model.block_lanes import sorting_network
from deeptracker.data_model.block_scan import BlockScan, Limits
from deeptracker.data_model.tails import exceeded_with_risks

RISK = 1e-4


def expected(past: np.ndarray, lag: int, fewest: int) -> tuple[float, float, float, float]:
    """Lowest and highest value to expect after `past`, the variance of that, and the spread about the course."""
    level = float(np.median(past))
    half = len(past) // 2
    older, newer = np.median(past[:half]), np.median(past[len(past) - half :])
    apart = len(past) - half
    at = np.arange(len(past)) - (len(past) - (half + 1) / 2)
    slope = (newer - older) / apart
    ahead = (half + 1) / 2 + lag
    course = newer + slope * ahead
    spread = 1.4826 * np.median(np.abs(past - newer - slope * at)) if len(past) >= fewest else 0.0
    reach = ahead / apart
    variance = block_kernel.MEDIAN_VARIANCE / half * (1 + lag) * ((1 + reach) ** 2 + reach**2)
    return min(level, course), max(level, course), variance, float(spread)


def scores(values: np.ndarray, landmark: np.ndarray, limits: Limits, floor: float) -> np.ndarray:
    """The slow twin for one series that shares nothing with others: z of each block, 0 where it is not judged."""
    z = np.zeros(len(values))
    kept: list[float] = []
    long_run = 0.0
    for block, value in enumerate(values):
        if landmark[block]:
            kept = []
            continue
        past = np.array(kept[: len(kept) - limits.lag][-limits.window :] if limits.lag else kept[-limits.window :])
        needed = limits.fewest_after_landmark if long_run else limits.fewest
        if np.isfinite(value) and len(past) >= needed:
            low, high, variance, spread = expected(past, limits.lag, limits.fewest)
            if len(past) >= limits.fewest:
                recent = spread + 1e-12
                long_run = long_run * (recent / long_run) ** block_kernel.FORGETTING if long_run else recent
            freedom = block_kernel.FREEDOM * max(len(past), limits.fewest)
            mixed = (freedom * recent**2 + block_kernel.PRIOR * long_run**2) / (freedom + block_kernel.PRIOR)
            z[block] = (value - np.clip(value, low, high)) / (max(np.sqrt(mixed), floor) * np.sqrt(1 + variance))
        if np.isfinite(value):
            kept.append(float(value))
    return z


def found_by(
    values: np.ndarray, landmark: np.ndarray, limits: Limits, portions: list[int]
) -> list[tuple[int, float, float]]:
    scan = BlockScan([0], [0], np.array([0.02]), limits)
    edges = [0, *sorted({min(one, len(values)) for one in portions}), len(values)]
    found = []
    for first, stop in itertools.pairwise(edges):
        far = scan.advance(values[first:stop, None], landmark[first:stop])
        found += list(zip(far.block.tolist(), far.z.tolist(), far.limit.tolist(), strict=True))
    return found


def series(seed: int, length: int = 150) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.normal(size=length) * random.choice([0.01, 0.3, 1.0]) - np.arange(length) * random.choice([0, 0.05])
    for at in random.integers(40, length, 3):
        values[at : at + random.integers(1, 20)] += random.normal() * 8
    values[random.random(length) < 0.02] = np.nan
    return values


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 10_000),
    st.lists(st.integers(1, 149), max_size=6),
    st.sampled_from([0, 3]),
    st.booleans(),
    st.booleans(),
)
def test_the_scan_finds_what_its_slow_twin_finds_in_whatever_portions(
    seed: int, portions: list[int], lag: int, sided: bool, steps: bool
) -> None:
    values, limits = series(seed), Limits(RISK, window=40 if lag else 20, lag=lag, sided=sided)
    landmark = np.zeros(len(values), bool)
    landmark[[25, 90]] = steps
    assert found_by(values, landmark, limits, portions) == found_by(values, landmark, limits, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_scan, "FEWEST_POOLED", 10**9)  # no tails: what is left is Student's t
        found = found_by(values, landmark, limits, portions)
    z = scores(values, landmark, limits, 0.02)
    least = stats.t.isf(RISK if sided else RISK / 2, block_kernel.FREEDOM * limits.window + block_kernel.PRIOR)
    passed = np.flatnonzero((z if sided else np.abs(z)) > least)
    assert [block for block, _, _ in found] == passed[passed >= limits.start].tolist()
    for block, score, limit in found:
        assert score == pytest.approx(z[block], rel=1e-9)
        assert limit == pytest.approx(least)


def test_noise_alone_is_found_about_as_often_as_the_risk_says() -> None:
    random = np.random.default_rng(1)
    values = random.standard_t(5, size=(2000, 50))
    scan = BlockScan([0] * 50, [0] * 50, np.full(50, 0.02), Limits(RISK))
    far = scan.advance(values, np.zeros(2000, bool))
    assert len(far.block) <= 3 * RISK * values.size


@pytest.mark.parametrize("slope", [0.0, -0.05, 0.05])
def test_a_step_is_found_on_any_course_and_the_course_itself_is_not(slope: float) -> None:
    random = np.random.default_rng(2)
    values = 0.1 * random.normal(size=(200, 1)) + slope * np.arange(200)[:, None]
    values[150:] += 2.0
    scan = BlockScan([0], [0], np.array([0.02]), Limits(RISK))
    far = scan.advance(values, np.zeros(200, bool))
    assert far.block.min() == 150


def test_a_course_that_slows_down_is_no_fault() -> None:
    random = np.random.default_rng(3)
    values = np.exp(-np.arange(300) / 40)[:, None] * 3 + 0.02 * random.normal(size=(300, 1))
    far = BlockScan([0], [0], np.array([0.02]), Limits(RISK)).advance(values, np.zeros(300, bool))
    assert len(far.block) == 0


def test_a_lasting_fault_does_not_raise_its_own_limit() -> None:
    random = np.random.default_rng(4)
    values = random.normal(size=(120, 10))
    values[80:, 3] += 3.5
    scan = BlockScan([0] * 10, [0] * 10, np.full(10, 0.02), Limits(RISK))
    scan.advance(values[:80], np.zeros(80, bool))
    before = scan._limit.copy()
    scan.advance(values[80:96], np.zeros(16, bool))
    assert np.all(scan._limit <= before * 1.2)


@pytest.mark.parametrize("name", ["normal", "student"])
def test_a_tail_is_told_from_a_sample_about_as_it_is(name: str) -> None:
    random = np.random.default_rng(5)
    drawn = {
        "normal": lambda size: np.abs(random.normal(size=size)),
        "student": lambda size: np.abs(random.standard_t(6, size=size)),
    }[name]
    beyond = {"normal": lambda risk: stats.norm.isf(risk / 2), "student": lambda risk: stats.t.isf(risk / 2, 6)}[name]
    risks = (1e-3, 1e-4)
    told = np.mean([exceeded_with_risks(drawn(10_000), risks, 0.02) for _ in range(20)], axis=0)
    for one, risk in zip(told, risks, strict=True):
        assert one == pytest.approx(beyond(risk), rel=0.25)
    assert exceeded_with_risks(drawn(30), risks, 0.02) == [0.0, 0.0]


@pytest.mark.parametrize("count", range(1, 11))
def test_a_network_sorts_every_order_of_zeros_and_ones_and_so_everything(count: int) -> None:
    orders = np.array(list(itertools.product([0, 1], repeat=count)))
    for low, high in sorting_network(count):
        orders[:, [low, high]] = np.sort(orders[:, [low, high]], axis=1)
    assert np.all(np.diff(orders, axis=1) >= 0)


@pytest.mark.parametrize(("window", "lag"), [(20, 0), (22, 0), (40, 3), (8, 0)])
def test_many_series_side_by_side_are_judged_as_each_would_be_alone(window: int, lag: int) -> None:
    """45 series fill one set of lanes and a part of another; gaps and landmarks put them out of step."""
    values = np.column_stack([series(seed) for seed in range(45)])
    limits, landmark = Limits(0.01, window=window, fewest=6, lag=lag), np.arange(len(values)) == 90
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_scan, "FEWEST_POOLED", 10**9)  # a pool of its own would be another for each
        together = BlockScan(range(45), [0] * 45, np.full(45, 0.02), limits).advance(values, landmark)
        for one in range(45):
            alone = BlockScan([0], [0], np.array([0.02]), limits).advance(values[:, [one]], landmark)
            mine = together.series == one
            assert together.block[mine].tolist() == alone.block.tolist()
            assert together.z[mine].tolist() == alone.z.tolist()
    assert len(together.block) > 45
