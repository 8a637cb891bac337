"""Checking whether a run is whole, and repairing what can be."""
