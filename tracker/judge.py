"""What a network makes of images: the predicted class, and the probability and rank of the true class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.data_model.missing import recorded


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

    @classmethod
    def join(cls, parts: Sequence[Judged]) -> Judged:
        """Return the results of all parts, one after the other; at least one part."""
        return cls(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.predicted for part in parts]),
            np.concatenate([part.probability for part in parts]),
            np.concatenate([part.rank for part in parts]),
        )


def judge(logits: Tensor, targets: Tensor) -> Judged:
    """Return predicted class, softmax probability and rank of the true class (0: it came first).

    `logits` is (image, class) on any device, `targets` (image,) class numbers. Of equal logits the lower class comes
    first, as in `argmax`. A NaN logit ranks below all others, and makes the probability NaN.
    """
    logits = logits.detach().float()
    truth = targets.detach().to(logits.device, torch.int64)
    total = logits.logsumexp(dim=1)
    # Rows of NaN or Inf, which a sum of finite logits never is, take the way that is exact for them too.
    finite = bool(total.isfinite().all())
    probability, predicted, rank = (_judge_finite if finite else _judge_any)(logits, truth[:, None], total)
    return Judged(
        truth.cpu().numpy().astype(np.int32),
        predicted.cpu().numpy().astype(np.int32),
        recorded(probability.cpu().numpy()).astype(np.float32, copy=False),
        rank.cpu().numpy().astype(np.int32),
    )


def _judge_finite(logits: Tensor, column: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Four passes over the logits, without an intermediate of their size besides one."""
    true_logit = logits.gather(1, column)
    probability = (true_logit[:, 0] - total).exp_()
    above = _count(torch.gt, logits, true_logit)
    reached = _count(torch.ge, logits, true_logit)
    if bool((reached - above > 1).any()):
        before = torch.arange(logits.shape[1], device=logits.device) < column
        above = above + ((logits == true_logit) & before).sum(dim=1)
    return probability, logits.max(dim=1).indices, above


def _count(compare: Callable[..., Tensor], logits: Tensor, than: Tensor) -> Tensor:
    """Count in each row; as floats, because those are summed several times faster than booleans."""
    return compare(logits, than, out=torch.empty_like(logits)).sum(dim=1)


def _judge_any(logits: Tensor, column: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    probability = torch.softmax(logits, dim=1).gather(1, column)[:, 0]
    ranked = torch.where(logits.isnan(), -torch.inf, logits)
    number = torch.arange(logits.shape[1], device=logits.device)
    highest = ranked.amax(dim=1, keepdim=True)
    predicted = torch.where(ranked == highest, number, logits.shape[1]).amin(dim=1)
    true_logit = ranked.gather(1, column)
    ahead = (ranked > true_logit) | ((ranked == true_logit) & (number < column))
    return probability, predicted, ahead.sum(dim=1)
