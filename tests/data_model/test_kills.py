"""`kill -9` of writers at random moments, the index at level 3, a reader attached: nothing is lost, nothing torn."""

from __future__ import annotations

from pathlib import Path

from tests.crash.content import small_shards
from tests.crash.harness import kill_writers


def test_killed_at_any_moment_nothing_committed_is_lost(tmp_path: Path) -> None:
    with small_shards():
        outcome = kill_writers(tmp_path, 5, seconds=0.3, filled=4600)
    assert (outcome.kills, outcome.level) == (5, 3)
    assert outcome.reads > 0
    assert outcome.longest > 4096
