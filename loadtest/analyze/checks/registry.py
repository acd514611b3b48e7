"""The validity checks. Each is a function and an entry in CHECKS; the first that fails gives the verdict's reason."""

from __future__ import annotations

from collections.abc import Callable

from loadtest.analyze.checks import data, generator
from loadtest.analyze.checks.inputs import CheckInputs
from loadtest.analyze.summary import Check, Validity

CHECKS: tuple[Callable[[CheckInputs], Check], ...] = (
    generator.run_complete,
    generator.no_process_lost,
    generator.samples_recorded,
    data.jobs_completed,
    generator.cpu_headroom,
    generator.clocks_agree,
    generator.within_budgets,
    data.few_throttled,
    generator.stages_reached,
    generator.load_delivered,
    generator.rate_achieved,
    generator.sent_on_time,
    data.few_censored,
    data.littles_law_holds,
    data.steady_state,
    data.no_cold_start_wave,
)
"""In order from cause to effect, since the first that fails is the reason."""


def validity(inputs: CheckInputs) -> Validity:
    """Run every check; the measurement is valid if all pass."""
    checks = [check(inputs) for check in CHECKS]
    return Validity(valid=all(check.ok for check in checks), checks=checks)
