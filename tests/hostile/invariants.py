"""What must hold after every run, however hostile it was: each function returns the violations that it finds."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from html import escape
from itertools import islice, pairwise
from signal import Signals
from urllib.parse import quote

import numpy as np

from loadtest.errors import LoadtestError
from loadtest.record.run import Ending
from loadtest.traffic.arrivals import max_in_window
from tests.hostile.evidence import NEVER_SENT, WINDS_DOWN_S, Evidence, Row, perhaps_accepted
from tests.hostile.replies import Learns

SIGNAL_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143, "SIGQUIT": 143}
VERDICT_CODES = {"pass": 0, "fail": 1, "invalid": 3, "inconclusive": 4, "aborted": 5}
SEEN_FINAL = ("completed", "wrong", "failed", "cancelled", "timed_out", "expired")
SENT_AGAIN = (409, 429, 503)
CLOCKS_S = 0.1
"""How much the times of a generator may differ from those of the endpoint."""
SHOWN = 3
POLL_FAULT_SPAN_S = 10.0
"""Faults of polls end a job after tens of seconds, so never within this span of a good answer."""

BUSY_S = 5.0
"""How much longer a real run may take to wind down if others use the machine as well; virtual time is exact."""


def violations(evidence: Evidence) -> list[str]:
    """Return the violations of a run, one line each with the invariant's name; of many of one kind, the first."""
    checks = CHECKS if (evidence.path / "run.json").exists() else (never_began,)
    found = []
    try:
        for check in checks:
            lines = check(evidence)
            found += [f"{check.__name__}: {line}" for line in islice(lines, SHOWN)]
            more = sum(1 for _ in lines)
            found += [f"{check.__name__}: and {more} more"] if more else []
    except (LoadtestError, OSError, KeyError, ValueError) as error:
        found.append(f"readable: the run directory cannot be read: {type(error).__name__}: {error}")
    crashes = Counter(evidence.errors)
    return [f"crashes: {text}, {times} times" for text, times in crashes.items()] + found


def never_began(evidence: Evidence) -> Iterator[str]:
    """Find what must not be if there is no run directory: a signal has ended the command before the run began."""
    signal, code = evidence.plan.incident("signal"), evidence.exit_code
    if evidence.ledger.jobs:
        yield f"{len(evidence.ledger.jobs)} jobs were taken, and there is no run directory"
    # Until the command has imported what it needs, the signal itself ends it.
    ended_by = [] if signal is None else [SIGNAL_CODES[signal.by], -Signals[signal.by]]
    if code not in ended_by:
        yield f"exit code {code}, without a run directory: {evidence.output[-200:]}"
    yield from (f"the key is in {place}" for place in _places_of_the_key(evidence))


def unaccounted(evidence: Evidence) -> Iterator[str]:
    """Find jobs that the endpoint took and that have no row, no id, and are not counted as perhaps accepted."""
    lost = 0
    for tag, jobs in evidence.ledger.by_tag().items():
        row, last = evidence.rows.get(tag), evidence.ledger.submissions[tag][-1]
        if row is None:
            lost += 1
        elif row["job_id"] is not None:
            if all(row["job_id"] != str(job.job_id) for job in jobs):
                yield f"job {tag} was taken as {jobs[0].job_id!r}, its row names {row['job_id']!r}"
        elif not perhaps_accepted(row):
            yield f"job {tag} was taken, and its row says that it was not: {_short(row)}"
        elif last.learns is Learns.ID and last.delivered and not _unheard(row):
            yield f"job {tag} was accepted as {jobs[0].job_id!r}, and its row has no id: {_short(row)}"
    if lost > evidence.missing:
        yield f"{lost} jobs that were taken have no row, and the audit misses {evidence.missing}"


def invented(evidence: Evidence) -> Iterator[str]:
    """Find rows of jobs that the endpoint did not take.

    After a refusal for a while a job is sent again, and that may be lost on a connection that closes before it is
    read: each connection that the endpoint closed loses one request at most.
    """
    taken, lost = evidence.ledger.by_tag(), list[tuple[float, Row]]()
    for tag, row in evidence.rows.items():
        submissions = evidence.ledger.submissions.get(tag, [])
        if row["job_id"] is not None and tag not in taken:
            yield f"the row of job {tag} names {row['job_id']!r}, and the endpoint took no such job"
        refused = submissions and submissions[-1].learns is Learns.REFUSED and submissions[-1].delivered
        if refused and row["job_id"] is None and not _unheard(row) and perhaps_accepted(row):
            if row["error_kind"] == "connection_closed" and submissions[-1].status in SENT_AGAIN:
                lost.append((submissions[-1].at, row))
            else:
                yield f"job {tag} was refused, and counts as perhaps accepted: {_short(row)}"
    closed, slack_s = sorted(evidence.ledger.closed), CLOCKS_S + evidence.tolerance_s
    for refused_at, row in sorted(lost, key=lambda each: float(each[1]["finished_at"])):
        close = next((at for at in closed if at >= refused_at), math.inf)
        if close > row["finished_at"] + slack_s:
            yield f"job {row['seq']} was refused, no connection closed then, and it counts as perhaps accepted"
        else:
            closed.remove(close)


