"""Little's law, L = λW, as a check of the data (Little 1961, Operations Research 9, p. 383).

From the samples alone the law is nearly an identity: both sides would count the same rows. So L is what the
endpoint reported at each health probe, and λW comes from the samples. They differ if jobs were in the endpoint that
are not in the data (another user's, or rows that were lost), or if delay and execution as reported by the jobs are
not the time that jobs spent there.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from loadtest.analyze.jobs import JobColumns, LoadWindow, floats
from loadtest.analyze.summary import LittlesLaw
from loadtest.arrays import Floats
from loadtest.record.sample import Outcome
from loadtest.scenario.flows import ANSWERED_BY_SUBMISSION

MIN_HEALTH_PROBES = 10
MIN_IN_FLIGHT = 1.0
"""Below one job in flight on average, a share of it is a share of almost nothing."""
HEALTH_AGES_S = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
"""How old a response of `/health` may be: the age that fits the samples best is used."""
_SIGMAS = 3.0


def arrival_times(jobs: JobColumns) -> Floats:
    """Return when each job entered the endpoint: halfway through its submission; NaN if it was never accepted.

    The response to a runsync or openai submission waits for the job, so there it is the send.
    """
    accepted = jobs.accepted & jobs.sent
    no_half = np.isnan(jobs.accepted_at)
    for flow in ANSWERED_BY_SUBMISSION:
        no_half |= jobs.of_flow(flow)
    half_s = np.where(no_half, 0.0, (jobs.accepted_at - jobs.sent_at) / 2)
    at: Floats = np.where(accepted, jobs.sent_at + half_s, np.nan)
    return at


def departure_times(jobs: JobColumns, entered: Floats) -> Floats:
    """Return when each job left: after its delay and execution, else at the end the client saw, else never (inf)."""
    reported = entered + (jobs.delay_ms + jobs.execution_ms) / 1000
    observed = np.where(jobs.ended(Outcome.CENSORED) | np.isnan(jobs.finished_at), np.inf, jobs.finished_at)
    at: Floats = np.where(np.isnan(reported), observed, reported)
    return at


def littles_law(jobs: JobColumns, health: pa.Table, load: LoadWindow) -> LittlesLaw:
    """Return the law over the load: jobs in queue and in progress by `/health`, and by the samples.

    Both sides are taken at the same moments, so that neither a ramp nor few probes make a difference. λ is
    of jobs that entered while load was offered; W is the time within the load of those, so that a queue that is
    left for the drain enters neither side.
    """
    entered = arrival_times(jobs)
    known = ~np.isnan(entered)
    entered, left = entered[known], departure_times(jobs, entered)[known]
    inside_s = np.clip(left, load.start_at, load.end_at) - np.clip(entered, load.start_at, load.end_at)
    count = load.count(entered)
    arrivals_per_s = load.per_second(count)
    mean_s = float(inside_s.sum()) / count if count else None
    from_samples = load.per_second(float(inside_s.sum()))
    probed_at, reported = _in_flight(health, load)
    if len(probed_at) < MIN_HEALTH_PROBES or from_samples < MIN_IN_FLIGHT:
        detail = (
            f"Not checked: {len(probed_at)} health probes and {from_samples:.2g} jobs in flight on average are too "
            f"few; {MIN_HEALTH_PROBES} and {MIN_IN_FLIGHT:g} are needed."
        )
        return LittlesLaw("samples", from_samples, arrivals_per_s, mean_s, None, None, detail)
    missing, noise = _missing_jobs(np.sort(entered), np.sort(left), probed_at, reported)
    in_flight = float(reported.mean())
    # If neither side ever saw a job, any number of jobs will do as the whole: nothing is missing.
    larger = max(in_flight, in_flight - missing) or MIN_IN_FLIGHT
    detail = (
        f"/health reported {in_flight:.3g} jobs in flight on average over {len(reported)} probes, "
        f"the samples show {in_flight - missing:.3g}."
    )
    return LittlesLaw("health", in_flight, arrivals_per_s, mean_s, missing / larger, noise / larger, detail)


def _in_flight(health: pa.Table, load: LoadWindow) -> tuple[Floats, Floats]:
    """Return the times of the health probes while load was offered, and the jobs in flight that each reported."""
    at, reported = floats(health, "at"), floats(health, "in_queue") + floats(health, "in_progress")
    good = load.contains(at) & ~np.isnan(reported)
    return at[good], reported[good]


def _missing_jobs(entered: Floats, left: Floats, probed_at: Floats, reported: Floats) -> tuple[float, float]:
    """Return how many of the reported jobs the samples lack on average, and how many of those may be noise."""
    at_ages = [reported - _present(entered, left, probed_at - age_s) for age_s in HEALTH_AGES_S]
    best = min(at_ages, key=lambda missing: float((missing**2).sum()))
    return float(best.mean()), _SIGMAS * float(best.std(ddof=1)) / math.sqrt(len(best))


def _present(entered: Floats, left: Floats, at: Floats) -> Floats:
    """Return the number of jobs that had entered and not left at each moment; both are in order."""
    present = np.searchsorted(entered, at, side="right") - np.searchsorted(left, at, side="right")
    return present.astype(np.float64)
