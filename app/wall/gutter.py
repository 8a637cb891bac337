"""The wall's gutter: the tree as an icicle with folding groups, and the labels that fit beside the rows.

What it shows is computed purely (`contents`); the figure takes it from two data sources.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from bokeh.models import ColumnDataSource, PanTool, Range1d, WheelZoomTool
from bokeh.plotting import figure

from deeptracker.app.theme import FONT, Theme
from deeptracker.app.wall.frame import WHEEL_SPEED
from deeptracker.app.wall.layout import Layout, Span

LEVEL_WIDTH = 20
"""CSS pixels of one level of groups."""
LABELS_FROM, SCALES_FROM = 8.0, 32.0
"""CSS pixels of row height from which rows are labelled, and their scale is written."""
LETTER = 6.3
"""CSS pixels that a letter of 11 pixels takes on average."""


@dataclass
class Contents:
    """Bars and texts of the gutter as columns, in (CSS pixels, -row)."""

    bars: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in ("left", "right", "top", "bottom", "color")}
    )
    texts: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in ("x", "y", "text", "angle", "color", "align", "size", "style")}
    )

    def bar(self, left: float, right: float, top: float, bottom: float, color: str) -> None:
        """Add a bar over rows [top, bottom)."""
        for name, value in zip(self.bars, (left, right, -top, -bottom, color), strict=True):
            self.bars[name].append(value)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        color: str,
        *,
        size: int = 11,
        align: str = "left",
        angle: float = 0.0,
        bold: bool = False,
    ) -> None:
        """Add a text at row y."""
        style = "bold" if bold else "normal"
        values = (x, -y, text, angle, color, align, f"{size}px", style)
        for name, value in zip(self.texts, values, strict=True):
            self.texts[name].append(value)


def shortened(text: str, pixels: float, size: int = 11) -> str:
    """Return the text, its middle left out where it would not fit."""
    most = max(1, int(pixels / (LETTER * size / 11)))
    if len(text) <= most:
        return text
    keep = max(1, most - 1)
    tail = keep * 2 // 3
    return f"{text[: keep - tail]}…{text[len(text) - tail :] if tail else ''}"


def letters(row_height: float) -> int:
    """Return the size of a row's label in CSS pixels: dense rows get smaller letters."""
    if row_height < 11:
        return 9
    return 11 if row_height < 40 else 12


