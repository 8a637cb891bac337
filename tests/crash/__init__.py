"""Writers killed at random moments, with readers attached; at length: `python -m tests.crash --kills 300`."""
