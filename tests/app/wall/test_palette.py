from dataclasses import fields
from itertools import combinations

import numpy as np
import pytest

from deeptracker.app.theme import THEMES, Theme, contrast, ramp, rgb
from deeptracker.app.wall import paint, states
from deeptracker.app.wall.palette import UNUSED, state_palette, value_palette

# Machado et al. 2009, severity 1: how linear light looks with a missing kind of cone.
DEFICIENCIES = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3).tolist(),
}


def lightness_and_colour(color, deficiency):
    """Return CIE L*, a*, b* of a colour as seen with a deficiency."""
    linear = np.array([((c / 255 + 0.055) / 1.055) ** 2.4 if c > 10.3 else c / 255 / 12.92 for c in rgb(color)])
    seen = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in to_xyz @ seen / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(first, second, deficiency):
    return np.linalg.norm(lightness_and_colour(first, deficiency) - lightness_and_colour(second, deficiency))


@pytest.mark.parametrize("name", THEMES)
@pytest.mark.parametrize("palette", [value_palette, state_palette])
def test_every_index_that_is_painted_has_its_colour(name, palette):
    colors = palette(name)
    assert len(colors) == 256
    if palette is value_palette:
        used = range(paint.ZERO_LINE + 1)
    else:
        used = [*range(states.RIGHT_STEPS * states.FLIP_STEPS), paint.BLANK, paint.ROW_LINE, paint.STAGE_LINE]
    assert UNUSED not in [colors[index] for index in used]


def test_marks_of_rows_of_states_are_those_of_rows_of_values():
    for mark in ("BLANK", "ROW_LINE", "BLOCK_LINE", "STAGE_LINE", "SELECTED_MARK"):
        assert getattr(states, mark) == getattr(paint, mark)


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
def test_text_is_readable_on_every_background(theme):
    for text in ("text", "muted", "accent", "selection", "warning", "error", "success"):
        for back in ("page", "surface", "raised", "plot", "blank", "group_fill", "subgroup_fill", "selection_surface"):
            assert contrast(getattr(theme, text), getattr(theme, back)) >= 4.5, (text, back)
    assert contrast(theme.on_accent, theme.accent) >= 4.5


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_states_stay_apart_without_full_colour_vision(theme, deficiency):
    for first, second in combinations(("right", "wrong", "learned", "forgotten"), 2):
        assert difference(getattr(theme, first), getattr(theme, second), deficiency) > 15, (first, second)
    for mark in ("spike", "nonfinite"):
        for color in theme.heat:
            assert difference(getattr(theme, mark), color, deficiency) > 15, (mark, color)


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
def test_heat_grows_evenly_darker_or_lighter(theme):
    lightness = [lightness_and_colour(color, "none")[0] for color in ramp(theme.heat, 64)]
    steps = np.diff(lightness) if lightness[0] < lightness[-1] else -np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 4 * steps.mean()


def test_both_themes_name_the_same_colours_validly():
    for field in fields(Theme):
        for theme in THEMES.values():
            value = getattr(theme, field.name)
            for color in [value] if isinstance(value, str) else value:
                assert field.name == "name" or len(rgb(color)) == 3
