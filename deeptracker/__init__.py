"""DeepTracker: record the whole training of a CNN at every iteration, and explore it at any zoom."""
