"""The episodes of a run as cards, the most important first; a click brings an episode's place on screen everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from deeptracker.app.assets import asset
from deeptracker.app.episode_cards import card, key_of, selected, touching
from deeptracker.app.later import on_page
from deeptracker.app.views.base import View
from deeptracker.data_model.episodes import Episode

MOST_CARDS = 200
EARLY = 100
"""Iterations below which most rules have no past to compare with."""
NOTHING: dict[str, Any] = {"anomaly": None, "layers": [], "filters": [], "classes": [], "images": []}


class EpisodeList(JSComponent):
    """Shows `content` and calls `on_act(kind, value)` for what is clicked: "pick" (a card's key), "findings".

    `content` has `cards`, `whole` (the run's iterations), a `note` in words, and for the empty list `title`, `words`
    and `offer` (the words of a button). A card has `key`, `rank`, `start`, `stop`, `place`, `where`, the sentences
    `first`, `followed` and `beside`, `repeat`, `new`, `score`, its `share` of the highest, and its `course` (`first`
    and `last` iteration, `lanes` with `name` and `marks`: share of the span, and whether the finding made the episode).
    """

    content: param.Dict[dict[str, Any]] = param.Dict(default={}, doc="Cards and words, see the class.")
    picked: param.String[str] = param.String(default="", doc="Key of the card that is picked.")
    window: param.List[list[Any]] = param.List(
        default=[0, 1], item_type=int, bounds=(2, 2), doc="Iterations [start, stop) on screen; other cards are faint."
    )

    _esm = asset("episodes.js")
    _stylesheets: ClassVar[list[str]] = [asset("episodes.css")]

    def __init__(self, on_act: Callable[[str, Any], None], **params: Any) -> None:
        super().__init__(**params)
        self._on_act = on_act

    def _handle_msg(self, data: dict[str, Any]) -> None:
        # Messages arrive on a thread of their own; only the page's thread may change the page.
        on_page(lambda: self._on_act(str(data.get("kind")), data.get("value")))


class EpisodePanel:
    """Shows episodes by `draw`; writes the place of the card picked into the selection."""

    def __init__(self, view: View, to_findings: Callable[[], None]) -> None:
        self.session, self._to_findings = view.session, to_findings
        self.list = EpisodeList(view.guarded(self._act), sizing_mode="stretch_both", margin=0)
        self.in_time = False
        self._shown: list[Episode] = []
        self._known: set[str] | None = None

    def draw(self, span: tuple[int, int]) -> None:
        """Show the episodes that touch the iterations [start, stop)."""
        search = self.session.search
        if self._known is None and search.version:
            self._known = {key_of(one) for one in search.episodes}
        known = self._known or set()
        self._shown = touching(search.episodes, span)[:MOST_CARDS]
        strongest = max((one.score for one in search.episodes), default=0.0)
        cards = [card(one, rank, strongest, key_of(one) not in known) for rank, one in enumerate(self._shown, 1)]
        if self.in_time:
            cards.sort(key=lambda one: int(one["start"]))
        self.list.content = {"cards": cards, "whole": list(self.session.axes.whole), **self._words(span)}
        self.list.window = list(self.session.window)
        self.mark()

    def mark(self) -> None:
        """Mark the card that holds the picked anomaly."""
        row, rows = self.session.selection.anomaly, self.session.search.rows
        held = [one for one in self._shown if row is not None and any(rows.get(it) == row for it in one.findings)]
        self.list.picked = key_of(held[0]) if held else ""

    def _words(self, span: tuple[int, int]) -> dict[str, str]:
        """Return the note over the cards, or what is said in place of them."""
        search, run = self.session.search, self.session.run
        failed = " ".join(f"The rule {name} could not look: {reason}." for name, reason in search.failures.items())
        if self._shown or not search.version:
            return {"note": failed, "title": "" if self._shown else "Looking for what is unusual \u2026"}
        found = len(search.table)
        recording = run.state == "recording"
        offer = f"Show the {found:,} single findings" if found > 1 else "Show the single finding" if found else ""
        if search.episodes:
            return {
                "note": failed,
                "title": "No episode in these iterations",
                "words": f"There are {len(search.episodes):,} elsewhere in the run: zoom out, or clear the brush.",
            }
        if run.steps < EARLY:
            words = f"Rules compare with what was before, and there are {run.steps:,} iterations so far."
            later = " What they find appears here by itself." if recording else ""
            return {"note": failed, "title": "Still too early", "words": words + later, "offer": offer}
        words = (
            f"From iteration {span[0]:,} to {span[1] - 1:,} nothing stands out so clearly that it must mean something, "
            "and nothing that is merely unusual comes together with another such thing."
        )
        later = " The rules go on looking." if recording else ""
        return {"note": failed, "title": "No episode was found", "words": words + later, "offer": offer}

    def _act(self, kind: str, value: Any) -> None:
        if kind == "findings":
            self._to_findings()
        elif kind == "pick":
            self._jump(next((one for one in self._shown if key_of(one) == value), None))

    def _jump(self, episode: Episode | None) -> None:
        """Bring the place of an episode on screen in every view; the one picked already is let go of."""
        if episode is None:
            return
        again = self.list.picked == key_of(episode)
        self.session.selection.param.update(**(NOTHING if again else selected(episode, self.session)))
