"""One pass over the validation set, collected batch by batch, maybe from several processes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker import ranks
from deeptracker.tracker.judge import Judged, judge
from deeptracker.tracker.thumbnails import Picture, Thumbnails


@dataclass
class Results:
    """One finished validation: every image once. Without images, `judged` is None."""

    iteration: int
    ids: list[str]
    judged: Judged | None
    pictures: dict[str, Picture]
    repeated: list[str] = field(default_factory=list)
    """Images of which an earlier result was replaced by a later one."""


class Validation:
    """Collects one pass over the validation set; what is logged is kept when the `with` block ends without an error."""

    def __init__(
        self,
        iteration: int,
        classes: int,
        thumbnails: Thumbnails,
        done: Callable[[Results], None],
        gather: bool = False,
    ) -> None:
        """Made by `Recorder.validation`; `done` gets the results, with `gather` those of all ranks on the first."""
        self.iteration = iteration
        self._classes, self._thumbnails, self._done, self._gather = classes, thumbnails, done, gather
        self._ids: list[str] = []
        self._judged: list[Judged] = []
        self._pictures: dict[str, Picture] = {}

    def log(
        self,
        ids: Iterable[object] | Tensor,
        *,
        logits: Tensor,
        targets: Tensor | Sequence[int],
        images: Any = None,
    ) -> None:
        """Log a batch: stable ids of its images, (image, class) logits and (image,) true class numbers.

        `images`, (image, channel, height, width), (image, height, width) or one tensor, array, PIL image or path for
        each id: the first picture of each id becomes its thumbnail. An id that comes again replaces its earlier
        result, which is noted, with a warning. RecordingError when sizes do not fit.
        """
        names = names_of(ids)
        truth = torch.as_tensor(targets) if len(targets) else torch.zeros(0, dtype=torch.int64)
        self._check(names, logits, truth)
        if images is not None:
            self._pictures.update(self._thumbnails.make(names, images))
        if names:
            self._ids += names
            self._judged.append(judge(logits, truth))

    def _check(self, names: Sequence[str], logits: Tensor, targets: Tensor) -> None:
        count = len(names)
        if targets.ndim == 2 and targets.shape == logits.shape:
            raise RecordingError(
                f"targets has shape {tuple(targets.shape)}, one column per class; give the number of each image's true "
                "class: targets.argmax(dim=1)."
            )
        if logits.ndim in (1, 2) and tuple(logits.shape) in ((count,), (count, 1)) and len(targets) == count != 0:
            raise RecordingError(
                f"The logits have shape {tuple(logits.shape)}, one value per image; of a network with a single output "
                "z for two classes give both: x = z.reshape(-1, 1); logits=torch.cat([torch.zeros_like(x), x], dim=1)."
            )
        if logits.ndim != 2 or logits.shape[0] != count or tuple(targets.shape) != (count,):
            raise RecordingError(
                f"validation.log got {count} ids, logits of shape {tuple(logits.shape)} and targets of shape "
                f"{tuple(targets.shape)}; give logits (images, classes) and targets (images,)."
            )
        width = logits.shape[1]
        if self._classes and width != self._classes:
            raise RecordingError(
                f"The logits have {width} columns, but the recorder was given {self._classes} classes."
            )
        if targets.is_floating_point() or targets.is_complex():
            raise RecordingError(f"targets has dtype {targets.dtype}; give the number of each image's true class.")
        if count and (int(targets.min()) < 0 or int(targets.max()) >= width):
            low, high = int(targets.min()), int(targets.max())
            without = " Leave images without a class out: those with targets >= 0 are to be logged." if low < 0 else ""
            raise RecordingError(f"targets go from {low} to {high}; the logits have classes 0 to {width - 1}.{without}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        results = self._results() if kind is None else None
        if results is None:
            self._thumbnails.forget(self._pictures)
        if self._gather:
            # Every rank must take part, also one that has failed: the others wait for it.
            results = _merged(ranks.gather(results), self._thumbnails)
        if results is not None and results.ids:
            self._done(results)

    def _results(self) -> Results:
        last = {name: row for row, name in enumerate(self._ids)}
        judged = Judged.join(self._judged) if self._judged else None
        if judged is None or len(last) == len(self._ids):
            return Results(self.iteration, self._ids, judged, self._pictures)
        rows = list(last.values())
        replaced = [name for row, name in enumerate(self._ids) if last[name] != row]
        return Results(self.iteration, list(last), judged.take(rows), self._pictures, list(dict.fromkeys(replaced)))


def names_of(ids: Iterable[object] | Tensor) -> list[str]:
    """Return ids as text; RecordingError for a single text, whose characters nobody means, and for nested ids."""
    if isinstance(ids, str | bytes):
        raise RecordingError(f"ids is the text {ids!r}; give a list or tensor with one id for each image.")
    plain = ids.tolist() if isinstance(ids, Tensor) or hasattr(ids, "tolist") else ids
    if not isinstance(plain, Iterable):
        raise RecordingError(f"ids is {plain!r}; give a list or tensor with one id for each image.")
    names = [one if type(one) is str else _name(one) for one in plain]
    try:
        "".join(names).encode()
    except UnicodeEncodeError:  # Names of files whose bytes are no text; the store holds text only.
        return [name.encode("utf-8", "backslashreplace").decode() for name in names]
    return names


def _name(one: object) -> str:
    value = one.item() if isinstance(one, Tensor) and one.numel() == 1 else one
    if isinstance(value, Tensor | list | tuple | dict):
        raise RecordingError(f"An id is {str(value)[:80]!r}; give one number or text for each image.")
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _merged(parts: list[Results | None] | None, thumbnails: Thumbnails) -> Results | None:
    """Join what the ranks have found, on the first rank; None on the others, and where a rank has failed."""
    if parts is None:
        return None
    whole = [part for part in parts if part is not None]
    if len(whole) < len(parts):
        failed = [rank for rank, part in enumerate(parts) if part is None]
        warnings.warn(f"A validation is left out: it failed on rank {failed}.", RuntimeWarning, stacklevel=4)
        return None
    judged = [part.judged for part in whole if part.judged is not None]
    place: dict[str, int] = {}
    for row, name in enumerate(name for part in whole for name in part.ids):
        place.setdefault(name, row)
    pictures = dict(whole[0].pictures)
    for part in whole[1:]:
        pictures |= thumbnails.make(list(part.pictures), list(part.pictures.values()))
    # A DistributedSampler repeats images so that all ranks have as many: the same image on two ranks is no mistake.
    repeated = [name for part in whole for name in part.repeated]
    found = Judged.join(judged).take(list(place.values())) if judged else None
    return Results(whole[0].iteration, list(place), found, pictures, repeated)
