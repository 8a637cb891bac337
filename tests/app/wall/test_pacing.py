import heapq
import time

import pytest

from deeptracker.app.wall import pacing
from deeptracker.app.wall.pacing import Pacer


class Clock:
    """A document's timers on a clock that a test turns."""

    def __init__(self, monkeypatch):
        self.now, self.waiting, self.cancelled = 100.0, [], set()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def add_timeout_callback(self, callback, timeout_milliseconds):
        handle = len(self.waiting) + len(self.cancelled) + self.now
        heapq.heappush(self.waiting, (self.now + timeout_milliseconds / 1000, handle, callback))
        return handle

    def remove_timeout_callback(self, callback_obj):
        self.cancelled.add(callback_obj)

    def turn(self, seconds):
        until = self.now + seconds
        while self.waiting and self.waiting[0][0] <= until:
            self.now, handle, callback = heapq.heappop(self.waiting)
            if handle not in self.cancelled:
                callback()
        self.now = until


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def drawn(clock):
    return []


@pytest.fixture
def pacer(clock, drawn):
    return Pacer(lambda: drawn.append(clock.now) or True, lambda: clock)


def test_first_change_after_a_pause_draws_at_once(pacer, clock, drawn):
    pacer.request()
    clock.turn(0.02)
    assert drawn == [pytest.approx(100 + pacing.FIRST, abs=0.002)]


def test_a_gesture_draws_seldom_and_ends_with_a_picture(pacer, clock, drawn):
    for _ in range(60):  # a second of changes every 16 ms
        pacer.request()
        clock.turn(0.016)
        if drawn:
            pacer.acknowledge()
    last = clock.now
    clock.turn(1)
    assert 3 <= len(drawn) <= 6
    assert last - 0.016 <= drawn[-1] <= last + pacing.QUIET + 0.002


def test_never_two_pictures_on_their_way(pacer, clock, drawn):
    pacer.request()
    clock.turn(0.02)
    pacer.request()
    clock.turn(0.2)
    assert len(drawn) == 1, "the browser has not shown the first one yet"
    pacer.acknowledge()
    clock.turn(0.4)
    assert len(drawn) == 2


def test_a_lost_acknowledgement_does_not_stop_the_wall(pacer, clock, drawn):
    pacer.request()
    clock.turn(0.02)
    pacer.request()
    clock.turn(pacing.LOST + 0.2)
    assert len(drawn) == 2


def test_without_a_document_every_request_draws(drawn):
    pacer = Pacer(lambda: drawn.append(0) or True, lambda: None)
    pacer.request()
    pacer.request()
    assert drawn == [0, 0]


def test_stop_forgets_what_waits(pacer, clock, drawn):
    pacer.request()
    pacer.stop()
    clock.turn(1)
    assert drawn == []
