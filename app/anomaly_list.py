"""The browser's part of the list of anomalies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from deeptracker.app.assets import asset
from deeptracker.app.later import on_page


class AnomalyList(JSComponent):
    """Shows `content` (`lines`, and a `note` in words) under `chips`; calls `on_act(kind, value)` for what is clicked.

    A line has `row`, `start`, `stop`, `text`, `members`, `score`, `color`, `landmark`; a chip `rule`, `title`,
    `source`, `count`, `on`, `color`, `landmark`. The kinds are "pick" (value: a row) and "rule" (value: a rule's name).
    """

    content: param.Dict[dict[str, Any]] = param.Dict(default={}, doc="Lines and note, see the class.")
    chips: param.List[list[dict[Any, Any]]] = param.List(
        default=[], item_type=dict, doc="Rules that can be shown or hidden."
    )
    picked: param.Integer[int | None] = param.Integer(
        default=None, allow_None=True, bounds=(0, None), doc="Row of the line that is picked."
    )

    window: param.List[list[Any]] = param.List(
        default=[0, 1], item_type=int, bounds=(2, 2), doc="Iterations [start, stop) on screen; other lines are faint."
    )

    _esm = asset("anomalies.js")
    _stylesheets: ClassVar[list[str]] = [asset("anomalies.css")]

    def __init__(self, on_act: Callable[[str, Any], None], **params: Any) -> None:
        super().__init__(**params)
        self._on_act = on_act

    def _handle_msg(self, data: dict[str, Any]) -> None:
        # Messages arrive on a thread of their own; only the page's thread may change the page.
        on_page(lambda: self._on_act(str(data.get("kind")), data.get("value")))
