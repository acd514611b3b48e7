"""The words of a report, each defined once; wherever one heads a figure it leads to its definition, and back."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

TERMS: dict[str, tuple[str, str]] = {
    "verdict": (
        "Verdict",
        "Pass: the measurement is sound and every gate held. Fail: a gate did not. Inconclusive: none failed, but "
        "one cannot be told yet. Invalid: the measurement is not sound. Aborted: it was stopped.",
    ),
    "offered": (
        "Offered, sent",
        "Jobs that were due by the schedule, and those that were really sent. In a closed load, where users wait for "
        "their job, nothing is due by itself.",
    ),
    "completed": ("Completed", "Jobs that the endpoint ended with COMPLETED and whose answer the client has seen."),
    "throughput": (
        "Throughput",
        "Jobs that completed while load was offered, per second of that time. The drain is left out: neither its "
        "jobs nor its seconds count.",
    ),
    "drain": (
        "Drain",
        "The time after the load, in which no new jobs arrive and those in flight are waited for. No rate counts it.",
    ),
    "steady": (
        "Steady window",
        "The part of the longest stage of constant load in which times depend on the endpoint alone: its warm-up is "
        "cut off, and a trend all through it means that there is none. It holds the jobs that were meant to start in "
        "it, and its rates are over its own time.",
    ),
    "send-lag": ("Send lag", "From the intended start of a job to the moment it was sent: our own lateness."),
    "delay": (
        "Delay",
        "The server’s figure: from submission until a worker took the job, cold starts included.",
    ),
    "execution": ("Execution", "The server’s figure: the time in the handler."),
    "response": ("Response", "From the actual send to the end as the client saw it."),
    "end-to-end": (
        "End-to-end",
        "From the intended start to the end as the client saw it, so that waiting to be sent is never left out.",
    ),
    "overhead": (
        "Overhead",
        "Response less delay less execution: transport, and the time until a poll noticed the end (polling lag).",
    ),
    "lag": (
        "Lag",
        "From a job’s end on the server until the client saw it: polling lag where it polls, notification lag where "
        "its webhook is called. The end is the middle of the submission plus delay plus execution, so it may be off "
        "by half of what the submission took.",
    ),
    "submission": (
        "Submission",
        "From the send until the job’s id was known. Not of runsync, whose answer is the finished job.",
    ),
    "first-chunk": ("First chunk", "Of a streamed job: from the intended start until its first chunk was seen."),
    "chunk-gap": ("Chunk gap", "Of a streamed job: between neighbouring chunks as the client saw them."),
    "percentile": (
        "Percentile",
        "Nearest rank on all samples: of n sorted values the one at ⌈p·n⌉. Nothing is interpolated or bucketed.",
    ),
    "interval": (
        "95 % interval",
        "From order statistics, whatever the distribution. It needs at least 36, 72, 368 and 3688 samples for p90, "
        "p95, p99 and p99.9; with fewer there is no figure. It takes jobs as independent; a queue makes neighbours "
        "alike, so the truth is somewhat wider.",
    ),
    "bin": (
        "Percentile in a bin",
        "Describes the jobs of that bin: p50 from 2 jobs, p95 from 20, p99 from 100.",
    ),
    "outcome": (
        "Outcome",
        "How a job ended as the client saw it. Completed, failed, cancelled and timed out are the endpoint’s own "
        "words; rejected is any other answer of 400 and above, unreachable no answer at all, bad answer one that the "
        "protocol does not allow, expired a job that was gone before its end was seen.",
    ),
    "censored": (
        "Censored",
        "Unfinished when the run, or the client’s patience, was over. Counted, never forgotten, but without an "
        "end-to-end time. Its bounds say between what a percentile lies if every such job were to complete some "
        "time: at the earliest when it was given up, at the latest never.",
    ),
    "rate-limited": (
        "Rate limited, 429",
        "Answered 429. A job is rate limited if that went on until the client’s patience was over. The waits between "
        "are part of the job’s times.",
    ),
    "in-flight": ("In flight", "Sent and not yet ended; waiting in the queue or being worked on."),
    "operation": (
        "Operation",
        "What a request asks of the endpoint: run and runsync submit a job, status and stream ask for it, health "
        "asks for the state of queue and workers.",
    ),
    "limit": (
        "Rate limit",
        "The most requests of an operation that any 10 seconds may hold, as the scenario or else the endpoint’s "
        "documentation has it. The fullest 10 s are counted by the moment of the send, wherever they start; the "
        "chart counts by whole seconds of the answers, so it differs a little.",
    ),
    "polling": (
        "Polling",
        "Asking again and again whether a job has ended. Asking seldom makes the lag longer, asking often takes "
        "requests from the limit. A long poll is answered when the job ends, a webhook asks for nothing.",
    ),
    "gate": (
        "Gate",
        "An objective that the run is held against. It passes when it holds with 99 % confidence and fails when the "
        "95 % interval of what was observed lies wholly on the wrong side of the limit; else it is inconclusive.",
    ),
    "littles-law": (
        "Little’s law",
        "L = λW: the jobs at the endpoint on average are those that arrive per second times the seconds each stays. "
        "L as the endpoint’s health operation tells it is held against what the samples say of the same moments; the "
        "residual is the difference as a share of the larger.",
    ),
    "worker": (
        "Worker",
        "What takes a job from the queue and runs it. One differs when its median execution time is at least 1.1 "
        "times that of all others together, or at most 1/1.1, and chance would mark any of equal workers in less "
        "than 5 % of runs. The interval of the ratio is at the level which that takes.",
    ),
    "start": (
        "Warm, revived, cold",
        "Whether the worker that a job met was up, came back from a stop a moment ago, or began. No answer says so; "
        "it shows in the delay of a job that waited although its worker had nothing to do. A job that waited in a "
        "queue behind others is warm.",
    ),
    "cost": (
        "Cost",
        "The execution of all jobs at the price in the scenario, over the jobs that completed. Cold starts and idle "
        "workers are billed too; no job tells of them, so the bill is higher.",
    ),
    "cost-share": (
        "Cost share",
        "A class’s part of execution and waits for a start, of all jobs whose class is known.",
    ),
    "clock": (
        "Clock",
        "By how much a process’s clock was ahead of the master’s, which is corrected for, and how wrong that may be: "
        "half the shortest round trip.",
    ),
    "cpu": (
        "CPU share",
        "The greatest share of one core that a process took in any 5 s of the load. Near 100 % the generator, not "
        "the endpoint, is what is measured.",
    ),
}

PLAN_TERMS = TERMS | {
    "slo": (
        "Objective",
        "What is to hold, in the words of a gate. Met: the whole interval of its figure is under the limit. Not met: "
        "all of it is over.",
    ),
    "simulation": (
        "Simulation",
        "The endpoint’s own model under a virtual clock, fed with the measured times. The interval is that of the "
        "mean of independent replications, 95 % by Student’s t: how well the simulation knows itself.",
    ),
    "cliff": (
        "Cliff",
        "Where delays run away: near the rate that keeps all workers busy a little more load makes jobs wait much "
        "longer.",
    ),
    "utilisation": (
        "Busy",
        "Time that workers are occupied, at work or in the pause after a take, over worker-seconds from start to "
        "stop.",
    ),
    "billed": (
        "Billed",
        "Worker-seconds from each start to its stop, cold start and idle time included, each stop rounded up to a "
        "whole second; at the price per worker-second.",
    ),
    "offered-load": (
        "Offered load",
        "Jobs per second times the mean time that one occupies a worker: workers busy on average.",
    ),
    "vendor": (
        "Vendor’s rule",
        "Requests per minute × seconds per request / 60, rounded up: the bare offered load. It leaves nothing for "
        "jobs that come close together, so that they wait for each other, and where it comes out whole, for ever.",
    ),
    "held-out": (
        "Held against a run",
        "A run that was not calibrated from is predicted from its scenario alone: replicas of it, each with other "
        "arrivals and with times drawn anew from those that were measured.",
    ),
    "scalability": (
        "Scalability law",
        "Whether workers slow each other down: contention α and coherency β (USL), each with its 95 % interval. An α "
        "above 0 says that more workers will bring less than is predicted.",
    ),
    "takes": (
        "Pause between takes",
        "How long after a take a worker looks for its next job at the earliest. The vendor's SDK sleeps a second "
        "after each take at a concurrency of 1; a short job then occupies a worker for as long as that.",
    ),
    "dispatch": (
        "Dispatch",
        "The delay of a job that meets an idle worker, in no pause; it comes on top of every simulated wait.",
    ),
}
"""The same, and those of a capacity plan."""


class Glossary:
    """Links from words to their definitions; the first of each is where its definition leads back to."""

    def __init__(self, known: Mapping[str, tuple[str, str]] = TERMS) -> None:
        self._known = known
        self._used: set[str] = set()

    def link(self, key: str, label: str | None = None) -> Markup:
        """The term, or a label that stands for it, as a link to its definition."""
        label = self._known[key][0] if label is None else label
        here = "" if key in self._used else Markup(' id="use-{}"').format(key)
        self._used.add(key)
        return Markup('<a class="term"{} href="#def-{}">{}</a>').format(here, key, label)

    def definitions(self) -> list[tuple[str, str, str]]:
        """Key, name and text of each term that the page used so far."""
        return [(key, *self._known[key]) for key in self._known if key in self._used]
