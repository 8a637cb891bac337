"""The thresholds of the rules as controls: each Param of a rule is a field with its bounds and its explanation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from deeptracker.app.later import on_page
from deeptracker.data_model.rules import Rule

STYLE = """
.rule { font-size: 12px; color: var(--dt-muted); line-height: 1.4; padding: 4px 2px 2px; }
.rule b { color: var(--dt-text); font-weight: 600; }
"""
GRID = """
:host { display: grid !important; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: 12px 10px;
  padding-top: 10px; }
.scroll-button { display: none !important; }
"""


def field(rule: Rule, name: str) -> Any | None:
    """Return the field of one threshold, None where it is no number."""
    definition = rule.param[name]
    if not isinstance(definition, param.Number):
        return None
    low, high = definition.bounds or (None, None)
    whole = isinstance(definition, param.Integer)
    kind = pmui.IntInput if whole else pmui.FloatInput
    value = getattr(rule, name)
    return kind(
        label=name.replace("_", " "),
        value=value,
        start=low,
        end=high,
        step=definition.step or (1 if whole else _step(value)),
        placeholder="automatic" if definition.allow_None else "",
        description=definition.doc,
        size="small",
        sizing_mode="stretch_width",
        margin=0,
    )


def _step(value: float) -> float:
    return 0.5 if value >= 2 else 0.1 if value >= 0.5 else 0.01


def valid(rule: Rule, name: str, value: Any) -> bool:
    """Whether a value is one that the threshold takes."""
    try:
        type(rule)(**{name: value})
    except (TypeError, ValueError):
        return False
    return True


class Thresholds:
    """One rule at a time, chosen from all; `on_change` hears that a threshold has another value."""

    def __init__(self, rules: Iterable[Rule], on_change: Callable[[], None]) -> None:
        self.rules = {rule.name: rule for rule in rules if any(field(rule, name) for name in rule.thresholds())}
        self._on_change = on_change
        self._select = pmui.Select(
            label="Rule",
            options={rule.title: name for name, rule in self.rules.items()},
            value=next(iter(self.rules), None),
            size="small",
            sizing_mode="stretch_width",
            margin=0,
        )
        self._words = pn.pane.HTML(stylesheets=[STYLE], sizing_mode="stretch_width", margin=0)
        self._fields = pn.Column(stylesheets=[GRID], sizing_mode="stretch_width", margin=0)
        defaults = pmui.Button(label="Defaults", size="small", variant="text", margin=0, align="center")
        self._select.param.watch(lambda event: on_page(self._show), ["value"])
        defaults.param.watch(lambda event: on_page(self._reset), ["clicks"])
        self._show()
        self.layout = pn.Column(
            pmui.Row(self._select, defaults, sizing_mode="stretch_width", margin=0),
            self._words,
            self._fields,
            sizing_mode="stretch_width",
            margin=(8, 12, 10, 12),
            css_classes=["thresholds"],
        )

    @property
    def _rule(self) -> Rule:
        return self.rules[str(self._select.value)]

    def _show(self) -> None:
        rule = self._rule
        summary = escape((type(rule).__doc__ or "").strip().split("\n")[0])
        self._words.object = f'<div class="rule">{summary} <b>Source:</b> {escape(rule.source)}.</div>'
        shown = []
        for name in rule.thresholds():
            widget = field(rule, name)
            if widget is not None:
                widget.param.watch(lambda event, name=name: self._changed(event.obj, rule, name), ["value"])
                shown.append(widget)
        self._fields[:] = shown

    def _changed(self, widget: Any, rule: Rule, name: str) -> None:
        """Take over what was typed; what the threshold does not take is put back."""
        value, before = widget.value, getattr(rule, name)
        if value == before:
            return
        if valid(rule, name, value):
            setattr(rule, name, value)
            on_page(self._on_change)
        else:
            widget.value = before

    def _reset(self) -> None:
        rule = self._rule
        rule.param.update(**{name: rule.param[name].default for name in rule.thresholds()})
        self._show()
        self._on_change()
