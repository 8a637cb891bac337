"""Building the levels of a run's index anew from its records, in pieces that know nothing of each other."""
