"""How findings become episodes (synthetic): who makes one, where it began, in which order, and in what words."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.episodes import COMPANY, GAP, REACH, begins, episodes, self_supporting
from deeptracker.data_model.run import open_run
from tests import planted

LAYERS = 8
VALIDATIONS = np.arange(49, 20_000, 50)


def finding(
    rule: str = "loss_change",
    start: int = 1000,
    stop: int = 1032,
    *,
    kind: Kind = Kind.SCALAR,
    entity: str = "loss",
    score: float = 2.0,
    standing: Standing = Standing.WEAK,
) -> Anomaly:
    return Anomaly(rule, kind, entity, 0, start, stop, score, f"{rule} of {entity} at {start}", standing)


def of_layer(number: int, start: int = 1000, score: float = 2.0, standing: Standing = Standing.WEAK) -> Anomaly:
    return finding("gradient_change", start, start + 32, kind=Kind.LAYER, entity=f"layer{number}", score=score,
                   standing=standing)  # fmt: skip


standings = st.sampled_from(list(Standing))
findings = st.lists(
    st.builds(
        lambda rule, start, length, standing: finding(rule, start, start + length, standing=standing),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 5000),
        st.integers(1, 1500),
        standings,
    ),
    max_size=25,
)


def company(one: Anomaly, other: Anomaly) -> bool:
    """The slow twin of what makes a weak finding part of an episode: another begins while it lasts, or next to it."""
    mine = (begins(one, VALIDATIONS), min(one.stop, one.start + COMPANY))
    theirs = (begins(other, VALIDATIONS), min(other.stop, other.start + COMPANY))
    return theirs[0] <= mine[1] + COMPANY and theirs[1] >= mine[0] - COMPANY


@given(findings)
def test_each_finding_that_counts_is_in_one_episode_and_no_other(found: list[Anomaly]) -> None:
    candidates = [one for one in found if one.standing != Standing.WITNESS]
    expected = [
        one
        for number, one in enumerate(candidates)
        if one.standing != Standing.WEAK
        or any(company(one, other) for place, other in enumerate(candidates) if place != number)
    ]
    gathered = [one for episode in episodes(found, VALIDATIONS, LAYERS) for one in episode.findings]
    assert sorted(gathered, key=repr) == sorted(expected, key=repr)


@given(findings, st.randoms())
def test_the_order_in_which_findings_come_does_not_matter(found: list[Anomaly], order: random.Random) -> None:
    mixed = list(found)
    order.shuffle(mixed)
    one, other = episodes(found, VALIDATIONS, LAYERS), episodes(mixed, VALIDATIONS, LAYERS)
    assert [(e.start, e.stop, e.place, e.score, e.repeat) for e in one] == [
        (e.start, e.stop, e.place, e.score, e.repeat) for e in other
    ]


@given(findings)
def test_episodes_are_apart_and_ranked(found: list[Anomaly]) -> None:
    told = episodes(found, VALIDATIONS, LAYERS)
    assert [(one.repeat, -one.score) for one in told] == sorted((one.repeat, -one.score) for one in told)
    by_time = sorted(told, key=lambda one: one.start)
    for before, after in itertools.pairwise(by_time):
        reached = max(min(one.stop, one.start + REACH) for one in before.findings)
        assert after.start > reached + GAP


def test_a_validation_may_show_what_happened_since_the_one_before() -> None:
    seen = finding("performance_drop", 1049, 1050, entity="validation")
    assert begins(seen, VALIDATIONS) == 1000
    (together,) = episodes([of_layer(2, 980), seen], VALIDATIONS, LAYERS)
    assert together.rules == ("gradient_change", "performance_drop")


def test_a_layer_that_stands_out_is_the_place_and_many_are_the_run() -> None:
    (one,) = episodes([of_layer(3, score=9), of_layer(5, 1010, 2)], VALIDATIONS, LAYERS)
    assert (one.place, one.entities) == ("layer", ("layer3",))
    (all_,) = episodes([of_layer(number, score=3) for number in range(LAYERS)], VALIDATIONS, LAYERS)
    assert all_.place == "run"
    nan = finding("non_finite_scalar", 1010, 1100, standing=Standing.CERTAIN)
    (certain,) = episodes([of_layer(3, score=90), nan], VALIDATIONS, LAYERS)
    assert certain.place == "run"


def test_the_sentences_say_what_came_first_and_what_followed_with_their_numbers() -> None:
    dropped = finding("class_drop", 1049, 1050, kind=Kind.CLASS, entity="cat", score=3)
    images = [
        finding("left_flip", 1049, 1099, kind=Kind.IMAGE, entity=f"cat-{number}", standing=Standing.WITNESS)
        for number in range(7)
    ]
    (one,) = episodes([of_layer(3, 1000, 9), of_layer(5, 1020), dropped, *images], VALIDATIONS, LAYERS)
    assert one.text == (
        "Iteration 1,000: gradient_change of layer3 at 1000.",
        "20 iterations later: gradient_change of layer5 at 1020.",
        "49 iterations later: class_drop of cat at 1049.",
        "Meanwhile 7 images changed from, or into, a long stretch of equal answers.",
    )


def test_the_same_again_is_a_repeat_and_comes_last() -> None:
    twice = [finding(standing=Standing.STRONG), finding(start=3000, stop=3032, standing=Standing.STRONG, score=9)]
    first, again = episodes(twice, VALIDATIONS, LAYERS)
    assert (first.start, first.repeat) == (1000, False)
    assert (again.start, again.repeat) == (3000, True)


def test_findings_of_rules_that_were_asked_for_support_themselves(tmp_path: Path) -> None:
    witness = finding(standing=Standing.WITNESS)
    assert episodes([witness], VALIDATIONS, LAYERS) == []
    assert len(episodes(self_supporting([witness]), VALIDATIONS, LAYERS)) == 1
    planted.write_planted(tmp_path / "run").close()
    run = open_run(tmp_path / "run")
    assert "left_flip" not in {rule for one in run.episodes() for rule in one.rules}
    assert {rule for one in run.episodes(["left_flip"]) for rule in one.rules} == {"left_flip"}
    window = (planted.SPIKE - 5, planted.SPIKE + 5)
    assert ["loss_spike" in one.rules for one in run.episodes(iterations=window)] == [True]


def test_an_episode_is_plain_json_whatever_its_score() -> None:
    endless = finding(score=float("inf"), standing=Standing.STRONG)
    (one,) = episodes([endless, replace(endless, rule="other", score=1.0)], VALIDATIONS, LAYERS)
    plain = json.loads(json.dumps(one.to_json(), allow_nan=False))
    assert plain["findings"][0]["score"] is None
    assert plain["findings"][0]["kind"] == "scalar"
    assert plain["text"] == list(one.text)


def test_what_got_worse_names_the_place_and_what_got_better_does_not() -> None:
    """A training loss that falls far, and a validation that stays behind a little later: it is the validation."""
    fell = replace(finding(stop=1300, score=18.0, standing=Standing.STRONG), better=True)
    behind = finding("overfitting", 1049, 1050, entity="validation", score=4.0, standing=Standing.STRONG)
    beside = of_layer(3, 1032, 1.5)
    (found,) = episodes([fell, behind, beside], VALIDATIONS, LAYERS)
    assert found.place == "validation"
    assert found.start == 1000
    assert "run" in [place for place, _ in found.headlines]
    (alone,) = episodes([fell], VALIDATIONS, LAYERS)
    assert alone.place == "run"
    (rose, *_) = episodes([replace(fell, better=False), behind], VALIDATIONS, LAYERS)
    assert rose.place == "run"


def test_a_class_hardly_worse_is_not_named_where_the_whole_validation_is_far_worse() -> None:
    lone = finding("class_drop", 1049, 1050, kind=Kind.CLASS, entity="7", score=1.2, standing=Standing.STRONG)
    whole = finding("performance_drop", 1049, 1050, entity="validation", score=6.0, standing=Standing.STRONG)
    (found,) = episodes([lone, whole], VALIDATIONS, LAYERS)
    assert found.place == "validation"
    (clear,) = episodes([replace(lone, score=4.0), whole], VALIDATIONS, LAYERS)
    assert clear.place == "class"
