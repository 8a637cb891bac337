"""A link shows the same thing to whoever follows it, and no link can break the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptracker.app.urls import LARGEST, LONGEST_NAME, MOST_NAMES, Address, apply, decode, encode, run_path
from deeptracker.data_model.run import open_run
from deeptracker.data_model.selection import Selection

numbers = st.integers(0, LARGEST - 1)
spans = st.lists(numbers, min_size=2, max_size=2, unique=True).map(lambda pair: tuple(sorted(pair)))
# Lone surrogates cannot be part of an address, and are no text anybody's layer has.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=LONGEST_NAME)
names = st.lists(texts, unique=True, max_size=MOST_NAMES)
selections = st.builds(
    Selection,
    window=st.none() | spans,
    brush=st.none() | spans,
    cursor=st.none() | numbers,
    statistic=st.just("") | texts,
    layers=names,
    filters=st.lists(numbers, unique=True, max_size=MOST_NAMES),
    classes=names,
    images=names,
    anomaly=st.none() | numbers,
    runs=names,
    difference=st.booleans(),
    follow=st.booleans(),
)


@given(
    selections,
    st.sampled_from(["light", "dark", None]),
    st.none() | st.lists(st.from_regex(r"[a-z-]+", fullmatch=True), unique=True),
)
def test_round_trip(selection: Selection, theme: str | None, views: list[str] | None) -> None:
    address = decode(encode(selection, theme, views))
    found = Selection(**address.selection)
    for name in selection.param:
        if name != "name":
            assert getattr(found, name) == getattr(selection, name), name
    assert address.theme == theme
    assert address.views == (None if views is None else tuple(views))


@given(
    st.text()
    | st.lists(st.tuples(st.sampled_from("wbtaslcifv") | st.text(), st.text())).map(
        lambda pairs: urlencode(pairs, errors="replace")
    )
)
def test_whatever_a_link_holds_it_makes_a_valid_selection(query: str) -> None:
    address = decode(query)
    Selection(**address.selection)  # Param refuses what is out of bounds
    run_path(query)


@pytest.mark.parametrize(
    "query",
    [
        "w=5",
        "w=5-5",
        "w=-3-7",
        "w=1e9-2e9",
        "w=" + "9" * 5000 + "-3",
        "w=0x10-0x20",
        "t=-1",
        "t=" + "9" * 17,
        "a=%00",
        "f=\u0661",
        "theme=<script>",
        "s=",
        "&".join(f"l={n}" for n in range(10_000)),
    ],
)
def test_what_cannot_be_meant_is_left_out(query: str) -> None:
    assert decode(query) == Address()


def test_a_turned_span_is_turned_back() -> None:
    assert decode("w=20-10").selection == {"window": (10, 20)}


def test_names_the_run_does_not_have_are_left_out(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = open_run(make_run(tmp_path / "run"))
    selection = Selection()
    query = "l=head&l=nowhere&c=two&c=<b>&i=image-3&i=../x&f=3&f=999999&s=weight_mean&w=3-9"
    apply(decode(query), selection, run)
    assert (selection.layers, selection.classes, selection.images) == (["head"], ["two"], ["image-3"])
    assert (selection.filters, selection.statistic, selection.window) == ([3], "weight_mean", (3, 9))
    apply(decode("s=nothing"), selection, run)
    assert selection.statistic == "weight_mean"
