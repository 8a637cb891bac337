"""Adapters to training frameworks, one file each; a framework is imported by its own adapter only."""
