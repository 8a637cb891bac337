"""The served pages: the list of runs, a run, and what is said when a link leads nowhere."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote, urlencode

import panel as pn
import panel_material_ui as pmui
import param
from panel.io.resources import LOCAL_DIST
from panel.util.parameters import edit_readonly

from deeptracker.app import urls
from deeptracker.app.library import Library
from deeptracker.app.library_page import LibraryPage
from deeptracker.app.notices import failure
from deeptracker.app.shell import Shell
from deeptracker.app.styles import PAGE, loader, material_both, variables
from deeptracker.app.theme import THEMES
from deeptracker.app.viewer import Viewer
from deeptracker.data_model.run import open_run
from deeptracker.data_model.selection import Selection

logger = logging.getLogger("deeptracker")

LOGO = "data:image/svg+xml," + quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="5" '
    'fill="#1a5fa8"/><g fill="none" stroke="#fff" stroke-width="1.8" stroke-linecap="round" '
    'stroke-linejoin="round"><path d="M4 7c3 0 4 2 6 2s3-3 10-3" opacity=".55"/><path d="M4 12c3 0 3-3 5-3s3 6 '
    '11 4" opacity=".8"/><path d="M4 18c4 0 4-3 6-3s3 3 10 2"/></g></svg>'
)
# Parts of plots that the page must not recolour in the browser: they take their colours from the theme. Material's
# page keeps off what the document's Bokeh theme names, but Panel replaces that theme while the page is made.
OWN_COLORS = ["Axis", "ColorBar", "Figure", "Grid", "Legend", "Plot", "Title"]
STYLES = [
    variables(theme, f":host, .mui-{name}") if name == "light" else variables(theme, f".mui-{name}")
    for name, theme in THEMES.items()
]


class Pages:
    """Makes a page for each visitor. `run_page` is where runs are opened, relative to the list's own address."""

    def __init__(self, library: Library, run_page: str = "") -> None:
        self.library, self.run_page = library, run_page

    def any(self) -> None:
        """Show the page of a run when the address names one, else the list of runs."""
        if "path" in (pn.state.session_args or {}):
            self.run()
        else:
            self.runs()

    def runs(self) -> None:
        """Show the list of runs."""
        page = self._page(urls.decode(_query()).theme)
        listing = LibraryPage(self.library, lambda entry: self.link(entry.key, page))
        page.main = [listing]
        listing.start()
        _show(page, "Runs")

    def run(self) -> None:
        """Show the page of the run the address names, or what is wrong with it."""
        named = urls.run_path(_query())
        address = urls.decode(_query())
        try:
            run = open_run(self.library.find(named))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a run is said on its page
            logger.warning("The run %r cannot be opened: %s", named, error)
            page = self._page(address.theme)
            page.main = [_way_back(failure("This run", error), page.site_url)]
            _show(page, "No run")
            return
        page = self._page(address.theme)
        selection = Selection()
        urls.apply(address, selection, run)
        viewer = Viewer(
            run,
            selection,
            theme="dark" if page.dark_theme else "light",
            views=address.views,
            find=lambda key: open_run(self.library.find(key)),
        )
        page.header = [viewer.header.row]
        page.param.watch(lambda event: _switch(viewer, event.new), ["dark_theme"])
        page.main = [pn.Column(viewer.body, Shell(viewer, named), sizing_mode="stretch_both", margin=0)]
        viewer.live.start()
        pn.state.on_session_destroyed(lambda context: viewer.close())
        _show(page, str(run.name))

    def link(self, key: str, page: Any) -> str:
        """Return the address of a run."""
        theme = "&theme=dark" if page.dark_theme else ""
        return f"{self.run_page}?path={quote(key, safe='/')}{theme}"

    def _page(self, theme: str | None) -> Any:
        page = pmui.Page(  # type: ignore[attr-defined]
            title="DeepTracker",
            logo=LOGO,
            dark_theme=theme == "dark",
            theme_config=material_both(),
            stylesheets=STYLES,
            sx=PAGE,
            site_url="./",
            favicon=LOGO,
            raw_css=[loader(THEMES["dark" if theme == "dark" else "light"])],
            busy_indicator=None,
        )
        return apart_from_others(page)


class _Calm(param.Parameterized):
    """Stands for a page that is never busy."""

    busy = param.Boolean(default=False, constant=True, doc="Whether the page is busy.")


def apart_from_others(page: Any) -> Any:
    """Return the page, deaf to whether the server is busy.

    Panel counts for all visitors together: each callback of one would change every page twice, without the lock of its
    document, and the server would keep the pages of those that have left.
    """
    with edit_readonly(page):
        page.busy = _Calm().param.busy  # another reference is the one way to let go of the first
    return page


def _show(page: Any, title: str) -> None:
    # Panel learns only while it writes the page where style sheets lie; what is made before then would name a CDN's.
    place = f"{pn.state.rel_path}/{LOCAL_DIST}" if pn.state.rel_path else LOCAL_DIST
    if pn.state.curdoc is not None:
        pn.state.curdoc.template_variables.setdefault("dist_url", place)
    page.servable(title=f"{title} · DeepTracker")
    page.param.update(_custom_theme=OWN_COLORS)


def _query() -> str:
    """Return the query the visitor came with."""
    arguments: dict[str, list[bytes]] = pn.state.session_args or {}
    return urlencode([(key, value) for key, values in arguments.items() for value in values])


def _switch(viewer: Viewer, dark: bool) -> None:
    viewer.session.theme = "dark" if dark else "light"


def _way_back(message: Any, address: str) -> Any:
    back = pmui.Button(label="Back to the runs", icon="arrow_back", href=address, target="_self", align="center")
    return pn.Column(message, back, sizing_mode="stretch_width")
