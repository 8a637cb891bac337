"""Which part this process plays: it records, it follows the one that does, or it stands by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch.optim import Optimizer

from deeptracker.data_model.errors import RunAccessError
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.vocabulary import Description
from deeptracker.tracker.assembly import Parts, Wanted, assemble
from deeptracker.tracker.bystander import Bystander
from deeptracker.tracker.exchange import Exchange
from deeptracker.tracker.follower import Follower
from deeptracker.tracker.guard import Guard
from deeptracker.tracker.layers import RecordedLayer
from deeptracker.tracker.opening import in_order_of
from deeptracker.tracker.ranks import Announcement, is_first
from deeptracker.tracker.shards import is_sharded
from deeptracker.tracker.steps import Steps


class Role(NamedTuple):
    """What a process does at every step; `parts` only where it records. The layers are in the order of the run."""

    steps: Steps | Bystander
    layers: list[RecordedLayer]
    parts: Parts | None = None
    sharded: bool = False


def take_role(
    storage: Storage,
    description: Description,
    layers: Sequence[RecordedLayer],
    optimizers: Sequence[Optimizer],
    wanted: Wanted,
    guard: Guard,
    on_error: str,
) -> Role:
    """Record on the first rank, and tell the others of it, or of what went wrong; on those hear it.

    Raises what `assemble` raises, and RecordingError on the other ranks. Where nothing can be written and `on_error`
    is "warn", it stands by.
    """
    announcement = Announcement()
    sharded = any(is_sharded(one.weight) for one in layers)
    if not is_first():
        return _listen(announcement, layers, wanted)._replace(sharded=sharded)
    with announcement:
        try:
            ordered = in_order_of(storage, layers) if wanted.resume else list(layers)
            exchange = Exchange(announcement) if sharded else None
            parts = assemble(storage, description, ordered, optimizers, wanted, exchange)
            guard.when_failed = parts.stop
            parts.background.tell(guard.hear)
            role = Role(parts.steps, ordered, parts, sharded)
        except RunAccessError as error:
            if on_error == "raise":
                raise
            role = Role(Bystander(wanted.iteration or 0), list(layers), None, sharded)
            guard.iteration = lambda: wanted.iteration or 0
            guard.fail(error, on_error)
    names = [one.layer.name for one in role.layers] if role.parts and sharded else []
    announcement.make({"iteration": role.steps.iteration, "layers": names})
    return role


def _listen(announcement: Announcement, layers: Sequence[RecordedLayer], wanted: Wanted) -> Role:
    """Count iterations as the first rank does, and keep nothing; measure for it what only this rank has."""
    heard = announcement.hear()
    first, names = int(heard.get("iteration", 0)), heard.get("layers", [])
    if not names:
        return Role(Bystander(first), list(layers))
    ordered = sorted(layers, key=lambda one: names.index(one.layer.name))
    return Role(Follower(first, ordered, Exchange(announcement), wanted.snapshots_every), ordered)
