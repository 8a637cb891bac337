"""The rules on a run as it is stored: what was planted is found, live as well as afterwards (synthetic)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from deeptracker.data_model.anomaly import COLUMNS
from deeptracker.data_model.run import Run, open_run
from tests import planted


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("runs") / "planted"
    planted.write_planted(path).close()
    return open_run(path)


def test_what_was_planted_is_found_where_it_is(run: Run) -> None:
    found = run.anomalies()
    assert list(found.columns) == list(COLUMNS)
    spike = found[found["rule"] == "loss_spike"]
    assert spike[["entity", "start", "stop"]].to_numpy().tolist() == [["loss", planted.SPIKE, planted.SPIKE + 1]]
    broken = found[found["rule"] == "non_finite_layer"]
    assert broken[["entity", "start", "stop"]].to_numpy().tolist() == [["stage1.1.conv", *planted.NAN]]
    drops = found[found["rule"] == "learning_rate_change"]
    assert drops["start"].tolist() == list(planted.DROPS)
    outliers = found[found["rule"] == "filter_outlier"]["entity"].str.rsplit("[", n=1).str[0]
    linked = [planted.LAYERS[layer].name for layer, _ in planted.LINKS]
    assert outliers.isin(linked).mean() > 0.9
    flipped = found[found["rule"] == "left_flip"]["entity"].str[:3]
    assert set(flipped) == {planted.CLASSES[class_] for _, class_ in planted.LINKS}


def test_a_window_is_the_whole_answer_clipped(run: Run) -> None:
    whole = run.anomalies()
    for window in ((0, 100), (890, 1210), (1229, 1231), (700, 1500)):
        part = run.anomalies(iterations=window)
        expected = whole[(whole["start"] < window[1]) & (whole["stop"] > window[0])]
        clipped = expected.assign(
            start=expected["start"].clip(lower=window[0]), stop=expected["stop"].clip(upper=window[1])
        )
        keys = ["start", "rule", "entity", "stop"]
        pd.testing.assert_frame_equal(
            part[keys].sort_values(keys, ignore_index=True), clipped[keys].sort_values(keys, ignore_index=True)
        )


def test_a_live_run_is_followed_and_ends_with_the_same_answer(run: Run, tmp_path: Path) -> None:
    writer = planted.write_planted(tmp_path / "live", iterations=700)
    live = open_run(tmp_path / "live")
    before = live.anomalies()
    assert set(before["rule"]) >= {"learning_rate_change", "left_flip"}
    assert "loss_spike" not in set(before["rule"])
    planted.extend_planted(writer, 700, planted.ITERATIONS)
    assert live.refresh()
    pd.testing.assert_frame_equal(live.anomalies(), run.anomalies())
    writer.close()


def test_a_run_without_a_single_iteration_has_none(tmp_path: Path) -> None:
    planted.write_planted(tmp_path / "empty", iterations=0).commit()
    assert len(open_run(tmp_path / "empty").anomalies()) == 0
