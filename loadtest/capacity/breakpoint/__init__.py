"""The search for the highest rate that a real endpoint sustains."""
