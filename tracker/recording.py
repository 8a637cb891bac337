"""What happens behind a recorder's calls: around every step, when layers join, when recording ends."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from deeptracker.data_model.storage import Storage
from deeptracker.data_model.vocabulary import Description
from deeptracker.tracker.assembly import Wanted, extend, find
from deeptracker.tracker.bystander import Bystander
from deeptracker.tracker.guard import Guard
from deeptracker.tracker.held import HeldGradients
from deeptracker.tracker.joining import Joining
from deeptracker.tracker.options import check_parameters, found_inf, hook
from deeptracker.tracker.ranks import is_first, rank
from deeptracker.tracker.roles import take_role
from deeptracker.tracker.thumbnails import Thumbnails
from deeptracker.tracker.validation import Results


class Recording:
    """One recording under way: `parts` where this process keeps what is recorded, None on other ranks.

    A recorder hands it what the user asks for; the optimizers' hooks come here by themselves.
    """

    def __init__(
        self,
        storage: Storage,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        wanted: Wanted,
        description: Description,
        on_error: str,
        hooks: bool,
    ) -> None:
        """Start or resume the run. Raises what a recorder raises, see there."""
        layers = find(model, wanted)
        self._wanted = wanted
        self._joining = Joining(model, wanted.biases, optimizers)
        if hooks:
            check_parameters(model, optimizers)
        self.guard = Guard(storage, on_error)
        role = take_role(storage, description, layers, optimizers, wanted, self.guard, on_error)
        self.steps, self._layers, self.parts, self._sharded = role
        self.guard.iteration = lambda: self.steps.iteration
        self.thumbnails = self.parts.validations.thumbnails if self.parts else Thumbnails()
        self._last = optimizers[-1]
        self._held: HeldGradients | None = None
        self._dropped = False
        self._handles = hook(optimizers, self.before, self._after_step) if hooks else []
        if not hooks and self.parts:
            steps = self.parts.steps
            self._held = HeldGradients(self._layers, lambda: steps.due)
        if not hooks:
            self.before()

    def going_on(self, on_error: str = "") -> bool:
        """Return whether to record; report, once, what has stopped the background thread."""
        return self.guard.clear or self.guard.recording(on_error)

    def before(self, *_: Any) -> None:
        """Get ready for the step to come: the optimizers' hook, or called by hand."""
        # What comes at every step goes by few functions: each is fetched into the CPU's caches anew.
        if self.guard.clear or self.going_on():
            if self._joining.noticed():
                self.guard.attempt(self._join)
            try:
                self.steps.before()
            except Exception as error:  # noqa: BLE001 - see Guard.attempt
                self.guard.fail(error)

    def after(self, found: Tensor | None = None) -> None:
        """Record the step that was taken; of `found` see `Steps.after`."""
        if self.guard.clear or self.going_on():
            try:
                self.steps.after(found)
            except Exception as error:  # noqa: BLE001 - see Guard.attempt
                self.guard.fail(error)
            if self.parts and self.parts.snapshots.due(self.steps.iteration):
                self.snapshot()
        else:
            # The training loop may still ask for the iteration to decide when to validate.
            self.steps.count(found)

    def step(self) -> None:
        """Record one iteration by hand, with the gradients as backward made them where they are gone by now."""
        held = self._held
        try:
            if held is not None and self.going_on():
                self.guard.attempt(held.lend)
            self.after()
        finally:
            if held is not None:
                held.take_back()
        if held is not None and self.going_on():
            self.guard.attempt(held.watch)
        self.before()

    def settle(self) -> None:
        """Keep what is still under way on a device; what comes now is no training."""
        self.guard.attempt(self.steps.settle)
        self.steps.pause()

    def snapshot(self) -> None:
        """Keep the weights as they are now."""
        if self.going_on() and self.parts:
            self.settle()
            snapshots = self.parts.snapshots
            self.guard.attempt(lambda: snapshots.take(self.steps.iteration))
        elif isinstance(self.steps, Bystander) and self.going_on():
            self.guard.attempt(self.steps.snapshot)

    def keep(self, results: Results) -> None:
        """Keep what one pass over the validation set has brought."""
        if not self.going_on() or not self.parts:
            if not is_first():
                self._say_dropped(len(results.ids))
            return
        validations = self.parts.validations
        if validations.last >= results.iteration:
            warnings.warn(f"A second validation at iteration {results.iteration} is left out.", stacklevel=3)
            return
        self.guard.attempt(lambda: validations.add(results))
        self.steps.pause()
        if self.parts.snapshots.granted():
            self.snapshot()

    def close(self, on_error: str = "") -> None:
        """Write everything, close the run and let go of the optimizers; safe to call twice."""
        if self.guard.closed or not self.guard.ours:
            return
        for handle in self._handles:
            handle.remove()
        if self._held is not None:
            self._held.remove()
        if self.parts:
            self.settle()
            self.parts.end(self.steps.overhead)
        try:
            self.going_on(on_error)
        finally:
            self.guard.close()

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if optimizer is self._last:
            found = found_inf(optimizer)
            if found is None or not found.is_cpu:
                self.after(found)
            elif not found:
                self.after()

    def _join(self) -> None:
        """Record the layers too that the model has got since."""
        # Ranks that hold shards would have to agree on when a layer joins.
        if self.parts and not self._sharded:
            known, found = self._joining.find(self._layers)
            if [*known, *found] == self._layers:
                return
            self.parts = extend(self.parts, known, found, self._wanted)
            self._layers = [*known, *found]
            if self._held is not None:
                self._held.extend(self._layers)

    def _say_dropped(self, images: int) -> None:
        """Warn once that only rank 0 records; this is another one."""
        if not self._dropped:
            self._dropped = True
            warnings.warn(
                f"Rank {rank()} has validated {images} images, and only rank 0 records: their results are dropped. "
                "Where each rank validates its own share, call recorder.validation(gather=True) on all.",
                RuntimeWarning,
                stacklevel=4,
            )
