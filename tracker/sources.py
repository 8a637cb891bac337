"""Where the values of every layer's weight and gradient lie in memory, found again at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, is_
from typing import Any, Protocol

import torch
from torch import Tensor

from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker.layers import RecordedLayer

_gradient = attrgetter("grad")

_LOOK_EVERY = 8
"""Steps from looking at one layer anew to looking at the next."""


Readable = Callable[[RecordedLayer, Tensor, int | None], Tensor]
"""Returns a tensor itself where its values can be read where they lie, else a copy that can.

Called with the layer, its weight or its gradient, and the layer's number where it is the weight.
"""


class Places(Protocol):
    """Where the addresses of the layers' values are put, one a layer; 0 where there is no gradient."""

    def set_weights(self, addresses: Sequence[int]) -> None:
        """Take the addresses of the weights."""

    def set_gradients(self, addresses: Sequence[int]) -> None:
        """Take the addresses of the gradients."""


def on_the_cpu(recorded: RecordedLayer, tensor: Tensor, number: int | None = None) -> Tensor:
    """Return the tensor itself where the CPU's kernel can read its memory, else a copy that it can."""
    plain = tensor.dtype is torch.float32 and recorded.groups == 0 and tensor.is_cpu
    if plain and tensor.layout is torch.strided and tensor.is_contiguous():
        return tensor
    return recorded.arrange(tensor)


class Sources:
    """Finds the tensors of the layers, at every step: it asks torch as little as it can.

    While all weights are the same tensors as before, with their values in the same place, only their gradients are
    looked at: those are new tensors at most steps, which torch keeps of the weight's own kind. One layer after the
    other is looked at anew all the same, for there are ways to change a tensor in place.
    """

    def __init__(self, layers: Sequence[RecordedLayer], readable: Readable = on_the_cpu) -> None:
        self._layers, self._readable = layers, readable
        self._sizes = [layer.size for layer in layers]
        # The weights and their addresses, once all of them have been found to be readable as they are.
        self._weights: list[Tensor] = []
        self._addresses: list[int] = []
        # How the gradients lay in memory that were read as they are, where not in the order of their axes.
        self._strides: list[tuple[int, ...]] = []
        self._turn = 0

    def locate(self, now: Sequence[Tensor | None], places: Places) -> list[Tensor]:
        """Set the addresses of weights and gradients (0: none), contiguous float32, in `places`.

        `now` are the weights as the modules have them. While nothing about them has changed since the last call, which
        was for the same `places`, their addresses stay. Returns the copies that had to be made of tensors of other
        kinds: hold them until the addresses were used. RecordingError when a layer has changed its shape.
        """
        if self._unchanged(now):
            addresses = self._gradients()
            if addresses is not None:
                places.set_gradients(addresses)
                return []
        return self._look(places)

    def _unchanged(self, now: Sequence[Tensor | None]) -> bool:
        if not self._weights or not all(map(is_, now, self._weights)):
            return False
        self._turn += 1
        if self._turn % _LOOK_EVERY == 0:
            number = self._turn // _LOOK_EVERY % len(self._layers)
            layer, weight, gradient = self._layers[number], self._weights[number], self._weights[number].grad
            for one, which in ((weight, number), (gradient, None)):
                if one is not None and (one.numel() != layer.size or self._readable(layer, one, which) is not one):
                    return False
        return list(map(Tensor.data_ptr, self._weights)) == self._addresses

    def _gradients(self) -> list[int] | None:
        """Return their addresses (0: none), or None when one cannot be read as it is."""
        gradients: list[Any] = list(map(_gradient, self._weights))
        missing, sizes = [], self._sizes
        try:
            whole = all(map(Tensor.is_contiguous, gradients))
        except TypeError:  # One is None, which is cheaper to find out so than to look for.
            missing = [number for number, one in enumerate(gradients) if one is None]
            sizes = [size for size, one in zip(sizes, gradients, strict=True) if one is not None]
            gradients = [one for one in gradients if one is not None]
            whole = all(map(Tensor.is_contiguous, gradients))
        except RuntimeError:  # A sparse one has no strides.
            return None
        try:
            # Other orders than that of the axes are known, or are looked at.
            if not whole and not self._as_before(gradients, missing):
                return None
            # One that was put in place through `.data` may be shorter: reading on would leave its memory.
            if list(map(Tensor.numel, gradients)) != sizes:
                return None
            addresses = list(map(Tensor.data_ptr, gradients))
        except RuntimeError:  # A sparse one has no address.
            return None
        for number in missing:
            addresses.insert(number, 0)
        return addresses

    def _as_before(self, gradients: Sequence[Tensor], missing: Sequence[int]) -> bool:
        known = [one for number, one in enumerate(self._strides) if number not in missing]
        return len(known) == len(gradients) and list(map(Tensor.stride, gradients)) == known

    def _look(self, places: Places) -> list[Tensor]:
        """Look at every tensor, and copy those that cannot be read as they are."""
        weights = [layer.weight for layer in self._layers]
        pairs = list(zip(self._layers, weights, strict=True))
        values = [check(layer, self._readable(layer, one, number)) for number, (layer, one) in enumerate(pairs)]
        gradients = [
            None if weight.grad is None else check(layer, self._readable(layer, weight.grad, None))
            for layer, weight in pairs
        ]
        addresses = [one.data_ptr() for one in values]
        places.set_weights(addresses)
        places.set_gradients([0 if one is None else one.data_ptr() for one in gradients])
        plain = all(map(is_, weights, values)) and all(
            one is None or one is weight.grad for one, weight in zip(gradients, weights, strict=True)
        )
        self._weights = weights if plain else []
        self._strides = [() if one is None else one.stride() for one in gradients] if plain else []
        self._addresses = addresses
        return [*values, *(one for one in gradients if one is not None)]


def check(recorded: RecordedLayer, tensor: Tensor) -> Tensor:
    """Return a weight or its gradient; RecordingError when its number of values is not that of the layer."""
    if tensor.numel() != recorded.size:
        raise RecordingError(
            f"Layer {recorded.layer.name!r} has changed its shape from {recorded.layer.shape} to "
            f"{tuple(tensor.shape)}: a run keeps its layers, record the changed model as a new run."
        )
    return tensor
