"""The network's tree as the coarse axis of every query: which layers, or filters, a block holds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.vocabulary import Layer

Numbers = NDArray[np.int64]
Groups = dict[str, Numbers]
"""Numbers of a family's entities by the name of the group that they make up."""

NETWORK = ""
"""The name of the block that holds everything, as `torch.nn.Module.named_modules` calls it."""

Blocks = Sequence[str] | Mapping[str, Sequence[str | int]]


def block_names(layers: Sequence[Layer]) -> list[str]:
    """Return every block of the network, the whole network first, each before what it holds."""
    return list(dict.fromkeys([NETWORK, *(block for layer in layers for block in layer.path)]))


class NetworkTree:
    """Finds what blocks and layers hold, among the layers of a run or among their filters."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        """Take the layers in network order."""
        self._names = [layer.name for layer in layers]
        self._known = dict.fromkeys([*block_names(layers), *self._names])
        self._first_filter = np.cumsum([0, *(layer.filters for layer in layers)])

    def layers_of(self, block: str) -> Numbers:
        """Return the numbers of a block's layers; a layer is a block too. Raises QueryError for an unknown one."""
        if block not in self._known:
            like = difflib.get_close_matches(block, list(self._known), 1) or list(self._known)[1:2]
            hint = f"; did you mean {like[0]!r}?" if like else "."
            raise QueryError(
                f"There is no block or layer {block!r} in the network; '' is all of it, and a block is named like "
                f"the modules above its layers{hint}"
            )
        inside = [block == NETWORK or name == block or name.startswith(f"{block}.") for name in self._names]
        return np.flatnonzero(inside)

    def filters_of(self, block: str) -> Numbers:
        """Return the numbers of all filters of a block's layers."""
        first = self._first_filter
        parts = [np.arange(first[number], first[number + 1]) for number in self.layers_of(block)]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def groups(self, blocks: Blocks, filters: bool) -> Groups:
        """Return the layers (or `filters`) of each block, or of each group of blocks and numbers, by its name."""
        find, count = (self.filters_of, self._first_filter[-1]) if filters else (self.layers_of, len(self._names))
        if isinstance(blocks, str):
            raise QueryError(f"`blocks` are a list of names; the name {blocks!r} was given. Ask for [{blocks!r}].")
        named = blocks if isinstance(blocks, Mapping) else {name: [name] for name in blocks}
        found = {}
        for name, parts in named.items():
            numbers = [find(part) if isinstance(part, str) else np.array([part], np.int64) for part in parts]
            found[name] = _members(name, np.concatenate([np.empty(0, np.int64), *numbers]), int(count))
        return found


def _members(name: str, numbers: Numbers, count: int) -> Numbers:
    """Return the numbers in order, each once: an entity that two parts hold counts once."""
    unique = np.unique(numbers)
    if len(unique) and (unique[0] < 0 or unique[-1] >= count):
        wrong = unique[(unique < 0) | (unique >= count)]
        raise QueryError(f"The group {name!r} asks for number {wrong[0]}; they are numbered 0 to {count - 1}.")
    return unique
