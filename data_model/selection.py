"""The one shared state that links all views: each reads it and writes it, and none knows another."""

from __future__ import annotations

import param


class Selection(param.Parameterized):
    """What the user is looking at. Every view watches it; its values live in the page's address.

    Empty lists mean "nothing picked": the view then shows everything.
    """

    window = param.Range(
        default=None,
        allow_None=True,
        doc="Iterations [start, stop) on screen in every view; None: the whole run.",
    )
    brush = param.Range(
        default=None,
        allow_None=True,
        doc="Iterations [start, stop) brushed for the correlation; None: the window.",
    )
    cursor = param.Integer(default=None, allow_None=True, bounds=(0, None), doc="The iteration pointed at.")
    statistic = param.String(default="", doc="Name of the layer statistic shown; empty: the view's own default.")
    layers = param.List(default=[], item_type=str, doc="Names of the layers picked, in the order of picking.")
    filters = param.List(default=[], item_type=int, doc="Numbers of the filters picked, counted over the network.")
    classes = param.List(default=[], item_type=str, doc="Names of the classes picked.")
    images = param.List(default=[], item_type=str, doc="Ids of the images picked.")
    anomaly = param.Integer(default=None, allow_None=True, bounds=(0, None), doc="Row of the anomaly picked.")
    runs = param.List(default=[], item_type=str, doc="Keys of the other runs that are laid over the one shown.")
    difference = param.Boolean(default=False, doc="Whether those are shown by their difference from it.")
    follow = param.Boolean(default=True, doc="Whether a window that ends at the newest iteration moves on with it.")

    def reset(self) -> None:
        """Return to the overview: nothing picked, the whole run on screen."""
        defaults = {name: self.param[name].default for name in self.param if name != "name"}
        self.param.update(**{key: list(value) if isinstance(value, list) else value for key, value in defaults.items()})
