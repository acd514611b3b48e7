"""Predictions of recorded runs, compared with their measurements."""
