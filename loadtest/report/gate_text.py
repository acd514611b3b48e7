"""The figures of gate results, in the unit of the gate."""

from __future__ import annotations

from loadtest.analyze.summary import GateResult
from loadtest.report import formatting
from loadtest.scenario.metrics import Unit


def observed_text(result: GateResult) -> str:
    """Return the observed figure."""
    return _figure(result, result.observed)


def limit_text(result: GateResult) -> str:
    """Return the limit."""
    return _figure(result, result.limit)


def interval_texts(result: GateResult) -> tuple[str, str] | None:
    """Return both ends of the interval of the observed figure; None if it has none."""
    return None if result.ci95 is None else (_figure(result, result.ci95[0]), _figure(result, result.ci95[1]))


def _figure(result: GateResult, value: float | None) -> str:
    if value is None:
        return formatting.DASH
    match result.unit:
        case Unit.MILLISECONDS:
            return formatting.milliseconds(value)
        case Unit.SHARE:
            return formatting.share(value)
        case Unit.PER_SECOND:
            return formatting.rate(value)
        case Unit.RATIO:
            return f"{value:.3f}×"
