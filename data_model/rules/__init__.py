"""The anomaly rules, found by folder: a new rule is one new file."""

from deeptracker.data_model.rules.base import Rule, RunData, Window
from deeptracker.data_model.rules.discovery import FoundRules, add_rules, find_rules

__all__ = ["FoundRules", "Rule", "RunData", "Window", "add_rules", "find_rules"]
