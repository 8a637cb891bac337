import pytest

from deeptracker.app.theme import THEMES
from deeptracker.app.wall import gutter, layout
from deeptracker.app.wall.picking import picked, toggled, whole_iterations

LIGHT = THEMES["light"]
NAMES = ["stem", "a.0.conv", "a.0.bn", "a.1.conv", "head"]
TREE = layout.tree_of(
    [[".".join(name.split(".")[: depth + 1]) for depth in range(name.count("."))] for name in NAMES],
    [name.rsplit(".", 1)[-1] for name in NAMES],
)


def shown(height, folded=(), selected=(), scales=None, top=0, bottom=5):
    laid_out = layout.arrange(TREE, frozenset(folded))
    return gutter.contents(laid_out, top, bottom, height, 168, LIGHT, frozenset(selected), scales or {})


def test_rows_are_named_where_they_have_room():
    texts = shown(200).texts["text"]
    assert [text for text in texts if text in ("stem", "conv", "bn", "head")] == ["stem", "conv", "bn", "conv", "head"]
    assert "conv" not in shown(20).texts["text"]


def test_dense_rows_get_their_innermost_groups_names_and_smaller_letters():
    texts = dict(zip(shown(35).texts["text"], shown(35).texts["angle"], strict=True))
    assert texts["0"] == 0
    assert "2 rows" in texts
    assert {gutter.letters(8), gutter.letters(20), gutter.letters(50)} == {9, 11, 12}


def test_folded_group_shows_its_name_and_how_many_it_holds():
    key = TREE[1].key
    texts = shown(200, folded=[key]).texts["text"]
    assert "▸ a" in texts
    assert "3" in texts


def test_selected_row_and_scale():
    result = shown(400, selected=[0], scales={0: (0.00012345, 12345.0)})
    colors = dict(zip(result.texts["text"], result.texts["color"], strict=True))
    assert colors["stem"] == LIGHT.selection
    assert {"1.2e-4", "1.2e4"} <= set(colors)


def test_only_what_is_on_screen_is_sent():
    assert "stem" not in shown(200, top=1, bottom=5).texts["text"]
    assert len(shown(200, top=4, bottom=5).bars["left"]) == 0


@pytest.mark.parametrize(("x", "row", "found"), [(10, 1.5, "a"), (30, 1.5, "0"), (30, 3.5, "1"), (10, 0.5, None)])
def test_click_on_a_bar_is_a_click_on_its_group(x, row, found):
    laid_out = layout.arrange(TREE)
    labels = {span.key: span.label for span in laid_out.spans}
    assert labels.get(gutter.group_at(laid_out, x, row)) == found


def test_long_names_lose_their_middle():
    assert gutter.shortened("conv1", 100) == "conv1"
    short = gutter.shortened("a-very-long-name-of-a-layer", 80)
    assert len(short) <= 12
    assert short[0] == "a"
    assert short.endswith("layer")


def test_picking():
    assert picked([1], [2], adding=False) == [2]
    assert picked([2], [2], adding=False) == []
    assert picked([1], [2, 3], adding=True) == [1, 2, 3]
    assert picked([1, 2, 3], [2, 3], adding=True) == [1]
    assert toggled(["a"], "b") == ["a", "b"]
    assert toggled(["a", "b"], "a") == ["b"]
    assert whole_iterations(7.2, 3.9) == (3, 8)
    assert whole_iterations(5.0, 5.0) is None
