import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptracker.app.wall import layout
from deeptracker.app.wall.layout import Group, Leaf

NAMES = ["conv1", "stage1.0.conv1", "stage1.0.conv2", "stage1.1.conv1", "stage2.0.conv1", "fc"]


def paths_of(names):
    parts = [name.split(".") for name in names]
    return [[".".join(part[: depth + 1]) for depth in range(len(part) - 1)] for part in parts]


@pytest.fixture
def tree():
    return layout.tree_of(paths_of(NAMES), [name.rsplit(".", 1)[-1] for name in NAMES])


def test_tree_groups_neighbours_and_keeps_the_order(tree):
    assert [leaf.entity for leaf in layout.leaves(tree)] == list(range(len(NAMES)))
    assert [node.label for node in tree] == ["conv1", "stage1", "stage2", "fc"]
    assert [node.label for node in tree[1].children] == ["0", "1"]
    assert len(set(layout.group_keys(tree))) == 5


def test_group_that_comes_again_is_a_second_group():
    tree = layout.tree_of([["a"], [], ["a"]], ["x", "y", "z"])
    assert [node.label for node in tree] == ["a", "y", "a"]
    assert len(set(layout.group_keys(tree))) == 2


def test_unfolded_every_leaf_has_its_row(tree):
    result = layout.arrange(tree)
    assert [row.entities for row in result.rows] == [(i,) for i in range(len(NAMES))]
    assert [(s.label, s.start, s.stop, s.depth) for s in result.spans] == [
        ("stage1", 1, 4, 0),
        ("0", 1, 3, 1),
        ("1", 3, 4, 1),
        ("stage2", 4, 5, 0),
        ("0", 4, 5, 1),
    ]
    assert result.lines.tolist() == [0, layout.STAGE, 0, layout.BLOCK, layout.STAGE, 0]


def test_folded_group_is_one_row_for_all_its_leaves(tree):
    key = tree[1].key
    result = layout.arrange(tree, frozenset({key}))
    assert result.rows[1] == layout.Row("stage1", (1, 2, 3), key)
    assert len(result.rows) == 4
    assert [(s.key, s.folded, s.leaves) for s in result.spans if s.depth == 0] == [
        (key, True, 3),
        (tree[2].key, False, 1),
    ]
    assert result.row_of() == {0: 0, 1: 1, 2: 1, 3: 1, 4: 2, 5: 3}


def test_sort_puts_unknown_scores_last_in_either_direction(tree):
    scores = [1.0, math.nan, 5.0, 2.0, math.nan, 3.0]
    assert [leaf.entity for leaf in layout.sort(tree, scores)] == [2, 5, 3, 0, 1, 4]
    assert [leaf.entity for leaf in layout.sort(tree, scores, descending=False)] == [0, 3, 5, 2, 1, 4]


def test_search_looks_at_the_whole_path_and_drops_empty_groups(tree):
    found = layout.search(tree, "STAGE1 conv1")
    assert [leaf.entity for leaf in layout.leaves(found)] == [1, 3]
    assert [node.label for node in found] == ["stage1"]
    assert layout.search(tree, "nothing like it") == []
    assert layout.search(tree, "  ") == tree


def test_empty_tree_has_no_rows():
    result = layout.arrange([])
    assert (result.rows, result.spans, result.depth) == ((), (), 0)
    assert result.lines.dtype == np.uint8


nodes = st.recursive(
    st.builds(Leaf, st.integers(0, 99), st.text("abc", max_size=3)),
    lambda children: st.builds(
        Group,
        st.text("xyz", min_size=1, max_size=4),
        st.just("g"),
        st.lists(children, min_size=1, max_size=4).map(tuple),
    ),
    max_leaves=20,
)


@given(st.lists(nodes, max_size=5), st.frozensets(st.text("xyz", min_size=1, max_size=4), max_size=4))
def test_no_leaf_is_lost_or_doubled_by_folding(tree, folded):
    result = layout.arrange(tree, folded)
    shown = [entity for row in result.rows for entity in row.entities]
    assert shown == [leaf.entity for leaf in layout.leaves(tree)]
    for span in result.spans:
        assert span.leaves == sum(len(row.entities) for row in result.rows[span.start : span.stop])
