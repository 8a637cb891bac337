"""The address of what is on screen: selection, theme and open views as a URL query, and back.

Whoever follows a link sees the same thing. Whatever a link holds, reading it never raises: what is no
selection is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from deeptracker.app.theme import THEMES
from deeptracker.app.wall.run_source import layer_statistics
from deeptracker.data_model.selection import Selection

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

LARGEST = 2**53
"""One more than the largest iteration or number read from a link: what a browser's numbers hold exactly."""
MOST_NAMES = 100
"""Names kept of each list; longer links are refused by servers and mail programs."""
LONGEST_NAME = 300

NUMBERS = {"t": "cursor", "a": "anomaly"}
SPANS = {"w": "window", "b": "brush"}
NAMES = {"l": "layers", "c": "classes", "i": "images", "r": "runs"}


@dataclass(frozen=True)
class Address:
    """What a link says: values of the selection by their name, the theme and the open views (None: not said)."""

    selection: dict[str, Any] = field(default_factory=dict)
    theme: str | None = None
    views: tuple[str, ...] | None = None


def encode(selection: Selection, theme: str | None = None, views: Iterable[str] | None = None) -> str:
    """Return the query of what is on screen, without `?`; only what differs from the overview is named."""
    pairs: list[tuple[str, str]] = []
    for key, name in SPANS.items():
        span = getattr(selection, name)
        if span is not None:
            pairs.append((key, f"{int(span[0])}-{int(span[1])}"))
    for key, name in NUMBERS.items():
        number = getattr(selection, name)
        if number is not None:
            pairs.append((key, str(number)))
    if selection.statistic:
        pairs.append(("s", selection.statistic))
    for key, name in NAMES.items():
        pairs += [(key, item) for item in getattr(selection, name)[:MOST_NAMES]]
    pairs += [("f", str(number)) for number in selection.filters[:MOST_NAMES]]
    if selection.difference:
        pairs.append(("d", "1"))
    if not selection.follow:
        pairs.append(("follow", "0"))
    if views is not None:
        pairs.append(("v", ",".join(views)))
    if theme is not None:
        pairs.append(("theme", theme))
    return urlencode(pairs, quote_via=quote, safe=",", errors="replace")


def decode(query: str) -> Address:
    """Return what a query (with or without `?`) says, leaving out whatever cannot be meant."""
    try:
        pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True, max_num_fields=20 * MOST_NAMES)
    except ValueError:  # more fields than any of our links has
        return Address()
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)

    def last(key: str) -> str:
        return values.get(key, [""])[-1]

    found: dict[str, Any] = {name: _span(last(key)) for key, name in SPANS.items()}
    found |= {name: _number(last(key)) for key, name in NUMBERS.items()}
    found["statistic"] = last("s")[:LONGEST_NAME] or None
    found |= {name: _names(values.get(key, [])) for key, name in NAMES.items()}
    numbers = [_number(text) for text in values.get("f", [])[:MOST_NAMES]]
    found["filters"] = list(dict.fromkeys(number for number in numbers if number is not None))
    found["difference"] = True if last("d") == "1" else None
    found["follow"] = False if last("follow") == "0" else None
    views = tuple(dict.fromkeys(name for name in last("v").split(",") if name)) if "v" in values else None
    theme = last("theme")
    return Address(
        {name: value for name, value in found.items() if value not in (None, [])},
        theme if theme in THEMES else None,
        views,
    )


def run_path(query: str) -> str:
    """Return the run that a query names, empty when it names none."""
    try:
        pairs = parse_qsl(query.removeprefix("?"), max_num_fields=20 * MOST_NAMES)
    except ValueError:
        return ""
    return next((value for key, value in pairs if key == "path"), "")


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST))):
        return None
    return int(text) if int(text) < LARGEST else None


def _span(text: str) -> tuple[int, int] | None:
    first, _, second = text.partition("-")
    start, stop = _number(first), _number(second)
    if start is None or stop is None or start == stop:
        return None
    return (min(start, stop), max(start, stop))


def _names(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if 0 < len(text) <= LONGEST_NAME))[:MOST_NAMES]


def apply(address: Address, selection: Selection, run: Run) -> None:
    """Put what the address says into the selection, without the names the run does not have."""
    count = int(run.filter_layer.size)
    images = {str(image) for image in run.images["id"].values} if "images" in address.selection else ()
    known: dict[str, Callable[[Any], bool]] = {
        "layers": _within({layer.name for layer in run.layer_list}),
        "classes": _within(set(run.class_names)),
        "images": _within(images),
        "filters": lambda number: 0 <= number < count,
    }
    values = dict(address.selection)
    for name, belongs in known.items():
        if name in values:
            values[name] = [item for item in values[name] if belongs(item)]
    if values.get("statistic") not in {statistic.name for statistic in layer_statistics(run)}:
        values.pop("statistic", None)
    selection.param.update(**values)


def _within(names: Container[str]) -> Callable[[Any], bool]:
    return lambda name: name in names
