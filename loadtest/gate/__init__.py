"""The objectives of a run held against what was measured: columns to verdicts."""
