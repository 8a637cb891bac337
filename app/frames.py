"""Bokeh figures made by HoloViews, without what HoloViews does to the rest of the page."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh  # registers the backend, without what an extension prints in notebooks
from bokeh.io import curdoc


def rendered(element: Any) -> Any:
    """Return the Bokeh figure of a HoloViews element.

    HoloViews replaces the theme of the whole document when it renders; the page's own is put back.
    """
    document = curdoc()
    theme = document.theme
    try:
        return hv.render(element, backend="bokeh")
    finally:
        document.theme = theme