def _unheard(row: Row) -> bool:
    """Return whether the client may have ended before the answer was there."""
    return row["outcome"] == "censored" or row["error_kind"] in ("read_timeout", *NEVER_SENT)


def miscounted(evidence: Evidence) -> Iterator[str]:
    """Find a summary whose count of perhaps accepted jobs is not that of the rows."""
    rows = [row for row in evidence.rows.values() if row["job_id"] is None and perhaps_accepted(row)]
    counted = evidence.summary["jobs"].get("perhaps_accepted")
    if counted is None and rows:
        yield f"{len(rows)} jobs that were perhaps accepted are counted nowhere"
    elif counted is not None and counted != len(rows):
        yield f"{len(rows)} rows were perhaps accepted, and the summary counts {counted}"


def sent_twice(evidence: Evidence) -> Iterator[str]:
    """Find submissions that were sent again although the first may have been accepted."""
    for tag, submissions in evidence.ledger.submissions.items():
        for first, again in pairwise(submissions):
            if first.learns is not Learns.REFUSED:
                yield f"job {tag} was sent again {again.at - first.at:.3f} s after a submission: {first.learns.name}"


def windows(evidence: Evidence) -> Iterator[str]:
    """Find windows in which more requests arrived than the limit allows."""
    for operation, times in evidence.ledger.requests.items():
        limit = evidence.scenario.limit(operation)  # type: ignore[arg-type]
        if limit is None:
            continue
        most = max_in_window(np.sort(times), limit.per_s - evidence.tolerance_s)
        if most > limit.requests:
            yield f"{most} requests of {operation} within {limit.per_s:g} s at the endpoint; the limit is {limit}"


def at_once(evidence: Evidence) -> Iterator[str]:
    """Find more requests at once than the limit allows, in runs in which each request waits for its answer."""
    plan = evidence.plan
    gives_up = plan.behaviour.never_ends or "job_timeout" in plan.scenario
    if gives_up or any(plan.incident(kind) for kind in ("kill", "cut", "suspend")):
        return
    for operation, most in evidence.ledger.most_at_once.items():
        limit = evidence.scenario.limit(operation)  # type: ignore[arg-type]
        if limit is not None and limit.concurrent is not None and most > limit.concurrent:
            yield f"{most} requests of {operation} at once at the endpoint; the limit is {limit}"


def ceilings(evidence: Evidence) -> Iterator[str]:
    """Find passed ceilings."""
    allowed, jobs = evidence.scenario.ceilings, evidence.ledger.jobs
    if allowed.jobs is not None and len(jobs) > allowed.jobs:
        yield f"{len(jobs)} jobs were taken; the ceiling is {allowed.jobs}"
    if allowed.cost is not None:
        price, spent = evidence.scenario.price or 0.0, 0.0
        seen_at = evidence.ledger.seen_final
        for job in sorted((job for job in jobs if job.tag in seen_at), key=lambda job: seen_at[job.tag]):
            spent += job.execution_ms / 1000 * price
            until = seen_at[job.tag] + evidence.winds_down_s
            late = [each for each in jobs if each.taken_at > until] if spent >= allowed.cost else []
            if late:
                yield f"{len(late)} jobs were taken after the cost of those that had ended reached {allowed.cost}"
                break


def left_over(evidence: Evidence) -> Iterator[str]:
    """Find jobs that were left running at the endpoint, and are not reported as left."""
    ids = Counter(str(job.job_id) for job in evidence.ledger.jobs)
    # Of jobs with one id, no client can know which has ended.
    left = [job for job in evidence.ledger.jobs if ids[str(job.job_id)] == 1 and not job.is_over(evidence.ended_at)]
    known = [job for job in left if (row := evidence.rows.get(job.tag)) is not None and row["job_id"] is not None]
    counted = evidence.summary["left_on_endpoint"]["known_ids"]
    if len(known) > counted:
        yield f"{len(known)} accepted jobs are left running; the summary counts {counted}"
    for job in known:
        row = evidence.rows[job.tag]
        if row["outcome"] in SEEN_FINAL:
            yield f"job {job.tag} is left running, and its row says that it ended: {_short(row)}"


def given_up(evidence: Evidence) -> Iterator[str]:
    """Find jobs that were given up although a good answer to a poll had come shortly before."""
    for tag, jobs in evidence.ledger.by_tag().items():
        row = evidence.rows.get(tag)
        if row is None or row["outcome"] not in ("rejected", "bad_answer", "unreachable") or row["job_id"] is None:
            continue
        good_at = max(evidence.ledger.good_polls.get(tag, 0.0), jobs[0].taken_at)
        if row["finished_at"] < good_at + POLL_FAULT_SPAN_S:
            after = row["finished_at"] - good_at
            yield f"job {tag} was given up {after:.1f} s after it was known to be well: {_short(row)}"


