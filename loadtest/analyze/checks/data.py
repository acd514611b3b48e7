"""Validity checks of the jobs' data: does it describe the endpoint, and the endpoint alone?"""

from __future__ import annotations

from loadtest.analyze.checks.inputs import CheckInputs
from loadtest.analyze.stats.quantiles import PER_MILLE, min_samples
from loadtest.analyze.summary import Check, CheckId
from loadtest.record.sample import Outcome


def jobs_completed(inputs: CheckInputs) -> Check:
    """Check that enough jobs completed; at least one: no data never passes."""
    completed, submitted = inputs.jobs[Outcome.COMPLETED], inputs.jobs["submitted"]
    minimum, needed = inputs.limits.completed, min_samples(PER_MILLE["p95"])
    more = ""
    if 0 < completed < max(minimum, needed):
        more = f"; {minimum} must" if completed < minimum else f"; p95 needs {needed}"
    detail = f"{completed} of {submitted} submitted jobs completed{more}." if submitted else "No job was submitted."
    return Check(CheckId.JOBS_COMPLETED, completed >= minimum, completed, minimum, detail)


def few_censored(inputs: CheckInputs) -> Check:
    """Check that nearly all jobs were followed to their end; beyond the limit p95 would rest on unknown times."""
    censored, submitted, limit = inputs.jobs[Outcome.CENSORED], inputs.jobs["submitted"], inputs.limits.censored
    share = censored / submitted if submitted else 0.0
    detail = (
        f"{censored} of {submitted} submitted jobs were unfinished at the end of the run or of their job_timeout; "
        f"the limit is {100 * limit:g} %."
    )
    return Check(CheckId.CENSORED_JOBS, share <= limit, share, limit, detail)


def few_throttled(inputs: CheckInputs) -> Check:
    """Check that hardly any request got a 429; beyond the limit the figures describe the target's limiter."""
    throttled = sum(each.throttled for each in inputs.operations.values())
    requests = sum(each.requests for each in inputs.operations.values())
    share, limit = throttled / requests if requests else 0.0, inputs.limits.throttled
    detail = f"{throttled} of {requests} requests were answered 429; the limit is {100 * limit:g} %."
    return Check(CheckId.RATE_LIMITED, share <= limit, share, limit, detail)


def littles_law_holds(inputs: CheckInputs) -> Check:
    """Check that the endpoint and the samples agree on the jobs in flight, as far as chance allows."""
    law, limit = inputs.littles_law, inputs.limits.littles_law
    if law.residual is None or law.noise is None:
        return Check(CheckId.LITTLES_LAW, True, None, limit, law.detail)
    ok = abs(law.residual) - law.noise <= limit
    detail = f"{law.detail} They may differ by {100 * limit:g} %."
    return Check(CheckId.LITTLES_LAW, ok, law.residual, limit, detail)


def steady_state(inputs: CheckInputs) -> Check:
    """Report whether there is a steady window; without one a run is still valid, and a gate on it inconclusive."""
    return Check(CheckId.STEADY_STATE, True, float(inputs.steady.found), None, inputs.steady.detail)


def no_cold_start_wave(inputs: CheckInputs) -> Check:
    """Check that no wave of starting workers falls into the steady window; evenly spread starts are normal."""
    wave, limit = inputs.cold_start_wave, inputs.limits.cold_start_wave
    if wave is None:
        why = "Too few jobs" if inputs.steady.found else "There is no steady window in which jobs could have"
        return Check(CheckId.COLD_STARTS, True, None, limit, f"{why} waited for a worker to start.")
    detail = (
        f"In the worst tenth of the steady window, {100 * wave:.1f} % more of the jobs than usual waited for a "
        f"worker to start; the limit is {100 * limit:g} %."
    )
    return Check(CheckId.COLD_STARTS, wave <= limit, wave, limit, detail)
