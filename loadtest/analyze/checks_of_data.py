"""Was the measurement sound: do the jobs' data tell of the endpoint, and of it alone?"""

from __future__ import annotations

from loadtest.analyze.evidence import Evidence
from loadtest.analyze.quantiles import PER_MILLE, least_n
from loadtest.analyze.summary import Check
from loadtest.record.sample import Outcome


def jobs_completed(seen: Evidence) -> Check:
    """Enough jobs completed; at least one: no data never passes."""
    completed, submitted, least = seen.jobs[Outcome.COMPLETED], seen.jobs["submitted"], seen.limits.completed
    detail = f"{completed} of {submitted} submitted jobs completed." if submitted else "No job was submitted."
    needed = least_n(PER_MILLE["p95"])
    if 0 < completed < max(least, needed):
        more = f"{least} must" if completed < least else f"p95 needs {needed}"
        detail = f"{detail[:-1]}; {more}."
    return Check("jobs completed", completed >= least, completed, least, detail)


def few_censored(seen: Evidence) -> Check:
    """Nearly all jobs were followed to their end; beyond the limit p95 would rest on times that nobody saw."""
    censored, submitted, most = seen.jobs[Outcome.CENSORED], seen.jobs["submitted"], seen.limits.censored
    share = censored / submitted if submitted else 0.0
    detail = (
        f"{censored} of {submitted} submitted jobs were unfinished when the run, or the client's patience, ended; "
        f"up to {100 * most:g} % is sound."
    )
    return Check("censored jobs", share <= most, share, most, detail)


def few_throttled(seen: Evidence) -> Check:
    """Hardly any request was answered 429; beyond the limit the figures describe the target's limiter."""
    throttled = sum(each.throttled for each in seen.operations.values())
    requests = sum(each.requests for each in seen.operations.values())
    share, most = throttled / requests if requests else 0.0, seen.limits.throttled
    detail = f"{throttled} of {requests} requests were answered 429; up to {100 * most:g} % is sound."
    return Check("rate limited", share <= most, share, most, detail)


def littles_law_holds(seen: Evidence) -> Check:
    """The endpoint and the samples agree on how many jobs were in flight, as far as chance allows."""
    law, most = seen.littles_law, seen.limits.little
    if law.residual is None or law.noise is None:
        return Check("little's law", True, None, most, law.detail)
    ok = abs(law.residual) - law.noise <= most
    detail = f"{law.detail[:-1]}; up to {100 * most:g} % apart is sound."
    return Check("little's law", ok, law.residual, most, detail)


def steady_state(seen: Evidence) -> Check:
    """Whether there is a steady window; its lack makes no measurement unsound, and a gate on it inconclusive."""
    return Check("steady state", True, float(seen.steady.found), None, seen.steady.detail)


def no_cold_wave(seen: Evidence) -> Check:
    """No wave of starting workers stands in the steady window; starts that come evenly are the endpoint's way."""
    most = seen.limits.wave
    if seen.wave is None:
        why = "Too few jobs" if seen.steady.found else "There is no steady window in which jobs could have"
        return Check("cold starts", True, None, most, f"{why} waited for a worker to start.")
    detail = (
        f"In the worst tenth of the steady window, {100 * seen.wave:.1f} % more of the jobs than usual waited for a "
        f"worker to start; up to {100 * most:g} % is sound."
    )
    return Check("cold starts", seen.wave <= most, seen.wave, most, detail)
