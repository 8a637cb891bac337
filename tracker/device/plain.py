"""The statistics of many layers by torch's own operations: what the fused kernel computes, where Triton is not there.

All layers are laid end to end and reduced by row and then by layer, so that the number of operations does not grow
with the number of layers; sums are float64. Memory is bounded by taking layers in groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deeptracker.tracker.device.layout import Layout
from deeptracker.tracker.totals import (
    ABOVE,
    BEFORE_L1,
    BEFORE_SQUARES,
    CHANGE_L1,
    CHANGE_SQUARES,
    FILTER_COLUMNS,
    FINITE,
    GRADIENT,
    L1,
    MAXIMUM,
    MEAN,
    MINIMUM,
    NONFINITE,
    NONZERO,
    PAIRS,
    SQUARES,
    THRESHOLDS,
)

GROUP = 1 << 24
"""Values reduced at once, at most (a larger layer is taken alone): 128 MB for each intermediate result."""

_ADDED = [FINITE, NONFINITE, NONZERO, L1]


def reduce_rows(
    weights: Sequence[Tensor], gradients: Sequence[Tensor | None], before: Sequence[Tensor], layout: Layout
) -> tuple[Tensor, Tensor]:
    """Return float64 (row, column of `totals`) and (layer, column) on the device of the layers.

    Tensors are contiguous float32, with the filters on the first axis. A layer without a gradient has zeros there.
    """
    firsts = layout.layer_rows
    table = torch.empty((layout.rows, FILTER_COLUMNS), dtype=torch.float64, device=firsts.device)
    # Known on the host without asking the device: every row of a layer has the same length.
    rows = layout.rows_by_layer
    row = 0
    for group in _groups(layout.sizes):
        count = sum(rows[number] for number in group)
        lengths = layout.row_lengths[row : row + count]
        total = sum(layout.sizes[number] for number in group)
        part = table[row : row + count]
        value = torch.cat([weights[number].reshape(-1) for number in group])
        old = torch.cat([before[number].reshape(-1) for number in group])
        _spread(value, lengths, total, part[:, :GRADIENT])
        _change(value, old, lengths, part)
        slopes = [gradients[number] for number in group]
        flat = [torch.zeros_like(weights[n]) if g is None else g for n, g in zip(group, slopes, strict=True)]
        _spread(torch.cat([one.reshape(-1) for one in flat]), lengths, total, part[:, GRADIENT : 2 * GRADIENT])
        first = row
        for number, slope in zip(group, slopes, strict=True):
            if slope is None:
                _clear(table[first : first + rows[number], GRADIENT : 2 * GRADIENT])
            first += rows[number]
        row += count
    return table, _layers(table, layout)


def _groups(sizes: Sequence[int]) -> list[list[int]]:
    groups: list[list[int]] = []
    filled = GROUP
    for number, size in enumerate(sizes):
        if filled + size > GROUP:
            groups.append([])
            filled = 0
        groups[-1].append(number)
        filled += size
    return groups


def _segments(values: Tensor, lengths: Tensor, how: str, start: float) -> Tensor:
    # `unsafe` leaves out the check of the lengths, which would wait for the device.
    return torch.segment_reduce(values, how, lengths=lengths, axis=0, unsafe=True, initial=start)


def _sum(values: Tensor, lengths: Tensor) -> Tensor:
    return _segments(values.double(), lengths, "sum", 0.0)


def _spread(values: Tensor, lengths: Tensor, total: int, out: Tensor) -> None:
    finite = torch.isfinite(values)
    known = torch.where(finite, values, 0.0).double()
    count = _sum(finite, lengths)
    mean = _sum(known, lengths) / count.clamp(min=1)
    apart = torch.where(finite, known - mean.repeat_interleave(lengths, output_size=total), 0.0)
    out[:, FINITE], out[:, NONFINITE] = count, lengths - count
    out[:, NONZERO], out[:, L1] = _sum(known != 0, lengths), _sum(known.abs(), lengths)
    out[:, MEAN], out[:, SQUARES] = mean, _sum(apart * apart, lengths)
    out[:, MINIMUM] = _segments(torch.where(finite, values, torch.inf), lengths, "min", torch.inf)
    out[:, MAXIMUM] = _segments(torch.where(finite, values, -torch.inf), lengths, "max", -torch.inf)


def _change(value: Tensor, old: Tensor, lengths: Tensor, out: Tensor) -> None:
    """Fill the columns of the change; pairs with NaN or Inf on either side are left out."""
    pair = torch.isfinite(value) & torch.isfinite(old)
    value, old = torch.where(pair, value, 0.0), torch.where(pair, old, 0.0)
    # In float32, as the CPU's kernel compares.
    change, size = (value - old).abs(), old.abs()
    exact, exact_size = (value.double() - old.double()).abs(), size.double()
    out[:, PAIRS] = _sum(pair, lengths)
    out[:, CHANGE_L1], out[:, CHANGE_SQUARES] = _sum(exact, lengths), _sum(exact * exact, lengths)
    out[:, BEFORE_L1], out[:, BEFORE_SQUARES] = _sum(exact_size, lengths), _sum(exact_size * exact_size, lengths)
    for exponent in range(THRESHOLDS):
        out[:, ABOVE + exponent] = _sum(change > size * torch.tensor(10.0**-exponent, dtype=torch.float32), lengths)


def _clear(spread: Tensor) -> None:
    spread.zero_()
    spread[:, MINIMUM], spread[:, MAXIMUM] = torch.inf, -torch.inf


def _layers(table: Tensor, layout: Layout) -> Tensor:
    """Put the rows of each layer together: sums add up, spreads about the layer's own mean."""
    lengths = layout.layer_rows.diff()
    out = torch.empty((len(layout.sizes), FILTER_COLUMNS), dtype=torch.float64, device=table.device)
    out[:, PAIRS:] = _segments(table[:, PAIRS:].contiguous(), lengths, "sum", 0.0)
    for at in (0, GRADIENT):
        part = table[:, at : at + GRADIENT]
        count = part[:, FINITE]
        sums = torch.stack([part[:, column] for column in _ADDED] + [count * part[:, MEAN]], dim=1)
        added = _segments(sums, lengths, "sum", 0.0)
        mean = added[:, -1] / added[:, 0].clamp(min=1)
        apart = part[:, MEAN] - mean.repeat_interleave(lengths, output_size=layout.rows)
        for place, column in enumerate(_ADDED):
            out[:, at + column] = added[:, place]
        out[:, at + MEAN] = mean
        out[:, at + SQUARES] = _segments(part[:, SQUARES] + count * apart * apart, lengths, "sum", 0.0)
        out[:, at + MINIMUM] = _segments(part[:, MINIMUM].contiguous(), lengths, "min", torch.inf)
        out[:, at + MAXIMUM] = _segments(part[:, MAXIMUM].contiguous(), lengths, "max", -torch.inf)
    return out


