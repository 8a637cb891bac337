"""The list of runs as a page: a line for each with its sparkline, a search box, and what to do when it is empty."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

import numpy as np
import panel as pn
import panel_material_ui as pmui

from deeptracker.app.compared import MOST
from deeptracker.app.later import on_page
from deeptracker.app.library import Entry, Library
from deeptracker.app.notices import notice
from deeptracker.app.run_list import RunList
from deeptracker.app.words import ago, size_words

PERIOD = 4000
"""Milliseconds between searches for new runs while the page is open."""
WIDTH, HEIGHT = 168, 36

HOW_TO_RECORD = """from deeptracker import Recorder

with Recorder("runs/first", model, optimizers=[optimizer]) as recorder:
    for x, y in loader:
        ...                        # your training step
        recorder.log(loss=loss)"""

STYLES = """
:host { font-family: var(--dt-font); }
.runs { display: grid; gap: 8px; margin: 0; padding: 0; list-style: none; }
.runs li { display: grid; grid-template-columns: 18px minmax(0, 1fr); gap: 12px; align-items: center; }
.pick { width: 16px; height: 16px; margin: 0; accent-color: var(--dt-accent); cursor: pointer; }
.entry { display: grid; grid-template-columns: 168px minmax(140px, 1fr) 190px 130px 84px; gap: 20px;
  align-items: center; padding: 12px 18px; border: 1px solid var(--dt-border); border-radius: 8px;
  background: var(--dt-surface);
  color: var(--dt-text); text-decoration: none; font-size: 13px; }
