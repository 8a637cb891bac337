"""The panel beside the cube: the pairs that stand out, or the filters and images behind what is picked."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import param
from panel.custom import JSComponent
from PIL import Image

from deeptracker.app.assets import asset
from deeptracker.app.later import on_page

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run


def picture(thumbnail: npt.NDArray[np.uint8] | None) -> str:
    """Return a thumbnail (height, width, 3) as a data URL, empty where there is none."""
    if thumbnail is None:
        return ""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(thumbnail)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


class Pictures:
    """The thumbnails of a run as data URLs, each read once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._known: dict[int, str] = {}

    def __call__(self, image: int) -> str:
        """Return an image's thumbnail as a data URL, empty while there is none."""
        if not self._known.get(image):
            self._known[image] = picture(self._run.thumbnail(image))
        return self._known[image]


class Behind(JSComponent):
    """Shows `content` and calls `on_pick(kind, value)` with what is clicked.

    `content` has `title`, `lines` (words), `pairs` (dicts of `value`, `layer`, `class`, `text`, `strong`), `filters`
    and `images` (dicts of `value`, `label`, `count`, `times`, `picked`; `short` for filters, `src` for images), their
    `filters_title` and `images_title`, `more` (words) and `back` (whether there is a way back).
    """

    content: param.Dict[dict[str, Any]] = param.Dict(default={}, doc="What is shown, see the class.")

    _esm = asset("behind.js")
    _stylesheets: ClassVar[list[str]] = [asset("behind.css")]

    def __init__(self, on_pick: Callable[[str, Any], None], **params: Any) -> None:
        super().__init__(**params)
        self._on_pick = on_pick

    def _handle_msg(self, data: dict[str, Any]) -> None:
        # Messages arrive on a thread of their own; only the page's thread may change the page.
        on_page(lambda: self._on_pick(str(data.get("kind")), data.get("value")))
