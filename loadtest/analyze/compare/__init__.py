"""The comparison of a run with a baseline."""
