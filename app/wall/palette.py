"""The 256 colours behind the indices that the wall paints, for each theme."""

from __future__ import annotations

from functools import cache

from deeptracker.app.theme import RGB, THEMES, Theme, hexadecimal, mix, ramp, rgb
from deeptracker.app.wall import paint, states

UNUSED = "#ff00ff"
"""Colour of indices that nothing paints: it would be seen at once."""


@cache
def value_palette(theme: str) -> tuple[str, ...]:
    """Return the 256 colours (`#rrggbb`) of rows of values."""
    colors, named = [UNUSED] * 256, THEMES[theme]
    plain = (named.plot, named.envelope, named.band, named.line)
    selected = (
        named.selection_surface,
        named.selected_envelope,
        named.selected_band,
        named.selected_line,
    )
    for base, layers in ((paint.ENVELOPE_BASE, plain), (paint.SELECTED_BASE, selected)):
        for index in range(64):
            shares = ((index & 3) / 3, (index >> 2 & 3) / 3, (index >> 4 & 3) / 3)
            colors[base + index] = _over(layers, shares)
    colors[paint.HEAT_BASE : paint.HEAT_BASE + paint.HEAT_STEPS] = ramp(named.heat, paint.HEAT_STEPS)
    bands = ((paint.HORIZON_BASE, named.horizon), (paint.SELECTED_HORIZON_BASE, named.selected_horizon))
    for base, stops in bands:
        for index in range(4 * paint.HORIZON_BANDS):
            low, high = rgb(stops[index // 4]), rgb(stops[index // 4 + 1])
            colors[base + index] = hexadecimal(mix(low, high, index % 4 / 3))
    _marks(colors, named)
    return tuple(colors)


@cache
def state_palette(theme: str) -> tuple[str, ...]:
    """Return the 256 colours (`#rrggbb`) of rows of states: between wrong and right, towards forgotten and learned."""
    colors, named = [UNUSED] * 256, THEMES[theme]
    for flip in range(states.FLIP_STEPS):
        for right in range(states.RIGHT_STEPS):
            share = right / (states.RIGHT_STEPS - 1)
            still = mix(rgb(named.wrong), rgb(named.right), share)
            flipped = mix(rgb(named.forgotten), rgb(named.learned), share)
            # Few flips among many images still show: the first steps are the largest.
            strength = (flip / (states.FLIP_STEPS - 1)) ** 0.7
            colors[right + states.RIGHT_STEPS * flip] = hexadecimal(mix(still, flipped, strength))
    _marks(colors, named)
    return tuple(colors)


def _over(layers: tuple[str, ...], shares: tuple[float, ...]) -> str:
    color: RGB = rgb(layers[0])
    for layer, share in zip(layers[1:], shares, strict=True):
        color = mix(color, rgb(layer), share)
    return hexadecimal(color)


def _marks(colors: list[str], named: Theme) -> None:
    colors[paint.BLANK] = named.blank
    colors[paint.ROW_LINE] = named.grid
    colors[paint.BLOCK_LINE] = named.group_line
    colors[paint.STAGE_LINE] = named.stage_line
    colors[paint.NONFINITE_MARK] = named.nonfinite
    colors[paint.SPIKE_MARK] = named.spike
    colors[paint.SELECTED_MARK] = named.selection
    colors[paint.ZERO_LINE] = named.group_line
