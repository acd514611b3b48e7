"""Was the measurement sound: do the jobs' data tell of the endpoint, and of it alone?"""

from __future__ import annotations

from loadtest.analyze.checks.inputs import CheckInputs
from loadtest.analyze.stats.quantiles import PER_MILLE, min_samples
from loadtest.analyze.summary import Check
from loadtest.record.sample import Outcome


def jobs_completed(inputs: CheckInputs) -> Check:
    """Enough jobs completed; at least one: no data never passes."""
    completed, submitted, least = inputs.jobs[Outcome.COMPLETED], inputs.jobs["submitted"], inputs.limits.completed
    detail = f"{completed} of {submitted} submitted jobs completed." if submitted else "No job was submitted."
    needed = min_samples(PER_MILLE["p95"])
    if 0 < completed < max(least, needed):
        more = f"{least} must" if completed < least else f"p95 needs {needed}"
        detail = f"{detail[:-1]}; {more}."
    return Check("jobs completed", completed >= least, completed, least, detail)


def few_censored(inputs: CheckInputs) -> Check:
    """Nearly all jobs were followed to their end; beyond the limit p95 would rest on times that nobody saw."""
    censored, submitted, most = inputs.jobs[Outcome.CENSORED], inputs.jobs["submitted"], inputs.limits.censored
    share = censored / submitted if submitted else 0.0
    detail = (
        f"{censored} of {submitted} submitted jobs were unfinished when the run, or the client's patience, ended; "
        f"up to {100 * most:g} % is sound."
    )
    return Check("censored jobs", share <= most, share, most, detail)


def few_throttled(inputs: CheckInputs) -> Check:
    """Hardly any request was answered 429; beyond the limit the figures describe the target's limiter."""
    throttled = sum(each.throttled for each in inputs.operations.values())
    requests = sum(each.requests for each in inputs.operations.values())
    share, most = throttled / requests if requests else 0.0, inputs.limits.throttled
    detail = f"{throttled} of {requests} requests were answered 429; up to {100 * most:g} % is sound."
    return Check("rate limited", share <= most, share, most, detail)


def littles_law_holds(inputs: CheckInputs) -> Check:
    """The endpoint and the samples agree on how many jobs were in flight, as far as chance allows."""
    law, most = inputs.littles_law, inputs.limits.littles_law
    if law.residual is None or law.noise is None:
        return Check("little's law", True, None, most, law.detail)
    ok = abs(law.residual) - law.noise <= most
    detail = f"{law.detail[:-1]}; up to {100 * most:g} % apart is sound."
    return Check("little's law", ok, law.residual, most, detail)


def steady_state(inputs: CheckInputs) -> Check:
    """Whether there is a steady window; its lack makes no measurement unsound, and a gate on it inconclusive."""
    return Check("steady state", True, float(inputs.steady.found), None, inputs.steady.detail)


def no_cold_wave(inputs: CheckInputs) -> Check:
    """No wave of starting workers stands in the steady window; starts that come evenly are the endpoint's way."""
    most = inputs.limits.cold_start_wave
    if inputs.cold_start_wave is None:
        why = "Too few jobs" if inputs.steady.found else "There is no steady window in which jobs could have"
        return Check("cold starts", True, None, most, f"{why} waited for a worker to start.")
    detail = (
        f"In the worst tenth of the steady window, {100 * inputs.cold_start_wave:.1f} % more of the jobs than usual "
        f"waited for a worker to start; up to {100 * most:g} % is sound."
    )
    return Check("cold starts", inputs.cold_start_wave <= most, inputs.cold_start_wave, most, detail)
