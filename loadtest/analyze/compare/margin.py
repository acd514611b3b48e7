"""The margin within which a higher value is not worse: a share, and for times also some milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 0.05
"""The share by which a run may be worse without being called worse: 1.05 times the time, 1/1.05 of the throughput."""
MIN_DIFFERENCE_MS = 2.0
"""The difference up to which a longer time is not called worse, whatever the ratio.

A server's times are whole milliseconds. Each is off by up to one from the truth, and so is the difference of two: of
1 ms and 3 ms all that is known is that they differ by more than 1 ms. If all jobs fall on one millisecond, their
spread does not show that.
"""
_ROUNDING = 1e-9
"""The rounding error of a mean of whole milliseconds, or 7 ms and 9 ms would differ by more than 2 ms."""


@dataclass(frozen=True)
class NonInferiorityMargin:
    """The excess up to which a value does not count as higher: a share or an absolute amount, whichever is more.

    The absolute amount is in the unit of the values; 0 for none.
    """

    share: float
    absolute: float

    def as_ratio(self, value: float) -> float:
        """Return the margin as a multiple of a value that is known exactly."""
        return max(1 + self.share, 1 + self.absolute / value)

    def exceeded(self, value: float, by: float) -> bool:
        """Return whether the second value is higher than the first by more than the margin allows."""
        return by > max(value * (1 + self.share), value + self.absolute) * (1 + _ROUNDING)
