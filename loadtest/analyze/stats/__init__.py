"""Statistics over columns of numbers: percentiles, intervals, trends, bins."""
