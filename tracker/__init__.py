"""The PyTorch recorder: statistics, hooks, validation, and the demo training."""
