"""What was odd about a recording, in words: cuts, gaps, waits, and images that were missing, repeated or relabelled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Notes = Sequence[Mapping[str, Any]]


def remarks(notes: Notes) -> list[str]:
    """Return a line for each kind of thing that whoever reads a run should know about it; none where all went well."""
    kinds = (_resumes, _cuts, _gaps, _waits, _ending, _images, _thumbnails, _layers)
    return [line for kind in kinds for line in kind(notes)]


def _of(notes: Notes, key: str) -> list[Mapping[str, Any]]:
    return [note for note in notes if note.get("key") == key]


def _number(note: Mapping[str, Any], key: str) -> float:
    """Return a number of a note; 0 where it has none, as notes may come from anybody."""
    value = note.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return 0


def _counted(count: float, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _resumes(notes: Notes) -> list[str]:
    count = len(_of(notes, "resumed"))
    return [f"resumed {_times(count)}"] if count else []


def _cuts(notes: Notes) -> list[str]:
    cuts = _of(notes, "cut")
    if not cuts:
        return []
    before, last = _number(cuts[-1], "before"), _number(cuts[-1], "last")
    return [f"cut {_times(len(cuts))}, at last from iteration {before:,} on (it had reached {last:,})"]


def _gaps(notes: Notes) -> list[str]:
    spans = [(_number(note, "first"), _number(note, "stop")) for note in _of(notes, "gap")]
    if not spans:
        return []
    missing, (first, stop) = sum(stop - first for first, stop in spans), spans[-1]
    return [
        f"{_counted(missing, 'iteration')} missing in {_counted(len(spans), 'gap')}, at last {first:,} to {stop - 1:,}"
    ]


def _waits(notes: Notes) -> list[str]:
    waited = sum(_number(note, "seconds") for note in _of(notes, "waited for the disk"))
    return [f"training waited {waited:.1f} s for the disk"] if waited else []


def _ending(notes: Notes) -> list[str]:
    ended = _of(notes, "training ended by an exception")
    return [f"{note.get('kind', 'an error')} at iteration {_number(note, 'iteration'):,}" for note in ended[-1:]]


def _images(notes: Notes) -> list[str]:
    said = {
        "missing": "{count} without images that were validated before, up to {most:,} of them",
        "repeated": "{count} with images that came twice, up to {most:,}; the last result of each holds",
        "new": "{count} with new images, up to {most:,}",
        "relabelled": "{count} with images that got another class, up to {most:,}",
    }
    lines = []
    for key, words in said.items():
        counts = [_number(note, key) for note in _of(notes, "validation") if _number(note, key)]
        if counts:
            lines.append(words.format(count=_counted(len(counts), "validation"), most=int(max(counts))))
    return lines


def _thumbnails(notes: Notes) -> list[str]:
    full = sum(_number(note, "images") for note in _of(notes, "no room for thumbnails"))
    damaged = sum(_number(note, "images") for note in _of(notes, "thumbnails not readable"))
    return [
        *([f"no room for the thumbnails of {_counted(full, 'image')}"] if full else []),
        *([f"the pictures of {_counted(damaged, 'image')} could not be read"] if damaged else []),
    ]


def _layers(notes: Notes) -> list[str]:
    joined = [note.get("joined") for note in _of(notes, "layers")]
    count = sum(len(names) for names in joined if isinstance(names, list))
    return [f"{_counted(count, 'layer')} joined while it was recorded"] if count else []
