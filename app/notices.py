"""What the page says when there is nothing to draw: what happened, and what to do."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from deeptracker.app.later import on_page
from deeptracker.data_model.errors import DeepTrackerError

STYLES = """
:host { font-family: var(--dt-font); }
.notice { display: flex; flex-direction: column; gap: 6px; max-width: 620px;
  margin: 32px auto; padding: 0 24px; line-height: 1.5; color: var(--dt-muted, inherit);
  overflow-wrap: anywhere; }
.notice h3 { margin: 0; font-size: 15px; font-weight: 600; color: var(--dt-text, inherit); }
.notice p { margin: 0; font-size: 13px; }
.notice pre { margin: 8px 0 0; padding: 8px 12px; overflow: auto; max-height: 220px; font-size: 12px;
  border: 1px solid var(--dt-border, #8884); border-radius: 6px; }
.notice code { font-size: 12px; }
.notice summary { cursor: pointer; font-size: 12px; }
"""
SKELETON = """
:host { font-family: var(--dt-font); }
.skeleton { display: flex; flex-direction: column; gap: 10px; padding: 14px; box-sizing: border-box; height: 100%;
  overflow: hidden; }
.skeleton i { flex: none; height: 22px; border-radius: 4px; background: var(--dt-blank); animation: breathe 1.6s
  ease-in-out infinite; }
.skeleton i:first-of-type { width: 45%; height: 14px; margin-bottom: 6px; }
.skeleton span { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@keyframes breathe { 50% { opacity: .45; } }
@media (prefers-reduced-motion: reduce) { .skeleton i { animation: none; } }
"""


def skeleton(title: str, rows: int = 24) -> pn.pane.HTML:
    """Return the outline of a view that is being made, read out as busy."""
    bars = "".join(f'<i style="animation-delay: {0.05 * row:.2f}s"></i>' for row in range(rows))
    body = f'<div class="skeleton" role="status" aria-busy="true"><span>{escape(title)} is opening</span>{bars}</div>'
    return pn.pane.HTML(body, stylesheets=[SKELETON], sizing_mode="stretch_both", margin=0)


def notice(title: str, *paragraphs: str, code: str = "", details: str = "") -> pn.pane.HTML:
    """Return a quiet message: title, paragraphs of plain text, code to copy, details to unfold."""
    parts = [f"<h3>{escape(title)}</h3>", *(f"<p>{escape(text)}</p>" for text in paragraphs)]
    if code:
        parts.append(f"<pre>{escape(code)}</pre>")
    if details:
        parts.append(f"<details><summary>Details</summary><pre>{escape(details)}</pre></details>")
    body = f'<div class="notice" role="status">{"".join(parts)}</div>'
    return pn.pane.HTML(body, stylesheets=[STYLES], sizing_mode="stretch_width", margin=0)


def failure(title: str, error: Exception, retry: Callable[[], None] | None = None) -> pn.Column:
    """Return the message for an exception: ours speak for themselves, others show their details."""
    if isinstance(error, DeepTrackerError):
        message = notice(f"{title} cannot be shown", str(error))
    else:
        message = notice(
            f"{title} failed",
            f"{type(error).__name__}: {error}"[:500],
            "The rest of the page goes on. Try again, or reload the page; if it comes back, the details "
            "below belong into a bug report.",
            details="".join(traceback.format_exception(error))[-8000:],
        )
    parts: list[Any] = [message]
    if retry is not None:
        button = pmui.Button(
            label="Try again",
            variant="outlined",
            size="small",
            on_click=lambda event: on_page(retry),
            align="center",
        )
        parts.append(button)
    return pn.Column(*parts, sizing_mode="stretch_width", css_classes=["view-failure"], margin=0)