def number(value: float) -> str:
    """Return a value for a scale, short."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ""
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.3g}"
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")


def contents(
    layout: Layout,
    top: float,
    bottom: float,
    height: float,
    width: float,
    theme: Theme,
    selected: frozenset[int],
    scales: dict[int, tuple[float, float]],
) -> Contents:
    """Return what the gutter shows beside rows [top, bottom) on `height` CSS pixels.

    `scales` are the lowest and highest value of the rows that have room for them, ready to be written.
    """
    result = Contents()
    row_height = height / max(1e-9, bottom - top)
    outer = outer_groups(layout)
    for span in layout.spans:
        if span.start < bottom and span.stop > top:
            innermost = span.key not in outer
            _group(result, span, layout.depth, innermost, top, bottom, row_height, width, theme)
    if row_height >= LABELS_FROM:
        left = 8 + LEVEL_WIDTH * layout.depth
        for index in range(max(0, math.floor(top)), min(len(layout.rows), math.ceil(bottom))):
            row = layout.rows[index]
            chosen = any(entity in selected for entity in row.entities)
            if row.group is None:
                _label(result, index, row.label, left, top, bottom, row_height, width, theme, chosen, index in scales)
            if index in scales:
                _scale(result, index, scales[index], row_height, width, theme)
    return result


def outer_groups(layout: Layout) -> set[str]:
    """Return the keys of the groups that hold other groups."""
    outer: set[str] = set()
    above: list[Span] = []
    for span in layout.spans:
        above = [*above[: span.depth], span]
        outer.update(one.key for one in above[:-1])
    return outer


def _group(
    result: Contents,
    span: Span,
    depth: int,
    innermost: bool,
    top: float,
    bottom: float,
    row_height: float,
    width: float,
    theme: Theme,
) -> None:
    first, last = max(span.start, top), min(span.stop, bottom)
    pixels = (last - first) * row_height
    if pixels < 1.5:
        return
    left = 4 + LEVEL_WIDTH * span.depth
    gap = min(1.0 / row_height, (span.stop - span.start) * 0.1)
    right = width - 6 if span.folded else left + LEVEL_WIDTH - 3
    fill = theme.group_fill if span.depth == 0 else theme.subgroup_fill
    result.bar(left, right, span.start + gap, span.stop - gap, fill)
    middle = (first + last) / 2
    if span.folded:
        if row_height >= LABELS_FROM:
            count = f"{span.leaves:,}"
            room = right - left - 16 - LETTER * len(count)
            size = min(11, letters(row_height))
            result.text(left + 6, middle, shortened(f"▸ {span.label}", room, size), theme.text, size=size, bold=True)
            result.text(right - 6, middle, count, theme.muted, align="right", size=min(10, size))
        return
    bold = span.depth == 0
    if row_height < LABELS_FROM and innermost and pixels >= 11:
        # The rows have no room for names: the group's stands for them.
        start, count = 8 + LEVEL_WIDTH * depth, f"{span.leaves:,} rows"
        room = width - start - 14 - LETTER * len(count)
        result.text(start, middle, shortened(span.label, room), theme.muted)
        result.text(width - 8, middle, count, theme.muted, align="right", size=10)
    elif pixels >= LETTER * len(span.label) + 8:
        x, color = left + LEVEL_WIDTH / 2 - 1.5, theme.text if bold else theme.muted
        result.text(x, middle, span.label, color, angle=math.pi / 2, align="center", bold=bold)


def _label(
    result: Contents,
    index: int,
    label: str,
    left: float,
    top: float,
    bottom: float,
    row_height: float,
    width: float,
    theme: Theme,
    chosen: bool,
    has_scale: bool,
) -> None:
    middle = index + 0.5
    if row_height >= 60:  # a row that leaves the screen keeps its label on it
        edge = min(0.5, 9 / row_height)
        middle = min(max(middle, top + edge), bottom - edge)
        middle = min(max(middle, index + edge), index + 1 - edge)
    room = width - left - (54 if has_scale else 10)
    size = letters(row_height)
    color = theme.selection if chosen else theme.text
    result.text(left, middle, shortened(label, room, size), color, size=size, bold=chosen)


def _scale(
    result: Contents, index: int, scale: tuple[float, float], row_height: float, width: float, theme: Theme
) -> None:
    low, high = scale
    edge = 8 / row_height
    result.text(width - 6, index + edge, number(high), theme.muted, align="right", size=10)
    result.text(width - 6, index + 1 - edge, number(low), theme.muted, align="right", size=10)


def group_at(layout: Layout, x: float, row: float) -> str | None:
    """Return the key of the group whose bar is at x CSS pixels beside a row: it folds or unfolds there."""
    found = None
    for span in layout.spans:
        level = span.depth == math.floor((x - 4) / LEVEL_WIDTH)
        if span.start <= row < span.stop and (span.folded or level):
            found = span.key
    return found


@dataclass(frozen=True)
class Gutter:
    """The figure beside the picture."""

    figure: Any
    bars: ColumnDataSource
    texts: ColumnDataSource

    def show(self, found: Contents) -> None:
        """Send what the gutter shows."""
        bars: Any = found.bars
        texts: Any = found.texts
        self.bars.data, self.texts.data = bars, texts


def gutter(y_range: Range1d, width: int) -> Gutter:
    """Make the gutter's figure; a wheel over it zooms the rows."""
    plot = figure(
        width=width,
        x_range=Range1d(start=0, end=width),
        y_range=y_range,
        sizing_mode="stretch_height",
        toolbar_location=None,
        tools="",
        min_border=0,
        outline_line_color=None,
        output_backend="canvas",
        lod_threshold=None,
        min_height=60,
    )
    plot.axis.visible = False
    plot.grid.visible = False
    wheel = WheelZoomTool(dimensions="height", speed=WHEEL_SPEED)
    pan = PanTool(dimensions="height")
    plot.add_tools(wheel, pan)
    plot.toolbar.active_scroll, plot.toolbar.active_drag = wheel, pan
    empty = Contents()
    bars, texts = ColumnDataSource(data=dict(empty.bars)), ColumnDataSource(data=dict(empty.texts))
    shape: dict[str, Any] = {"fill_color": "color", "line_color": None, "border_radius": 3}
    plot.quad("left", "right", "top", "bottom", source=bars, **shape)
    plot.text(
        "x",
        "y",
        "text",
        source=texts,
        angle="angle",
        text_color="color",
        text_align="align",
        text_baseline="middle",
        text_font_size="size",
        text_font_style="style",
        text_font={"value": FONT},  # a plain string with commas would be read as a column's name
    )
    return Gutter(plot, bars, texts)
