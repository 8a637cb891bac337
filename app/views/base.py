"""What every view is, how views are found, and how a failing view is kept from harming the others.

A new view is one new file in this folder with a subclass of `View`.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

import panel as pn
import param

from deeptracker.app import views
from deeptracker.app.arrival import Arrival
from deeptracker.app.later import has_browser, on_page, once_shown
from deeptracker.app.notices import failure, skeleton
from deeptracker.app.session import Session

logger = logging.getLogger("deeptracker")


class View(param.Parameterized):
    """One view of a run. Subclasses give the four words below and `build`; they never know another view."""

    title: ClassVar[str] = ""
    description: ClassVar[str] = ""
    icon: ClassVar[str] = "insights"
    order: ClassVar[int] = 100

    def __init__(self, session: Session, **params: Any) -> None:
        super().__init__(**params)
        self.session = session
        self._frame: pn.Column | None = None
        self._closed = False
        self._watchers: list[tuple[param.Parameterized, Any]] = []
        # Until the browser has built the view: what is to be called then, each with what it would have heard last.
        self._under_way: dict[Callable[..., Any], tuple[Any, ...]] | None = None

    def build(self) -> Any:
        """Return what the view shows (anything Panel can show). Called once, and again after a failure."""
        raise NotImplementedError(f"{type(self).__name__} has no build() that returns what it shows.")

    def watch(self, owner: param.Parameterized, callback: Callable[..., Any], *names: str) -> None:
        """Call `callback(*events)` when one of the named parameters of `owner` changes.

        Unlike `param.watch` it runs on the thread that may change the page, shows an exception inside this
        view, and ends when the view closes. What changes before the browser has built the view is told once it has.
        """
        guarded = self.guarded(callback)

        def heard(*events: Any) -> None:
            if self._under_way is None:
                guarded(*events)
            else:
                self._under_way[guarded] = events

        def scheduled(*events: Any) -> None:
            on_page(lambda: heard(*events))

        self._watchers.append((owner, owner.param.watch(scheduled, list(names))))

    def guarded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return the callback so that an exception in it shows in this view instead of being lost."""

        @wraps(callback)
        def run(*arguments: Any, **keywords: Any) -> Any:
            try:
                return callback(*arguments, **keywords)
            except Exception as error:  # noqa: BLE001 - whatever fails must stay inside this view
                self.fail(error)
                return None

        return run

    def fail(self, error: Exception) -> None:
        """Show the error in place of the view, with a way to try again."""
        logger.error("The view %s failed.", self.title or type(self).__name__, exc_info=error)
        if self._frame is not None:
            self._frame[:] = [failure(self.title or type(self).__name__, error, self._show)]

    def close(self) -> None:
        """Stop watching; the view is no longer on screen. Subclasses that hold more call this too."""
        self._closed = True
        self._forget()

    def _forget(self) -> None:
        for owner, watcher in self._watchers:
            owner.param.unwatch(watcher)
        self._watchers = []

    def _show(self) -> None:
        self._forget()  # what a failed build had begun to watch
        self._under_way = None
        content = self.guarded(self.build)()
        if content is not None and self._frame is not None:
            self._under_way = {} if has_browser() else None
            self._frame[:] = [content, Arrival(self._arrived)]

    def _arrived(self) -> None:
        waiting, self._under_way = self._under_way, None
        for callback, events in (waiting or {}).items():
            callback(*events)

    def __panel__(self) -> pn.Column:
        if self._frame is None:
            self._frame = pn.Column(skeleton(self.title), sizing_mode="stretch_both", min_height=200, margin=0)
            once_shown(self._begin)
        return self._frame

    def _begin(self) -> None:
        if not self._closed:
            self._show()


def find_views() -> list[type[View]]:
    """Return the views found in this folder, in order; a file that cannot be imported shows its error."""
    found: dict[str, type[View]] = {}
    for module in pkgutil.iter_modules(views.__path__):
        if module.name == "base":
            continue
        name = f"{views.__name__}.{module.name}"
        try:
            members = vars(importlib.import_module(name)).values()
        except Exception as error:
            # One broken file must not take the other views away.
            logger.error("The view file %s cannot be imported.", name, exc_info=error)
            found[name] = _unimportable(module.name, error)
            continue
        for member in members:
            if isinstance(member, type) and issubclass(member, View) and member.__module__ == name and member.title:
                found[f"{name}.{member.__name__}"] = member
    return sorted(found.values(), key=lambda view: (view.order, view.title))


def _unimportable(name: str, error: Exception) -> type[View]:
    def build(self: View) -> Any:
        raise error

    return type(name, (View,), {"title": name.replace("_", " ").capitalize(), "build": build, "order": 1000})
