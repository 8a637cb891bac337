"""When the browser has built what it was sent: parts that change before are lost, for nobody listens to them yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from panel.custom import JSComponent

from deeptracker.app.assets import asset
from deeptracker.app.later import on_page


class Arrival(JSComponent):
    """Sent along with other parts, without taking room, it calls back once the browser has built them."""

    _esm = asset("arrival.js")
    _stylesheets: ClassVar[list[str]] = [":host { position: absolute; width: 0; height: 0; overflow: hidden; }"]

    def __init__(self, on_arrival: Callable[[], None], **params: Any) -> None:
        super().__init__(width=0, height=0, margin=0, **params)
        self._on_arrival = on_arrival

    def _handle_msg(self, data: dict[str, Any]) -> None:
        # Messages arrive on a thread of their own; only the page's thread may change the page.
        on_page(self._on_arrival)
