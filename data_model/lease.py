"""One writer per run in a bucket, where nobody can be asked for: the lock is renewed, and lapses when it is not.

A writer gives a sign every `BEAT_SECONDS`, and writes only within `LAPSE_SECONDS` of its last one. Whoever finds the
lock of another machine takes it over once no sign has come for `SILENT_SECONDS`: time enough for what the other had
under way. Signs and commits are conditional requests of the store, so a writer that has lost the run notices at its
next one, and cannot replace what the new holder has committed.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TypeVar

from deeptracker.data_model.errors import DeepTrackerError, RunLockedError, RunUnreachableError
from deeptracker.data_model.holder import LOCK, SILENT_SECONDS, Holder, read_lock, this_machine
from deeptracker.data_model.storage import ROOT, Content, Stamp, Storage, StorageWrapper, whole
from deeptracker.data_model.storage.known import KnownStorage

BEAT_SECONDS = 10.0
LAPSE_SECONDS = 30.0
PATIENCE_SECONDS = 180.0
"""How long a store that does not answer is tried again while a run is recorded."""
PAUSE_SECONDS = 2.0

Answer = TypeVar("Answer")


class Lease:
    """The lock of a run in a bucket, renewed by a thread until it is released."""

    def __init__(self, storage: Storage, holder: Holder, stamp: Stamp, asked: float) -> None:
        """Use `acquire` instead. `asked` is when the lock was asked for, on the monotonic clock."""
        self._bare, self._holder, self._stamp, self._renewed = storage, holder, stamp, asked
        self._known = KnownStorage(storage)
        self.storage: Storage = LeasedStorage(self._known, self)
        self._root: Stamp | None = None
        self._unsure: bytes | None = None
        self._process, self._mutex, self._over = os.getpid(), threading.Lock(), threading.Event()
        self._lost = ""
        threading.Thread(target=self._beat, name="deeptracker-lease", daemon=True).start()

    @classmethod
    def acquire(cls, storage: Storage) -> Lease:
        """Take the lock, or raise RunLockedError naming the holder.

        The lock of a writer on another machine that gives no sign is waited for, up to `SILENT_SECONDS`.
        """
        holder = Holder.this_process(this_machine(), secrets.token_hex(8))
        stale: Stamp | None = None
        while True:
            asked = time.monotonic()
            stamp = storage.exchange(LOCK, _content(holder), stale)
            if stamp is not None:
                _warn_unguarded(storage, holder)
                return cls(storage, holder, stamp, asked)
            stale = _stale(storage)

    def check(self) -> None:
        """Raise RunLockedError unless this process still holds the run; ask the store only where that is in doubt."""
        with self._mutex:
            if self._lost:
                raise RunLockedError(self._lost)
            if time.monotonic() - self._renewed > LAPSE_SECONDS:
                patiently(self._renew)

    def publish(self, root: bytes, before: Stamp | None = None) -> None:
        """Commit by one conditional request: it fails where anybody else has committed since this writer's last one."""
        self._root = before or self._root or self._bare.stamp(ROOT)
        patiently(lambda: self._put_root(root))

    def _put_root(self, root: bytes) -> None:
        self.check()
        before, unsure = self._root, self._unsure
        self._unsure = root
        stamp = self._known.exchange(ROOT, root, before)
        if stamp is None and unsure is not None:  # An earlier one may have come through without its answer.
            there, found = self._bare.read_stamped(ROOT)
            stamp = self._known.exchange(ROOT, root, found) if there == unsure else None
        if stamp is None:
            raise self._lose()
        self._root, self._unsure = stamp, None

    def release(self) -> None:
        """Give the lock back, where it is still this process's own."""
        if os.getpid() != self._process or self._over.is_set():
            return
        self._over.set()
        with suppress(DeepTrackerError, OSError), self._mutex:
            if not self._lost and time.monotonic() - self._renewed < LAPSE_SECONDS:
                self._bare.delete(LOCK)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with suppress(DeepTrackerError, OSError), self._mutex:
                if self._over.is_set() or self._lost:
                    return
                self._renew()

    def _renew(self) -> None:
        asked = time.monotonic()
        stamp = self._bare.exchange(LOCK, _content(self._holder), self._stamp)
        if stamp is None:  # Or an earlier sign has come through without its answer.
            found, there = read_lock(self._bare)
            if found is not None and found.token == self._holder.token:
                stamp = self._bare.exchange(LOCK, _content(self._holder), there)
        if stamp is None:
            raise self._lose()
        self._stamp, self._renewed = stamp, asked

    def _lose(self) -> RunLockedError:
        self._lost = (
            f"{self._bare} was taken over by another writer, moved or deleted while it was recorded. "
            "Record to another place."
        )
        return RunLockedError(self._lost)


class LeasedStorage(StorageWrapper):
    """Writes only while the lease is valid, and tries again for a while where the store does not answer."""

    def __init__(self, inner: Storage, lease: Lease) -> None:
        """Wrap the storage that the lease is about."""
        super().__init__(inner)
        self._lease = lease

    def write(self, name: str, content: Content, *, durable: bool = False) -> None:
        """Put a whole file in place."""
        content = whole(content)  # for every attempt anew
        self._guarded(lambda: self.inner.write(name, content, durable=durable))

    def delete(self, name: str) -> None:
        """Delete a file; one that is missing is fine."""
        self._guarded(lambda: self.inner.delete(name))

    def _guarded(self, write: Callable[[], None]) -> None:
        def attempt() -> None:
            self._lease.check()
            write()

        patiently(attempt)


def patiently(attempt: Callable[[], Answer]) -> Answer:
    """Do something, and while the store does not answer, again, for up to `PATIENCE_SECONDS`."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return attempt()
        except RunUnreachableError:
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE_SECONDS)


def _stale(storage: Storage) -> Stamp | None:
    """Return the stamp of a lock that may be replaced, None where it has gone.

    Raises RunLockedError where its holder lives.
    """
    holder, stamp = read_lock(storage)
    if holder is None or (holder.here and not holder.alive()):
        return stamp
    silent_since = time.monotonic()
    while not holder.here:
        if holder.seen is not None and time.time() - holder.seen > 30 * SILENT_SECONDS:
            return stamp  # Longer ago than clocks are wrong: stores refuse requests of a clock that is.
        if time.monotonic() - silent_since > SILENT_SECONDS:
            return stamp
        time.sleep(BEAT_SECONDS / 4)
        now = storage.stamp(LOCK)
        if now is None:
            return None
        if now != stamp:
            break
    raise RunLockedError(
        f"{storage} is being recorded by process {holder.pid} on {holder.host}. Record to another place, or wait until "
        "it has ended."
    )


def _content(holder: Holder) -> bytes:
    return json.dumps(asdict(replace(holder, seen=time.time()))).encode()


def _warn_unguarded(storage: Storage, holder: Holder) -> None:
    """Try whether the store keeps two writers apart at all; some that imitate others do not."""
    if storage.exchange(LOCK, _content(replace(holder, seen=0.0)), None) is not None:
        warnings.warn(
            f"The store of {storage} knows no conditional requests: a second writer of this run will not be noticed. "
            "Make sure that there is only one.",
            RuntimeWarning,
            stacklevel=2,
        )