def quartiles(tensors: Sequence[Tensor | None], samples: Tensor) -> Tensor:
    """Return float64 (layer, 3): q1, median and q3 of the sampled finite values; NaN where there is none.

    `samples` is int64 (layer, sampled) of places in the layer's values, -1: none.
    """
    nothing = torch.full((samples.shape[1],), torch.nan, device=samples.device)
    picked = torch.stack(
        [
            nothing if one is None else torch.where(places >= 0, one.reshape(-1)[places.clamp(min=0)], torch.nan)
            for one, places in zip(tensors, samples.unbind(), strict=True)
        ]
    )
    ordered = torch.where(torch.isfinite(picked), picked, torch.inf).sort(dim=1).values.double()
    finite = torch.isfinite(ordered).sum(dim=1, keepdim=True)
    # Made on the device: numbers of Python's would be copied to it, which waits for all that it has to do.
    quarters = torch.arange(1, 4, dtype=torch.float64, device=samples.device) / 4
    place = quarters * (finite - 1).clamp(min=0)
    below = place.long()
    low = ordered.gather(1, below)
    high = ordered.gather(1, torch.minimum(below + 1, (finite - 1).clamp(min=0)))
    found = low + (high - low) * (place - below)
    return torch.where(finite > 0, found, torch.nan)
