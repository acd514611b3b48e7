"""Predictions of recorded runs, compared with what they measured."""
