"""The Panel app: views, plots, theme, run library and command line."""
