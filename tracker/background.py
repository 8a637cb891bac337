"""The background thread that owns the run's writer, and the blocks that swap between it and the training thread.

Memory is bounded: when the disk cannot follow, training waits, and the wait is noted in the run. Nothing is ever
dropped silently. Everything that was filled is committed at least every `flush_seconds`, also while training
itself stands still.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - its hook must be registered before ours, see `_close_all`.
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeptracker.data_model.errors import RecordingError

if TYPE_CHECKING:
    from deeptracker.data_model.writer import RunWriter
    from deeptracker.tracker.block import Block, Taken
    from deeptracker.tracker.totals import Float64

Job = Callable[["RunWriter"], None]

MOST_WAITING_BYTES = 32 << 20
"""Bytes of validations, thumbnails and snapshots that may wait for the disk (one of them may always wait)."""

_SMALLEST_JOB = 1 << 20
"""Every job counts as at least so many bytes: many small ones take time too, and a commit waits for those before it."""

_SHORTEST_WAIT = 0.01


@dataclass(frozen=True)
class _Task:
    job: Job
    size: int = 0
    block: Block | None = None


class Background:
    """Writes blocks and jobs in the order they were handed over. `error` tells what stopped it."""

    def __init__(self, writer: RunWriter, blocks: Sequence[Block], flush_seconds: float) -> None:
        """Take over the writer: from here on only the background thread touches it. At least two blocks."""
        self._writer, self._flush_seconds = writer, flush_seconds
        # Held by `with self._lock` only. Not by `with self._changed`: that is written in Python, so that Ctrl-C could
        # come between taking the lock and entering the block, and the lock would never be let go again.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._process = os.getpid()
        self._blocks = list(blocks)
        self.filling, *free = self._blocks
        """The block that is being filled. Outside of `keep` only what it holds not yet may be written to."""
        self._free = deque(free)
        self._tasks: deque[_Task] = deque()
        self._waiting_bytes = 0
        self._waited = 0.0
        self._asked = self._answered = 0
        self._closing = self._dirty = False
        self.error: Exception | None = None
        self._hear: Callable[[Exception], None] = lambda error: None
        self.seconds = 0.0
        """CPU time that the background thread has used."""
        self._thread = threading.Thread(target=self._run, name="deeptracker-writer", daemon=True)
        self._thread.start()
        _open.add(self)

    def keep(self, taken: Taken, table: Float64, rows: Float64) -> None:
        """Add what was recorded of a step to the block that is being filled; wait for the disk to have room for it."""
        with self._lock:
            if self.filling.full:
                self._wait(lambda: bool(self._free))
                self._hand_over()
            self.filling.add(taken, table, rows)
            # At once, so that the next record finds room where it is measured to; and the disk has more time.
            if self.filling.full and self._free:
                self._hand_over()

    def tell(self, hear: Callable[[Exception], None]) -> None:
        """Have `hear` called with what stops the background thread, on that thread; at once if it has stopped."""
        with self._lock:
            self._hear = hear
            if self.error is not None:
                hear(self.error)

    def submit(self, job: Job, size: int = 0) -> None:
        """Have a job done with the writer; wait while too many bytes are under way already."""
        size = max(size, _SMALLEST_JOB)
        with self._lock:
            self._wait(lambda: not self._waiting_bytes or self._waiting_bytes + size <= MOST_WAITING_BYTES)
            task = _Task(job, size)
            self._waiting_bytes += size
            self._tasks.append(task)
            self._changed.notify_all()

    def exchange(self, blocks: Sequence[Block], job: Job) -> None:
        """Go on with blocks of another kind, once a job has been done that makes the run ready for them."""
        with self._lock:
            filled = self.filling
            if filled.rows:
                self._tasks.append(_Task(filled.write))
            self._tasks.append(_Task(job))
            self._blocks = list(blocks)
            self.filling, *free = self._blocks
            self._free = deque(free)
            self._changed.notify_all()

    def flush(self) -> None:
        """Return once everything handed over so far is committed, or writing has failed."""
        with self._lock:
            self._asked += 1
            ticket = self._asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answered >= ticket or not self._thread.is_alive())

    def close(self) -> None:
        """Write everything, close the run and end the thread; safe to call twice."""
        with self._lock:
            self._closing = True
            self._changed.notify_all()
        held = self._let_go()
        try:
            self._thread.join()
        finally:
            for _ in range(held):
                self._lock.acquire()
        _open.discard(self)

    def _let_go(self) -> int:
        """Release the lock as often as this thread holds it, so that the other one can finish; return how often.

        A signal's handler that closes the recorder may have interrupted this very thread while it held the lock.
        """
        held = 0
        while True:
            try:
                self._lock.release()
            except RuntimeError:
                return held
            held += 1

    def _wait(self, possible: Callable[[], bool]) -> None:
        start = time.monotonic()
        self._changed.wait_for(possible)
        waited = time.monotonic() - start
        if waited > _SHORTEST_WAIT:
            self._waited += waited

    def _hand_over(self) -> None:
        """Queue the filled block and go on with a free one; the caller holds the lock and has seen a free one."""
        task = _Task(self.filling.write, block=self.filling)
        # A signal's handler that raises gets in after a call only: by then all three have happened.
        self.filling = self._free[0]
        del self._free[0]
        self._tasks.append(task)
        self._changed.notify_all()

    def _run(self) -> None:
        due = time.monotonic() + self._flush_seconds
        while True:
            with self._lock:
                self._changed.wait_for(self._called, max(due - time.monotonic(), 0.0))
                closing, ticket = self._closing, self._asked
            if closing or ticket > self._answered or time.monotonic() >= due:
                self._take_everything()
                self._attempt(self._finish if closing else self._commit)
                due = time.monotonic() + self._flush_seconds
                with self._lock:
                    self._answered = ticket
                    self._changed.notify_all()
            else:
                self._work(len(self._tasks))
            self.seconds = time.thread_time()
            if closing:
                return

    def _called(self) -> bool:
        return bool(self._tasks) or self._closing or self._asked > self._answered

    def _take_everything(self) -> None:
        """Write what was handed over until now, and the block being filled; not what comes in meanwhile."""
        taken = False
        while not taken:
            with self._lock:
                taken = not self.filling.rows or bool(self._free)
                if self.filling.rows and self._free:
                    self._hand_over()
                count = len(self._tasks)
            self._work(count)

    def _work(self, count: int) -> None:
        """Do the first tasks of the queue. After an error they are only taken off, so that training never hangs."""
        for _ in range(count):
            task = self._tasks.popleft()
            self._dirty = True
            self._attempt(task.job)
            with self._lock:
                self._waiting_bytes -= task.size
                if task.block is not None:
                    task.block.clear()
                    if task.block in self._blocks:
                        self._free.append(task.block)
                self._changed.notify_all()

    def _attempt(self, job: Job) -> None:
        if self.error is not None:
            return
        try:
            job(self._writer)
        except BaseException as error:  # noqa: BLE001 - whatever it is: it belongs to the training thread, as `error`.
            self._fail(error if isinstance(error, Exception) else RecordingError(repr(error)))
            self._writer.abandon()

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self.error = error
            self._hear(error)

    def _commit(self, writer: RunWriter) -> None:
        with self._lock:
            waited, self._waited = self._waited, 0.0
        if waited:
            writer.note("waited for the disk", seconds=round(waited, 3), iteration=writer.last_iteration)
        if self._dirty or waited:
            writer.commit()
        self._dirty = False

    def _finish(self, writer: RunWriter) -> None:
        self._commit(writer)
        writer.close()

    @property
    def ours(self) -> bool:
        """Whether this process made it: in a forked child there is no thread that writes."""
        return os.getpid() == self._process


_open: set[Background] = set()


def _close_all() -> None:
    """Close what is still open when the interpreter ends; a forked child leaves it to its parent."""
    for background in list(_open):
        if background.ours:
            background.close()


# zarr writes through a pool of threads, which refuses work once the interpreter shuts its threads down, and that
# comes before `atexit`. The hook that those pools use runs last-registered first, so ours comes before theirs.
getattr(threading, "_register_atexit", atexit.register)(_close_all)
