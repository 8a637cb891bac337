"""Writing what a run holds, or summaries of it, as files that other programs read."""
