"""Which rows stand on the wall, in which order: a tree that folds, sorts and filters. Pure: no data, no browser.

A leaf is one entity of the source (a layer, a filter, a class, an image), named by its number there. A folded group is
one row that stands for all of its leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BLOCK, STAGE = 1, 2
"""Strength of the line above a row: a group begins, an outermost group begins."""


@dataclass(frozen=True)
class Leaf:
    """One entity of the source: `entity` is its number there, `label` what the gutter shows."""

    entity: int
    label: str


@dataclass(frozen=True)
class Group:
    """Entities that belong together; `key` names the group among all groups of the tree."""

    key: str
    label: str
    children: tuple[Group | Leaf, ...]


Tree = Sequence[Group | Leaf]


@dataclass(frozen=True)
class Row:
    """One row on the wall: its label, the entities it stands for, and the folded group's key if it is one."""

    label: str
    entities: tuple[int, ...]
    group: str | None = None


@dataclass(frozen=True)
class Span:
    """A group's place: rows [start, stop), depth below the root (0 outermost), and how many leaves it holds."""

    key: str
    label: str
    depth: int
    start: int
    stop: int
    leaves: int
    folded: bool


@dataclass(frozen=True)
class Layout:
    """Rows from the top, the groups' spans over them, and per row the strength of the line above it (uint8)."""

    rows: tuple[Row, ...]
    spans: tuple[Span, ...]
    lines: npt.NDArray[np.uint8]

    @property
    def depth(self) -> int:
        """Number of nested levels of groups."""
        return max((span.depth + 1 for span in self.spans), default=0)

    def name(self, row: int) -> str:
        """Return a row's label behind the labels of the groups around it."""
        around = [span.label for span in self.spans if span.start <= row < span.stop and not span.folded]
        return ".".join([*around, self.rows[row].label])

    def row_of(self) -> dict[int, int]:
        """Return the row on which each visible entity stands."""
        return {entity: index for index, row in enumerate(self.rows) for entity in row.entities}


def leaves(tree: Tree) -> Iterator[Leaf]:
    """Yield the tree's leaves from the top."""
    for node in tree:
        if isinstance(node, Leaf):
            yield node
        else:
            yield from leaves(node.children)


def group_keys(tree: Tree) -> Iterator[str]:
    """Yield the keys of all groups, outer ones first."""
    for node in tree:
        if isinstance(node, Group):
            yield node.key
            yield from group_keys(node.children)


def tree_of(paths: Sequence[Sequence[str]], labels: Sequence[str]) -> list[Group | Leaf]:
    """Build a tree from each entity's groups, outermost first; neighbours under one group share it.

    A group that comes again after something else is a second group: the order of entities is never changed.
    """

    def build(entities: Sequence[int], depth: int, above: str) -> Iterator[Group | Leaf]:
        position = 0
        while position < len(entities):
            entity = entities[position]
            if len(paths[entity]) <= depth:
                yield Leaf(entity, labels[entity])
                position += 1
                continue
            name, first = paths[entity][depth], position
            while position < len(entities) and tuple(paths[entities[position]][depth : depth + 1]) == (name,):
                position += 1
            key = f"{above}/{name}" if (above, name) not in taken else f"{above}/{name}#{entity}"
            taken.add((above, name))
            shown = name.removeprefix(paths[entity][depth - 1] + ".") if depth else name
            yield Group(key, shown, tuple(build(entities[first:position], depth + 1, key)))

    taken: set[tuple[str, str]] = set()
    return list(build(range(len(labels)), 0, ""))


def sort(tree: Tree, score: Callable[[int], float] | Sequence[float], descending: bool = True) -> list[Leaf]:
    """Return all leaves in the order of their score, without groups; unknown scores (NaN) come last."""
    flat = list(leaves(tree))
    number = score if callable(score) else score.__getitem__
    values = np.asarray([number(leaf.entity) for leaf in flat], np.float64)
    order = np.argsort(np.where(np.isnan(values), np.inf, -values if descending else values), kind="stable")
    return [flat[index] for index in order]


def search(tree: Tree, words: str) -> list[Group | Leaf]:
    """Return the tree with only the leaves whose path of labels contains every word, whatever its case."""
    wanted = words.casefold().split()

    def keep(nodes: Iterable[Group | Leaf], above: str) -> Iterator[Group | Leaf]:
        for node in nodes:
            path = f"{above}.{node.label}".casefold()
            if isinstance(node, Leaf):
                if all(word in path for word in wanted):
                    yield node
            elif children := tuple(keep(node.children, path)):
                yield Group(node.key, node.label, children)

    return list(tree) if not wanted else list(keep(tree, ""))


def arrange(tree: Tree, folded: frozenset[str] = frozenset()) -> Layout:
    """Lay the tree out from the top; a folded group takes one row."""
    rows: list[Row] = []
    spans: list[Span] = []
    lines: dict[int, int] = {}

    def place(node: Group | Leaf, depth: int) -> int:
        if isinstance(node, Leaf):
            rows.append(Row(node.label, (node.entity,)))
            return 1
        start, position = len(rows), len(spans)
        if is_folded := node.key in folded:
            entities = tuple(leaf.entity for leaf in leaves(node.children))
            rows.append(Row(node.label, entities, node.key))
            count = len(entities)
        else:
            count = sum(place(child, depth + 1) for child in node.children)
        spans.insert(position, Span(node.key, node.label, depth, start, len(rows), count, is_folded))
        lines[start] = max(lines.get(start, 0), BLOCK if depth else STAGE)
        return count

    for node in tree:
        place(node, 0)
    strength = np.zeros(len(rows), np.uint8)
    for row, line in lines.items():
        if 0 < row < len(rows):
            strength[row] = line
    return Layout(tuple(rows), tuple(spans), strength)
