"""Gradients that the training loop drops before it calls `recorder.step()`, as an optimizer inside of backward does.

A hook on every recorded parameter sees the gradient before it is accumulated, and holds a reference to it when the
iteration is due. While the iteration is measured, it is lent to parameters that have lost theirs.
With several ranks it is that of this one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.utils.hooks import RemovableHandle, unserializable_hook

from deeptracker.tracker.layers import RecordedLayer


class HeldGradients:
    """Holds the gradients of the iterations for which `wanted` says yes, from backward until `take_back`."""

    def __init__(self, layers: Sequence[RecordedLayer], wanted: Callable[[], bool]) -> None:
        """Hook the layers' parameters. A parameter that is replaced or thawed is hooked when `watch` is called."""
        self._layers, self._wanted = layers, wanted
        self._held: dict[int, Tensor] = {}
        self._borrowers: list[Tensor] = []
        self._hooks: dict[int, tuple[Tensor, RemovableHandle]] = {}
        self.watch()

    def watch(self) -> None:
        """Hook what is not hooked yet."""
        for number, recorded in enumerate(self._layers):
            weight = recorded.weight
            if not weight.requires_grad or (number in self._hooks and self._hooks[number][0] is weight):
                continue
            if number in self._hooks:
                self._hooks[number][1].remove()
            self._hooks[number] = (weight, weight.register_hook(self._hold(number)))

    def extend(self, layers: Sequence[RecordedLayer]) -> None:
        """Hold the gradients of other layers from now on, of which the first are those so far."""
        self._layers = layers
        self.watch()

    def lend(self) -> None:
        """Give parameters without a gradient the one that was held, until `take_back`."""
        for number, gradient in self._held.items():
            weight = self._layers[number].weight
            if weight.grad is None and weight.shape == gradient.shape:
                weight.grad = gradient.to(weight.dtype)
                self._borrowers.append(weight)

    def take_back(self) -> None:
        """Leave parameters without a gradient that had none, and let go of all that was held."""
        for weight in self._borrowers:
            weight.grad = None
        self._borrowers.clear()
        self._held.clear()

    def remove(self) -> None:
        """Take all hooks off."""
        for _, handle in self._hooks.values():
            handle.remove()
        self._hooks.clear()
        self._held.clear()

    def _hold(self, number: int) -> Callable[[Tensor], None]:
        def hold(gradient: Tensor) -> None:
            if self._wanted():
                earlier = self._held.get(number)
                # Micro-batches add up. Never in place: the tensor belongs to autograd.
                self._held[number] = gradient.detach() if earlier is None else earlier + gradient.detach()

        # The model may be saved whole; the hook stays behind without a warning.
        marked: Callable[[Tensor], None] = unserializable_hook(hold)
        return marked
