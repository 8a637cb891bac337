"""The colours and letters of the app, light and dark. Plots, pages and exports all take theirs from here.

Right, wrong and flip, the heat ramp and the categorical colours stay apart for the common colour-vision
deficiencies (they differ in lightness, and in blue against orange rather than green against red); text meets
WCAG AA on every background it is set on. The tests compute both.
"""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[float, float, float]

FONT = "Inter, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
FONT_MONO = "'JetBrains Mono', 'SFMono-Regular', 'DejaVu Sans Mono', Menlo, Consolas, monospace"
TEXT_SIZES = {"tiny": "10px", "small": "11px", "normal": "13px", "large": "15px", "title": "19px"}
SPACING = 8
"""Pixels of the grid that margins and paddings are multiples of."""
RADIUS = 6
"""Pixels of rounded corners."""


@dataclass(frozen=True)
class Theme:
    """Named colours (`#rrggbb`) of one version; tuples are ramps or lists of colours, lowest first."""

    name: str
    # Page and text
    page: str
    surface: str
    raised: str
    border: str
    text: str
    muted: str
    accent: str
    on_accent: str
    selection: str
    selection_surface: str
    warning: str
    error: str
    success: str
    # Plots: frame and marks
    plot: str
    blank: str
    grid: str
    group_line: str
    stage_line: str
    group_fill: str
    subgroup_fill: str
    landmark: str
    anomaly: str
    nonfinite: str
    spike: str
    # Small multiples
    envelope: str
    band: str
    line: str
    selected_envelope: str
    selected_band: str
    selected_line: str
    heat: tuple[str, ...]
    horizon: tuple[str, ...]
    selected_horizon: tuple[str, ...]
    diverging: tuple[str, ...]
    categorical: tuple[str, ...]
    # Validation results
    right: str
    wrong: str
    flip: str
    learned: str
    forgotten: str


LIGHT = Theme(
    name="light",
    page="#f5f6f8",
    surface="#ffffff",
    raised="#ffffff",
    border="#dfe3e8",
    text="#1a2430",
    muted="#566273",
    accent="#1a5fa8",
    on_accent="#ffffff",
    selection="#8f4d00",
    selection_surface="#fff4d9",
    warning="#8a5a00",
    error="#b3261e",
    success="#1d6b4f",
    plot="#ffffff",
    blank="#f1f3f6",
    grid="#e9ecf0",
    group_line="#cbd2da",
    stage_line="#94a0ae",
    group_fill="#dde5ee",
    subgroup_fill="#edf1f6",
    landmark="#6b7787",
    anomaly="#c2410c",
    nonfinite="#d6006c",
    spike="#d9480f",
    envelope="#c9def4",
    band="#82b3e4",
    line="#0b4a8f",
    selected_envelope="#f9dfa3",
    selected_band="#edb44d",
    selected_line="#7d4800",
    heat=("#f7fafd", "#d8e6f3", "#abcfe6", "#6cabd4", "#3685bf", "#125aa0", "#082f66"),
    horizon=("#f4f8fc", "#cfe1f2", "#93c2e3", "#4a95ca", "#15569b"),
    selected_horizon=("#fff9ea", "#fde4aa", "#f7bf57", "#dc8c1e", "#975000"),
    diverging=("#1d5fa6", "#86b6dd", "#f4f4f2", "#f0ae78", "#b4490b"),
    categorical=("#1f6fb5", "#d9730d", "#11896b", "#b0529b", "#8a7500", "#2f93c9", "#a8402f", "#5d6b7a"),
    right="#3e8fb0",
    wrong="#ece6dd",
    flip="#d9480f",
    learned="#f28c28",
    forgotten="#b3330a",
)

DARK = Theme(
    name="dark",
    page="#101418",
    surface="#171c22",
    raised="#1f262e",
    border="#2c353f",
    text="#e5eaef",
    muted="#98a4b1",
    accent="#79bdf2",
    on_accent="#0b1a28",
    selection="#ffc352",
    selection_surface="#2e2613",
    warning="#f0b952",
    error="#ff8f85",
    success="#6fd0a8",
    plot="#171c22",
    blank="#12161b",
    grid="#232a32",
    group_line="#3b4651",
    stage_line="#6b7784",
    group_fill="#2b343e",
    subgroup_fill="#212830",
    landmark="#8b97a4",
    anomaly="#ff8a4c",
    nonfinite="#ff3d71",
    spike="#ff9a52",
    envelope="#1f496d",
    band="#347fbd",
    line="#b3e1ff",
    selected_envelope="#63490f",
    selected_band="#b27d18",
    selected_line="#ffe3a8",
    heat=("#101a26", "#13314f", "#14507e", "#2079a9", "#48a6c3", "#96d4d5", "#f1fbe8"),
    horizon=("#171c22", "#183b59", "#1e689b", "#419ecb", "#a8deee"),
    selected_horizon=("#231d11", "#5b4310", "#9b6e14", "#daa12e", "#ffe4a5"),
    diverging=("#8fd0ff", "#2f6f9f", "#1c2229", "#9a5320", "#ffb173"),
    categorical=("#5fa9e6", "#f0a04b", "#4cc9a4", "#dd8ccb", "#d4c04a", "#9bd6f5", "#f08a76", "#a3afbb"),
    right="#3a86a8",
    wrong="#2a2d32",
    flip="#ff8a4c",
    learned="#ffb45e",
    forgotten="#f0642f",
)

THEMES: dict[str, Theme] = {theme.name: theme for theme in (LIGHT, DARK)}


def rgb(color: str) -> RGB:
    """Return the red, green and blue (0..255) of `#rrggbb`."""
    return (int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16))


def hexadecimal(color: RGB) -> str:
    """Return `#rrggbb` of red, green and blue, clipped to 0..255."""
    return "#" + "".join(f"{round(min(255.0, max(0.0, channel))):02x}" for channel in color)


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """Return the colour at `share` (0..1) of the way from `first` to `second`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def ramp(stops: tuple[str, ...], count: int) -> list[str]:
    """Return `count` colours evenly spaced along the straight lines between the stops."""
    colors = [rgb(stop) for stop in stops]
    result = []
    for index in range(count):
        place = index * (len(colors) - 1) / max(1, count - 1)
        low = min(int(place), len(colors) - 2)
        result.append(hexadecimal(mix(colors[low], colors[low + 1], place - low)))
    return result


def luminance(color: str) -> float:
    """Return the relative luminance (0..1) of a colour, as WCAG 2.1 defines it."""
    channels = [value / 255 for value in rgb(color)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio (1..21) of two colours; WCAG AA asks 4.5 for text, 3 for marks."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)
