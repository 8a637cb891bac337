"""Undo and redo of a selection: what is one step, what comes back, and what is no step at all."""

from __future__ import annotations

from deeptracker.app.history import GESTURE_SECONDS, MOST_STEPS, History, state_of
from deeptracker.data_model.selection import Selection


class Clock:
    """Time that only passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float = 10.0) -> None:
        self.now += seconds


def make() -> tuple[Selection, History, Clock]:
    selection, clock = Selection(), Clock()
    return selection, History(selection, clock=clock), clock


def test_each_deed_is_undone_and_done_again() -> None:
    selection, history, clock = make()
    states = [state_of(selection)]
    for change in ({"window": (10, 90)}, {"layers": ["a"], "classes": ["b"]}, {"brush": (20, 30)}, {"layers": []}):
        clock.wait()
        selection.param.update(**change)
        states.append(state_of(selection))
    assert history.made == 4
    for expected in reversed(states[:-1]):
        assert history.can_undo
        history.undo()
        assert state_of(selection) == expected
    assert not history.can_undo
    history.undo()  # nothing left: nothing happens
    assert state_of(selection) == states[0]
    for expected in states[1:]:
        history.redo()
        assert state_of(selection) == expected
    assert not history.can_redo


def test_a_zoom_gesture_is_one_step() -> None:
    selection, history, clock = make()
    clock.wait()
    for width in range(100, 20, -1):
        selection.window = (0, width)
        clock.wait(GESTURE_SECONDS / 2)
    clock.wait(GESTURE_SECONDS)
    selection.window = (5, 15)
    assert history.made == 2
    history.undo()
    assert selection.window == (0, 21)
    history.undo()
    assert selection.window is None


def test_two_quick_deeds_of_other_kinds_are_two_steps() -> None:
    selection, history, clock = make()
    clock.wait()
    selection.window = (0, 50)
    clock.wait(GESTURE_SECONDS / 2)
    selection.layers = ["a"]
    clock.wait(GESTURE_SECONDS / 2)
    selection.window = (0, 40)
    assert history.made == 3


def test_what_views_answer_belongs_to_the_step() -> None:
    selection, history, clock = make()
    clock.wait()
    selection.param.watch(lambda event: setattr(selection, "filters", [1]), ["layers"])
    selection.layers = ["a"]
    assert history.made == 1
    history.undo()
    assert selection.layers == []
    assert not history.can_undo


def test_a_new_step_ends_what_could_be_redone() -> None:
    selection, history, clock = make()
    for name in "ab":
        clock.wait()
        selection.layers = [name]
    clock.wait()
    history.undo()
    assert history.can_redo
    clock.wait()
    selection.classes = ["c"]
    assert not history.can_redo
    history.undo()
    assert (selection.layers, selection.classes) == (["a"], [])


def test_the_pointer_and_a_growing_run_are_no_steps() -> None:
    selection, clock, moving = Selection(), Clock(), []
    history = History(selection, growing=lambda: bool(moving), clock=clock)
    clock.wait()
    selection.cursor = 5
    assert not history.can_undo
    selection.window = (50, 100)
    clock.wait()
    moving.append(True)
    selection.window = (60, 110)
    moving.clear()
    assert history.made == 1
    clock.wait()
    selection.layers = ["a"]
    history.undo()
    assert selection.window == (60, 110)


def test_rows_of_an_older_search_are_not_brought_back() -> None:
    selection, clock, searches = Selection(), Clock(), [1]
    history = History(selection, table=lambda: searches[0], clock=clock)
    clock.wait()
    selection.param.update(anomaly=3, layers=["a"])
    clock.wait()
    selection.layers = ["b"]
    clock.wait()
    searches[0] = 2
    selection.anomaly = 7  # the same anomaly in the new table: nobody's deed
    assert history.made == 2
    history.undo()
    assert (selection.layers, selection.anomaly) == (["a"], None)
    history.redo()
    assert (selection.layers, selection.anomaly) == (["b"], 7)


def test_resetting_is_a_step_like_others() -> None:
    selection, history, clock = make()
    clock.wait()
    selection.param.update(window=(1, 9), layers=["a"])
    clock.wait()
    selection.reset()
    history.undo()
    assert (selection.window, selection.layers) == ((1, 9), ["a"])


def test_a_state_from_elsewhere_is_found_in_the_history() -> None:
    selection, history, clock = make()
    states = [state_of(selection)]
    for name in "abc":
        clock.wait()
        selection.layers = [name]
        states.append(state_of(selection))
    history.show(states[1])  # two back
    assert (selection.layers, history.made) == (["a"], 3)
    history.show(states[3])  # and two forth
    assert (selection.layers, history.can_redo, history.made) == (["c"], False, 3)
    clock.wait()
    history.show(states[1] | {"classes": ["unknown before"]})
    assert (selection.classes, history.made) == (["unknown before"], 4)


def test_changing_a_list_in_place_does_not_reach_into_the_past() -> None:
    selection, history, clock = make()
    for name in "ab":
        clock.wait()
        selection.layers = [name]
    history.undo()
    history.redo()
    selection.layers.append("in place")
    history.undo()
    assert selection.layers == ["a"]
    history.redo()
    assert selection.layers[0] == "b"


def test_the_history_is_bounded_and_ends() -> None:
    selection, history, clock = make()
    for number in range(MOST_STEPS + 20):
        clock.wait()
        selection.filters = [number]
    for _ in range(MOST_STEPS + 50):
        history.undo()
    assert selection.filters == [19]
    history.close()
    made = history.made
    selection.filters = [1]
    assert history.made == made