def after_the_signal(evidence: Evidence) -> Iterator[str]:
    """Find jobs that were taken after the signal."""
    until = evidence.signalled_at + evidence.winds_down_s
    late = [job.taken_at for job in evidence.ledger.jobs if job.taken_at > until]
    if late:
        yield f"{len(late)} jobs were taken up to {max(late) - evidence.signalled_at:.1f} s after the signal"


def strange_requests(evidence: Evidence) -> Iterator[str]:
    """Report requests that no client may send."""
    strange = evidence.ledger.strange
    if strange:
        yield f"{len(strange)} requests that no client may send, such as {strange[0]}"


def keys(evidence: Evidence) -> Iterator[str]:
    """Find the key in the output, and in every file that the run has left."""
    places = _places_of_the_key(evidence)
    texts = {row[name] for row in evidence.rows.values() for name in ("error", "worker_id") if row[name] is not None}
    forms = _forms(evidence.plan.key)
    places += ["the texts of samples.parquet"] if any(form in text for text in texts for form in forms) else []
    if places:
        yield f"the key is in {', '.join(places)}"


def _places_of_the_key(evidence: Evidence) -> list[str]:
    forms = _forms(evidence.plan.key)
    places = ["the output"] if any(form in evidence.output for form in forms) else []
    files = (path for path in sorted(evidence.path.rglob("*")) if path.is_file())
    return places + [path.name for path in files if any(form.encode() in path.read_bytes() for form in forms)]


def _forms(key: str) -> set[str]:
    """Return a key as it is written in a text, in JSON, in HTML and in a URL."""
    return {key, json.dumps(key)[1:-1], escape(key), quote(key, safe="")}


def endings(evidence: Evidence) -> Iterator[str]:
    """Find an exit code, a verdict or an ending that is not the documented one."""
    verdict, run, plan = evidence.summary["verdict"], evidence.run, evidence.plan
    signal, code = plan.incident("signal"), evidence.exit_code
    stopped = run.ending in (Ending.INTERRUPTED, Ending.TERMINATED)
    if verdict not in VERDICT_CODES:
        yield f"unknown verdict {verdict}"
    elif code is not None and code not in (VERDICT_CODES[verdict], SIGNAL_CODES.get(signal.by if signal else "")):
        yield f"exit code {code} with the verdict {verdict}"
    if stopped and signal is None:
        yield f"the run ended as {run.ending} without a signal"
    if run.ending is None and not plan.kills_the_master:
        yield "run.json does not say how the run ended"
    if run.ending is Ending.ABORTED and not run.reason:
        yield "the run was aborted without a reason"
    if "internal error" in run.reason + evidence.output:
        yield f"internal error: {run.reason or evidence.output[-300:]}"
    reasons = evidence.missing or evidence.run.lost
    if verdict == "pass" and (reasons or not evidence.summary["jobs"]["completed"]):
        yield f"pass, with {evidence.missing} jobs missing and {len(run.lost)} processes lost"
    if verdict == "pass" and max(Counter(_ids(evidence)).values(), default=0) > 1:
        yield "pass, although several jobs have one id"


def _ids(evidence: Evidence) -> list[str]:
    return [row["job_id"] for row in evidence.rows.values() if row["job_id"] is not None]


def on_time(evidence: Evidence) -> Iterator[str]:
    """Find a run that went on after its load and its drain, unless one of its processes was stopped."""
    if evidence.plan.incident("suspend"):
        return
    run, scenario = evidence.run, evidence.scenario
    if run.load_started_at is None or run.ended_at is None or run.lost:
        return
    took_s, asked_s = run.ended_at - run.load_started_at, scenario.load.duration_s + scenario.drain.within
    busy_s = BUSY_S if evidence.tolerance_s else 0.0
    if took_s > asked_s + WINDS_DOWN_S + busy_s:
        yield f"load and drain took {took_s:.1f} s of {asked_s:.1f} s"


def audits(evidence: Evidence) -> Iterator[str]:
    """Find an audit that misses jobs of a process that was not lost."""
    for each in evidence.run.audit:
        lost = each.process in evidence.run.lost or evidence.plan.kills_the_master
        if each.sent > each.recorded and not lost:
            yield f"process {each.process} was not lost, sent {each.sent} jobs and recorded {each.recorded}"
    if not evidence.run.audit and evidence.rows:
        yield "there are rows, and no audit"


def _short(row: Row) -> str:
    names = ("outcome", "http_status", "error_kind", "error")
    return ", ".join(str(row[name])[:60] for name in names if row[name] is not None)


CHECKS = (
    unaccounted,
    invented,
    miscounted,
    sent_twice,
    windows,
    at_once,
    ceilings,
    left_over,
    given_up,
    after_the_signal,
    strange_requests,
    keys,
    endings,
    on_time,
    audits,
)
