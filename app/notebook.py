"""A run in a notebook's cell: the whole page, served by the notebook's own process to this machine only.

Drawing needs the browser and the data to talk to each other at every zoom; a frame on a small server does that in
every notebook, needs no extension, and leaves little in the notebook's file: the loss as a picture, for readers of
an exported notebook, whose kernel is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from deeptracker.app.library import Library, sparkline
from deeptracker.app.library_page import sparkline_svg
from deeptracker.app.serving import BackgroundServer
from deeptracker.app.theme import FONT, THEMES
from deeptracker.app.viewer import HEIGHT, Viewer
from deeptracker.data_model.run import Run

PAGE = """
<div class="deeptracker" style="font: 13px/1.6 {font}; color: {muted}; background: {page}; border: 1px solid {border};">
<iframe src="{address}" title="DeepTracker: {name}" style="width: 100%; height: {height}px; border: 0; display: block;">
</iframe>
<div class="still" style="display: none; padding: 16px 20px;"><b style="color: {text};">{name}</b>
<div style="color: {line};">{picture}</div>
The training loss from iteration {first:,} to {last:,}. The linked views need the notebook's kernel:
run this cell again.
</div>
<div style="padding: 2px 12px;">
<a href="{address}" target="_blank" style="color: {accent};">Open in a tab of its own</a>
</div></div>
<script>(function(){{
  const place = document.currentScript.previousElementSibling;
  const probe = new Image();
  probe.onerror = function () {{
    place.querySelector("iframe").style.display = "none";
    place.querySelector("a").style.display = "none";
    place.querySelector(".still").style.display = "block";
  }};
  probe.src = "{probe}";
}})();</script>
"""

_servers: dict[str, BackgroundServer] = {}


def address(run: Run, theme: str, views: Sequence[str] | None) -> str:
    """Return where this process serves the run's page, starting its server the first time."""
    place = str(run.path.resolve()) if run.path else run.url
    if place not in _servers:
        _servers[place] = BackgroundServer(Library([place]))
    server = _servers[place]
    query = {"theme": theme} if views is None else {"theme": theme, "v": ",".join(views)}
    return f"{server.url}run?path={quote(server.library.labels[0])}&{urlencode(query, safe=',')}"


def html(run: Run, theme: str = "light", views: Sequence[str] | None = None, height: int = HEIGHT) -> str:
    """Return the cell's output: a frame on the run's page, and what to show where nothing answers any more."""
    colors = THEMES[theme]
    first, stop = run.iterations
    drawn = f'<path fill="{colors.envelope}" stroke="{colors.line}"'
    picture = sparkline_svg(sparkline(run, 300), 640, 90).replace("<path", drawn)
    place = address(run, theme, views)
    return PAGE.format(
        address=escape(place),
        probe=place.partition("run?")[0] + "favicon.ico",  # asking for the page would make a session of it
        name=escape(str(run.name)),
        picture=picture,
        first=first,
        last=max(first, stop - 1),
        height=height,
        font=escape(FONT),
        **{name: getattr(colors, name) for name in ("page", "border", "text", "muted", "accent", "line")},
    )


class NotebookViewer(Viewer):
    """What `run.view()` returns: in a cell a frame on the run's page, in a Panel app the views themselves."""

    def __init__(self, run: Run, *, height: int = HEIGHT, **options: Any) -> None:
        super().__init__(run, **options)
        self.height = height

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        run, theme = self.session.run, str(self.session.theme)
        return {"text/html": html(run, theme, self.views, self.height), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"View of the run {str(self.session.run.name)!r} at {self.session.run.storage}"
