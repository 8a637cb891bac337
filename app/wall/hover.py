"""The wall's readout: what exactly is under the pointer, as words."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS

from deeptracker.app.theme import FONT, RADIUS, Theme
from deeptracker.app.wall import browser
from deeptracker.app.wall.feed import Feed
from deeptracker.app.wall.frame import Face
from deeptracker.app.wall.source import STATE_NAMES, Envelope, States


def exact(value: float) -> str:
    """Return a value with the digits float32 really holds."""
    if not np.isfinite(value):
        return "no value"
    return f"{value:.5g}"


def span_words(start: int, stop: int) -> str:
    """Return the iterations [start, stop) as words."""
    return f"iteration {start:,}" if stop - start <= 1 else f"iterations {start:,} to {stop - 1:,}"


def bucket_at(start: np.ndarray, stop: np.ndarray, iteration: float) -> int | None:
    """Return the bucket that holds an iteration."""
    index = int(np.searchsorted(start, iteration, side="right")) - 1
    return index if index >= 0 and iteration < stop[index] else None


def envelope_lines(envelope: Envelope, row: int, iteration: float, unit: str = "") -> list[str]:
    """Return the readout of a bucket: its iterations, and the values it holds."""
    bucket = bucket_at(envelope.start, envelope.stop, iteration)
    if bucket is None:
        return []
    lines = [span_words(int(envelope.start[bucket]), int(envelope.stop[bucket]))]
    low, middle, high = (float(part[row, bucket]) for part in (envelope.low, envelope.middle, envelope.high))
    unit = f" {unit}" if unit else ""
    if np.isnan(middle):
        lines.append("not recorded" if not envelope.nonfinite[row, bucket] else "no finite value")
    elif low == high:
        lines.append(f"{exact(middle)}{unit}")
    else:
        lines.append(f"mean {exact(middle)}{unit}")
        lines.append(f"min {exact(low)} · max {exact(high)}")
        below, above = float(envelope.band_low[row, bucket]), float(envelope.band_high[row, bucket])
        if below < middle < above:
            lines.append(f"quartiles {exact(below)} to {exact(above)}")
    if envelope.nonfinite[row, bucket]:
        lines.append("NaN or Inf recorded here")
    return lines


def state_lines(states: States, rows: list[int], iteration: float) -> list[str]:
    """Return the readout of a validation: the state of an image, or how many of a group are right."""
    index = bucket_at(states.start, states.stop, iteration)
    if index is None:
        return []
    lines = [f"validation {index + 1} of {len(states.start)} · iteration {int(states.start[index]):,}"]
    found = states.state[rows, index]
    if len(rows) == 1:
        return [*lines, STATE_NAMES[int(found[0])]]
    known = found[found != 255]
    return [*lines, f"{int((known & 1).sum())} of {len(known)} right, {int((known >> 1).sum())} changed"]


def lines(feed: Feed, row: int, iteration: float, unit: str = "") -> list[str]:
    """Return the readout of a row of what was last drawn; none where nothing was."""
    values, states = feed.envelope_row(row), feed.states_row(row)
    if values is not None:
        return envelope_lines(*values, iteration, unit)
    return state_lines(*states, iteration) if states is not None else []


def as_html(name: str, readout: list[str], extra: str = "") -> str:
    """Return the readout as HTML; names are escaped, `extra` is trusted markup (a thumbnail)."""
    words = "<br>".join(escape(line) for line in readout)
    return f'{extra}<div><b style="font-weight:600">{escape(name)}</b><br>{words}</div>'


def style(theme: Theme) -> str:
    """Return the CSS of the readout."""
    return (
        f"display:flex;gap:10px;align-items:center;background:{theme.raised};color:{theme.text};"
        f"border:1px solid {theme.group_line};border-radius:{RADIUS}px;padding:7px 10px;"
        f"font:12px/1.45 {FONT};font-variant-numeric:tabular-nums;box-shadow:0 4px 14px rgba(0,0,0,.18);"
    )


class Hover:
    """Ties pointer and readout of one wall: `pointer` asks with row and iteration, `say` answers."""

    def __init__(self, name: str, face: Face) -> None:
        self.pointer = ColumnDataSource({"row": [-1], "x": [0.0]})
        self.words = ColumnDataSource({"html": [""], "style": [""]})
        self.rows = ColumnDataSource(tags=[0])
        args: dict[str, Any] = {"name": name, "pointer": self.pointer, "rows": self.rows}
        follow = CustomJS(args={**args, "band": face.band, "cross": face.cross}, code=browser.FOLLOW_POINTER)
        face.figure.js_on_event("mousemove", follow)
        face.figure.js_on_event("mouseleave", follow)
        show = CustomJS(args={"name": name, "words": self.words}, code=browser.SHOW_READOUT)
        self.words.js_on_change("data", show)
        face.figure.tags = [*face.figure.tags, self.words]  # only what the page refers to reaches the browser

    def say(self, html: str, theme: Theme) -> None:
        """Show the readout beside the pointer; empty: none."""
        self.words.data = {"html": [html], "style": [style(theme)]}
