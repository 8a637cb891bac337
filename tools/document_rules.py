"""Writes the table of rules in docs/anomalies.md from the rules themselves: python tools/document_rules.py."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from deeptracker.data_model.anomaly import Standing
from deeptracker.data_model.rules import Rule, find_rules

PAGE = Path(__file__).parents[1] / "docs" / "anomalies.md"
BEGIN, END = "<!-- rules: made by tools/document_rules.py -->\n", "<!-- end of rules -->\n"
WEIGHT = {
    Standing.CERTAIN: "makes an episode",
    Standing.STRONG: "makes an episode",
    Standing.WEAK: "makes one in company, or if repeated",
    Standing.WITNESS: "tells what went along",
}


def described(rule: type[Rule]) -> str:
    """Return a rule as Markdown: what it finds, what its findings are worth, its source and its thresholds."""
    text = " ".join((rule.__doc__ or "").split())
    worth = "a landmark, no anomaly" if rule.landmark else WEIGHT[rule.standing]
    lines = [
        f"### `{rule.name}`: {rule.title.lower()}",
        "",
        f"{text} ({rule.kind}; {worth})",
        "",
        f"Source: {rule.source}.",
    ]
    thresholds = [_threshold(rule, name) for name in rule.thresholds()]
    return "\n".join([*lines, *(["", *thresholds] if thresholds else []), ""])


def _threshold(rule: type[Rule], name: str) -> str:
    definition = rule.param[name]
    bounds = getattr(definition, "bounds", None)
    allowed = f", {bounds[0]:g} to {bounds[1]:g}" if bounds else ""
    default = "automatic" if definition.default is None else f"{definition.default}"
    return f"- `{name}` = {default}{allowed}: {definition.doc}"


def table() -> str:
    """Return the part of the page that is made from the rules."""
    own = [rule for rule in find_rules().rules.values() if rule.__module__.startswith("deeptracker.data_model.rules.")]
    return "\n".join(described(rule) for rule in own)


def page(text: str) -> str:
    """Return the page with its table made anew."""
    return re.sub(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", lambda _: f"\n{table()}\n", text, flags=re.DOTALL)


def main() -> None:
    """Write the page; with --check only say whether it is as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    if page(text) == text:
        return
    if "--check" in sys.argv:
        sys.exit(f"{PAGE} is stale: run python tools/document_rules.py")
    PAGE.write_text(page(text), encoding="utf-8")


if __name__ == "__main__":
    main()
