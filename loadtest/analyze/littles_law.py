"""Little's law, L = λW, as a check of the data (Little 1961, Operations Research 9, p. 383).

From the samples alone the law is nearly an identity: both sides would count the same rows. So L is what the
endpoint itself said at each asking of its health, and λW comes from the samples. They differ where jobs were in
the endpoint that are not in the data (another user's, or rows that were lost), or where delay and execution as
the jobs tell them are not the time that jobs spent there.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from loadtest.analyze.jobs import FLOWS, Floats, JobColumns, LoadWindow, floats
from loadtest.analyze.summary import LittlesLaw
from loadtest.record.sample import Outcome

MIN_HEALTH_PROBES = 10
MIN_IN_FLIGHT = 1.0
"""Below one job in flight on average, a share of it is the share of next to nothing."""
HEALTH_AGES_S = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
"""How old what `/health` says may be: whichever age suits the samples best is taken."""
_SIGMAS = 3.0


def arrival_times(jobs: JobColumns) -> Floats:
    """When each job entered the endpoint: halfway through its submission; NaN where it was never accepted.

    The answer to a runsync submission is held until the job has ended or its wait is over, so there it is the send.
    """
    accepted = jobs.accepted & jobs.sent
    held = (jobs.flow == FLOWS.index("runsync")) | np.isnan(jobs.accepted_at)
    half_s = np.where(held, 0.0, (jobs.accepted_at - jobs.sent_at) / 2)
    at: Floats = np.where(accepted, jobs.sent_at + half_s, np.nan)
    return at


def departure_times(jobs: JobColumns, entered: Floats) -> Floats:
    """When each job left it: after its delay and execution, else when the client saw its end, else never (inf)."""
    text = entered + (jobs.delay_ms + jobs.execution_ms) / 1000
    seen = np.where(jobs.ended(Outcome.CENSORED) | np.isnan(jobs.finished_at), np.inf, jobs.finished_at)
    at: Floats = np.where(np.isnan(text), seen, text)
    return at


def littles_law(jobs: JobColumns, health: pa.Table | None, load: LoadWindow) -> LittlesLaw:
    """The law over the load: jobs in queue and in progress beside those that the samples say were there.

    Both sides are looked at in the same moments, so that neither a ramp nor few askings make a difference. λ is
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
    asked_at, text = _in_flight(health, load)
    if len(asked_at) < MIN_HEALTH_PROBES or from_samples < MIN_IN_FLIGHT:
        few = f"{len(asked_at)} askings of /health, {from_samples:.2g} jobs in flight on average"
        detail = f"Too few to tell: {few}; {MIN_HEALTH_PROBES} and {MIN_IN_FLIGHT:g} are needed."
        return LittlesLaw("samples", from_samples, arrivals_per_s, mean_s, None, None, detail)
    lacking, noise = _missing_jobs(np.sort(entered), np.sort(left), asked_at, text)
    in_flight = float(text.mean())
    larger = max(in_flight, in_flight - lacking)
    detail = (
        f"/health told of {in_flight:.3g} jobs in flight on average over {len(text)} askings, "
        f"the samples of {in_flight - lacking:.3g}."
    )
    return LittlesLaw("health", in_flight, arrivals_per_s, mean_s, lacking / larger, noise / larger, detail)


def _in_flight(health: pa.Table | None, load: LoadWindow) -> tuple[Floats, Floats]:
    """When health was asked for while load was offered, and the jobs in queue and in progress that it told of."""
    if health is None:
        return np.empty(0), np.empty(0)
    at, text = floats(health, "at"), floats(health, "in_queue") + floats(health, "in_progress")
    good = load.contains(at) & ~np.isnan(text)
    return at[good], text[good]


def _missing_jobs(entered: Floats, left: Floats, asked_at: Floats, text: Floats) -> tuple[float, float]:
    """How many of the jobs that were told of the samples lack on average, and how many of those may be noise."""
    at_ages = [text - _present(entered, left, asked_at - age_s) for age_s in HEALTH_AGES_S]
    best = min(at_ages, key=lambda lacking: float((lacking**2).sum()))
    return float(best.mean()), _SIGMAS * float(best.std(ddof=1)) / math.sqrt(len(best))


def _present(entered: Floats, left: Floats, at: Floats) -> Floats:
    """How many had entered and not left in each moment; both in order."""
    present = np.searchsorted(entered, at, side="right") - np.searchsorted(left, at, side="right")
    return present.astype(np.float64)
