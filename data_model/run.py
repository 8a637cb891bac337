"""A recorded run, opened for reading: what every view, rule and notebook builds on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pandas as pd

from deeptracker.data_model.errors import DeepTrackerError, QueryError
from deeptracker.data_model.flip_counts import FlipCounts
from deeptracker.data_model.images import Images
from deeptracker.data_model.run_records import RunRecords
from deeptracker.data_model.storage import Place

if TYPE_CHECKING:
    from deeptracker.data_model.cube import EventCube
    from deeptracker.data_model.episodes import Episode

VIEWERS = "deeptracker.viewers"


class Run(RunRecords):
    """A run as of its newest commit read; `refresh` follows a run that is being recorded.

    Watch `version`: it counts the refreshes that brought something new. Nothing is ever written by reading.
    """

    _images: Images

    def flip_counts(self) -> FlipCounts:
        """Return how many images of each class flipped at each validation; a refresh adds what is new only."""
        return self._images.flip_counts()

    def image_insight(
        self,
        rank: str | None = None,
        *,
        most: int | None = None,
        images: Sequence[int] | None = None,
        stable: int | None = None,
    ) -> pd.DataFrame:
        """Return what each validation image's history says: a row per image, see `image_insight.COLUMNS`.

        `rank` keeps and sorts those worth a look, at most `most` of them: `never_learned`, `mislabelled` (constantly
        taken for one other class while p(true) is low), or `forgotten`. The index is the image's number, which
        `thumbnail` takes. `images` are the numbers of some images; `stable` is the k of the left and right rules, by
        the number of validations where it is not given.
        """
        from deeptracker.data_model.image_insight import image_insight, ranked
        from deeptracker.data_model.rules.image_flips import default_stable

        stable = stable or default_stable(self._images.axis.records)
        table = image_insight(self.result_portions(images), self.class_names, stable)
        return table if rank is None else ranked(table, rank, most)

    def cube(self, images: str = "both", *, stable: int | None = None) -> EventCube:
        """Return the correlation cube: which images flipped when, which filters moved out of line when, and how
        strongly layers and classes go together.

        `images` says which flips count: `left` (after a stable stretch), `right` (into one) or `both`; `stable` is
        their k, by the number of validations where it is not given. Raises QueryError for another word.
        """
        from deeptracker.data_model.cube import IMAGE_RULES, cube_of_run
        from deeptracker.data_model.rules.image_flips import default_stable

        if images not in IMAGE_RULES:
            raise QueryError(f"Flips are {', '.join(IMAGE_RULES)}; {images!r} was given.")
        return cube_of_run(self, images, stable or default_stable(self._images.axis.records))

    def anomalies(self, rules: Sequence[Any] | None = None, iterations: tuple[int, int] | None = None) -> pd.DataFrame:
        """Return what the rules find: a table of rule, kind, entity, start, stop, score and message."""
        from deeptracker.data_model.detection import find_anomalies

        return find_anomalies(self, rules=rules, iterations=iterations)

    def episodes(self, rules: Sequence[Any] | None = None, iterations: tuple[int, int] | None = None) -> list[Episode]:
        """Return the episodes that touch the window, the most important first: findings that belong together.

        Each says where it began, what followed, and what it rests on, in a few sentences (`text`). `rules` as for
        `anomalies`; of rules that are given, each finding makes an episode, also such as by default only tell what
        went along with one. A rule that fails is named in a `RuleFailedWarning`.
        """
        from deeptracker.data_model.detection import detect, warn_of
        from deeptracker.data_model.episodes import episodes_of_run, self_supporting

        detection = detect(self, rules)
        warn_of(detection)
        found = episodes_of_run(self, detection.anomalies if rules is None else self_supporting(detection.anomalies))
        first, stop = iterations or self.iterations
        return [one for one in found if one.start < stop and one.stop > first]

    def view(self, **options: Any) -> Any:
        """Return the linked views of the run, for a notebook's cell; what draws them comes with `deeptracker[viewer]`.

        The viewer announces itself as an entry point, so that reading runs depends on no way of drawing them.
        """
        for point in entry_points(group=VIEWERS):
            try:
                return point.load()(self, **options)
            except ModuleNotFoundError as error:
                raise DeepTrackerError(
                    f"The viewer needs {error.name}. Install it with: pip install 'deeptracker[viewer]'"
                ) from error
        raise DeepTrackerError(f"No viewer is installed (entry point {VIEWERS!r}): pip install 'deeptracker[viewer]'")


def open_run(place: Place) -> Run:
    """Open a recorded run for reading, live or finished, by its path or URL.

    Raises NotARunError where there is no run, RunFormatError where it is damaged or of a newer format, and
    RunAccessError where the operating system refuses.
    """
    return Run(place)