a.entry:hover { border-color: var(--dt-accent); } a.entry:focus-visible { outline: 2px solid var(--dt-accent); }
.entry > * { min-width: 0; }
.name { font-weight: 600; font-size: 14px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.sub, .quiet { color: var(--dt-muted); font-size: 12px;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.state { display: inline-flex; align-items: center; gap: 7px; }
.state::before { content: ""; width: 8px; height: 8px; border-radius: 50%; background: var(--dt-muted); }
.state.recording::before { background: var(--dt-success); }
.state.interrupted::before { background: var(--dt-warning); }
.state.problem::before { background: var(--dt-error); }
.entry.bad { grid-template-columns: 168px 1fr; } .bad .sub { white-space: normal; overflow-wrap: anywhere; }
svg { display: block; } svg path { fill: var(--dt-envelope); stroke: var(--dt-line); stroke-width: 1.2;
  stroke-linejoin: round; }
@media (max-width: 900px) { .entry { grid-template-columns: 1fr 150px; } .entry > .wide { display: none; } }
"""


def sparkline_svg(spans: Sequence[tuple[float, float]], width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return the loss as a small picture, its spread filled; logarithmic where all is positive."""
    if not spans:
        return '<span class="quiet">no loss yet</span>'
    values = np.array(spans)
    if values.min() > 0:
        values = np.log(values)
    span = max(values.max() - values.min(), 1e-9)
    y = height - 3 - (values - values.min()) / span * (height - 6)
    x = np.linspace(1, width - 1, len(values)) if len(values) > 1 else np.array([width / 2])
    upper = [f"{a:.1f},{b:.1f}" for a, b in zip(x, y[:, 1], strict=True)]
    lower = [f"{a:.1f},{b:.1f}" for a, b in zip(x[::-1], y[::-1, 0], strict=True)]
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="training loss"><path d="M{"L".join([*upper, *lower])}Z"/></svg>'
    )


def entry_html(entry: Entry, link: str, now: float) -> str:
    """Return one line of the list; whatever the run says of itself is escaped."""
    name = f'<div class="name" title="{escape(entry.name)}">{escape(entry.name)}</div>'
    if entry.problem:
        return (
            '<div class="entry bad"><span class="state problem">cannot be opened</span>'
            f'<div>{name}<div class="sub">{escape(entry.problem)}</div></div></div>'
        )
    words = {"closed": "finished", "recording": "recording"}.get(entry.state, entry.state)
    model = f" · {entry.model}" if entry.model else ""
    model += " · synthetic" if entry.synthetic else ""
    return (
        f'<a class="entry" href="{escape(link)}">{sparkline_svg(entry.sparkline)}'
        f'<div>{name}<div class="sub">{escape(entry.key)}{escape(model)}</div></div>'
        f'<div class="wide"><span class="state {escape(entry.state)}">{escape(words)}</span>'
        f'<div class="sub">last data {ago(now - entry.committed_at)} ago</div></div>'
        f'<div class="number">{entry.iterations:,}<div class="sub">iterations</div></div>'
        f'<div class="number wide">{size_words(entry.size)}<div class="sub">on disk</div></div></a>'
    )


def pick_html(entry: Entry) -> str:
    """Return the box that picks a run for a comparison; none where the run cannot be opened."""
    if entry.problem:
        return "<span></span>"
    key, name = escape(entry.key), escape(entry.name)
    return f'<input type="checkbox" class="pick" value="{key}" aria-label="Pick {name}" title="Pick to compare">'


def matching(entries: Sequence[Entry], words: str) -> list[Entry]:
    """Return the entries whose name, place or model holds every word, whatever its case."""
    wanted = words.lower().split()
    return [
        entry
        for entry in entries
        if all(word in f"{entry.name} {entry.key} {entry.model} {entry.state}".lower() for word in wanted)
    ]


class LibraryPage(pn.viewable.Viewer):
    """The list, searched as one types, and renewed while it is open."""

    def __init__(self, library: Library, link: Callable[[Entry], str], **params: Any) -> None:
        super().__init__(**params)
        self.library, self.link = library, link
        self.search = pmui.TextInput(
            placeholder="Search by name, place or model",
            size="small",
            width=320,
            margin=0,
            variant="outlined",
        )
        self.search.param.watch(lambda event: self.update(), ["value_input"])
        self.title = pmui.Typography(margin=0, sx={"fontSize": "19px", "fontWeight": 600})
        self.list = RunList(stylesheets=[STYLES], sizing_mode="stretch_width", margin=0)
        self.compare = pmui.Button(
            label="Compare",
            icon="stacked_line_chart",
            size="small",
            variant="contained",
            margin=(0, 12, 0, 0),
            align="center",
            visible=False,
            target="_self",
            css_classes=["compare"],
        )
        self.list.param.watch(lambda event: self._picked(), ["picked"])
        self.content = pn.Column(sizing_mode="stretch_width", margin=0)
        self.update()

    def start(self) -> None:
        """Look for new runs again and again; on a thread, because disks can be slow."""
        pn.state.add_periodic_callback(self.update, PERIOD)

    def update(self) -> None:
        """Show the runs there are now."""
        entries = self.library.entries()
        on_page(lambda: self._show_entries(entries))

    def _show_entries(self, entries: Sequence[Entry]) -> None:
        self.title.object = f"{len(entries):,} run{'' if len(entries) == 1 else 's'}" if entries else "Runs"
        self.search.visible = bool(entries)
        if not entries:
            self._show(self._empty())
            return
        shown = matching(entries, self.search.value_input or "")
        if not shown:
            self._show(notice("No run matches", "The search looks at name, place, model and state of each run."))
            return
        now = time.time()
        lines = [f"<li>{pick_html(entry)}{entry_html(entry, self.link(entry), now)}</li>" for entry in shown]
        self.list.lines = f'<ul class="runs">{"".join(lines)}</ul>'
        self._picked()
        self._show(self.list)

    def _picked(self) -> None:
        """Offer to lay the picked runs over the one picked first."""
        known = {entry.key: entry for entry in self.library.entries() if not entry.problem}
        picked = [known[key] for key in self.list.picked if key in known]
        if len(picked) < 2:
            self.compare.visible = False
            return
        others = "".join(f"&r={quote(entry.key, safe='/')}" for entry in picked[1 : MOST + 1])
        self.compare.param.update(
            label=f"Compare {min(len(picked), MOST + 1)} runs", href=self.link(picked[0]) + others, visible=True
        )

    def _show(self, content: Any) -> None:
        if list(self.content) != [content]:
            self.content[:] = [content]

    def _empty(self) -> Any:
        places = ", ".join(str(root) for root in self.library.roots)
        return notice(
            "No run here yet",
            f"This page lists the runs recorded below {places}. A run appears by itself once its training begins.",
            "Record your own training loop like this, or try `deeptracker demo`:",
            code=HOW_TO_RECORD,
        )

    def __panel__(self) -> Any:
        bar = pmui.Row(
            self.title,
            pn.Spacer(sizing_mode="stretch_width"),
            self.compare,
            self.search,
            sizing_mode="stretch_width",
            margin=(0, 0, 16, 0),
            sx={"alignItems": "center"},
        )
        return pn.Column(
            bar,
            self.content,
            sizing_mode="stretch_width",
            max_width=1180,
            styles={"margin": "28px auto", "padding": "0 24px", "boxSizing": "border-box"},
        )
