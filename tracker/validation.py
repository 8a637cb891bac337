"""Validation results per image: the predicted class, and the probability and rank of the true class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.missing import recorded
from deeptracker.tracker.thumbnails import check_images


@dataclass(frozen=True)
class Judged:
    """What a network made of some images, one value each: int32 classes, float32 probability, int32 rank."""

    classes: NDArray[np.int32]
    predicted: NDArray[np.int32]
    probability: NDArray[np.float32]
    rank: NDArray[np.int32]

    def take(self, rows: Sequence[int]) -> Judged:
        """Return the results of some of the images."""
        index = np.asarray(rows, np.intp)
        return Judged(self.classes[index], self.predicted[index], self.probability[index], self.rank[index])


def judge(logits: Tensor, targets: Tensor) -> Judged:
    """Return predicted class, softmax probability and rank of the true class (0: it came first).

    `logits` is (image, class) on any device, `targets` (image,) class numbers. Of equal logits the lower class comes
    first, as in `argmax`. A NaN logit ranks below all others, and makes the probability NaN.
    """
    logits = logits.detach().float()
    truth = targets.detach().to(logits.device, torch.int64)
    column = truth[:, None]
    probability = torch.softmax(logits, dim=1).gather(1, column)[:, 0]
    ranked = torch.where(logits.isnan(), -torch.inf, logits)
    number = torch.arange(logits.shape[1], device=logits.device)
    highest = ranked.amax(dim=1, keepdim=True)
    predicted = torch.where(ranked == highest, number, logits.shape[1]).amin(dim=1)
    true_logit = ranked.gather(1, column)
    ahead = (ranked > true_logit) | ((ranked == true_logit) & (number < column))
    return Judged(
        truth.cpu().numpy().astype(np.int32),
        predicted.cpu().numpy().astype(np.int32),
        recorded(probability.cpu().numpy()).astype(np.float32, copy=False),
        ahead.sum(dim=1).cpu().numpy().astype(np.int32),
    )


@dataclass
class Results:
    """One finished validation: every image once."""

    iteration: int
    ids: list[str]
    judged: Judged
    images: list[Tensor | None]
    repeated: int
    """Results that were replaced by a later one of the same image."""


class Validation:
    """Collects one pass over the validation set; what is logged is kept when the `with` block ends without an error."""

    def __init__(self, iteration: int, classes: int, wants: Callable[[str], bool], done: Callable[[Results], None]):
        """Made by `Recorder.validation`. `wants` says whether an image still lacks a thumbnail."""
        self.iteration = iteration
        self._classes, self._wants, self._done = classes, wants, done
        self._ids: list[str] = []
        self._judged: list[Judged] = []
        self._images: list[Tensor | None] = []

    def log(
        self,
        ids: Iterable[object] | Tensor,
        *,
        logits: Tensor,
        targets: Tensor | Sequence[int],
        images: Tensor | None = None,
    ) -> None:
        """Log a batch: stable ids of its images, (image, class) logits and (image,) true class numbers.

        `images` is (image, channel, height, width) or (image, height, width); the first picture of each id becomes
        its thumbnail. An id that comes again replaces its earlier result. RecordingError when sizes do not fit.
        """
        names = [str(one) for one in (ids.tolist() if isinstance(ids, Tensor) else ids)]
        truth = torch.as_tensor(targets)
        self._check(names, logits, truth)
        if images is not None:
            check_images(images, len(names))
        self._ids += names
        if names:
            self._judged.append(judge(logits, truth))
        for number, name in enumerate(names):
            wanted = images is not None and self._wants(name)
            self._images.append(images[number].detach().cpu().clone() if images is not None and wanted else None)

    def _check(self, names: Sequence[str], logits: Tensor, targets: Tensor) -> None:
        count = len(names)
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
            raise RecordingError(f"targets go from {low} to {high}; the logits have classes 0 to {width - 1}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._ids:
            self._done(self._results())

    def _results(self) -> Results:
        last = {name: row for row, name in enumerate(self._ids)}
        rows = list(last.values())
        parts = self._judged
        judged = Judged(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.predicted for part in parts]),
            np.concatenate([part.probability for part in parts]),
            np.concatenate([part.rank for part in parts]),
        ).take(rows)
        images = [self._images[row] for row in rows]
        return Results(self.iteration, list(last), judged, images, len(self._ids) - len(rows))
