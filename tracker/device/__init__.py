"""Measuring layers whose weights lie on an accelerator, without waiting for it."""
