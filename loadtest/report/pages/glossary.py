"""The glossary of the pages: each term has one definition, and links lead from the term to it and back."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from loadtest.record.sample import Outcome

OUTCOMES: dict[str, str] = {
    Outcome.COMPLETED: "the endpoint ended it with COMPLETED, and the client has seen the answer",
    Outcome.FAILED: "the endpoint ended it with FAILED",
    Outcome.CANCELLED: "the endpoint ended it with CANCELLED",
    Outcome.TIMED_OUT: "the endpoint ended it with TIMED_OUT",
    Outcome.RATE_LIMITED: "answered 429 until the job timeout",
    Outcome.REJECTED: "any other answer of 400 and above",
    Outcome.UNREACHABLE: "no connection, or one that broke before the answer",
    Outcome.BAD_ANSWER: "an answer that the protocol does not allow",
    Outcome.WRONG: "the endpoint ended it with COMPLETED, but the answer is not what the scenario expects",
    Outcome.EXPIRED: "accepted, but deleted by the endpoint before the client saw its end",
    Outcome.CENSORED: "unfinished at the end of the run, or at the job timeout",
}
"""The meaning of each outcome, in the order of the definition."""

TERMS: dict[str, tuple[str, str]] = {
    "verdict": (
        "Verdict",
        "Pass: the measurement is valid and every gate passed. Fail: a gate failed. Inconclusive: none failed, but "
        "the run is too short or too noisy to decide one. Invalid: the measurement is not valid. Aborted: the run "
        "was stopped.",
    ),
    "offered": (
        "Offered, sent",
        "Jobs that were due by the schedule, and those that were really sent. In the closed model, in which users "
        "wait for their job, nothing is due by itself.",
    ),
    "completed": ("Completed", "The endpoint ended the job with COMPLETED, and the client has seen the answer."),
    "throughput": (
        "Throughput",
        "Jobs that completed per second, over a span as long as the load. It begins later than the load by the mean "
        "execution, since no job can complete before, and ends later by as much. The rest of the drain is left out.",
    ),
    "users": (
        "Users",
        "Of the closed model: wanted by the stages, at work (with an unfinished job, or thinking), and held back: "
        "ready for the next job, which a limit of the scenario, or the generator, did not let begin.",
    ),
    "drain": (
        "Drain",
        "The time after the load, in which no new jobs arrive and those in flight are waited for. No rate counts it.",
    ),
    "steady": (
        "Steady window",
        "The part of the longest stage of constant load in which times depend on the endpoint alone. The warm-up is "
        "cut off; a trend, or a backlog that grows, means that there is no such window. It contains the jobs that "
        "were meant to start in it, and its rates are over its own time.",
    ),
    "send-lag": ("Send lag", "From the intended start to the actual send. It is the generator’s lateness."),
    "delay": (
        "Delay",
        "The server’s figure: from submission until a worker took the job, cold start included.",
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
        "From a job’s end on the server until the client saw it: polling lag, or notification lag for a webhook. The "
        "end is the middle of the submission plus delay plus execution, so it may be off by half of the submission.",
    ),
    "submit": (
        "Submission",
        "From the send until the job’s id was known. Not for runsync and openai, whose answer is the finished job.",
    ),
    "first-chunk": ("First chunk", "Of a streamed job: from the intended start until its first chunk was seen."),
    "chunk-gap": ("Chunk gap", "Of a streamed job: between neighbouring chunks as the client saw them."),
    "ttft": (
        "Time to first token",
        "Of a streamed job: from the intended start until its first content was seen. A chunk without content, such "
        "as one that names the role, does not count.",
    ),
    "tpot": (
        "Time per output token",
        "Of a streamed job: from its first content to its last, divided by its output tokens but the first. A job "
        "whose worker reports no token counts has none.",
    ),
    "itl": (
        "Inter-token latency",
        "Of streamed jobs: between neighbouring arrivals of content, the gaps of all jobs together. Tokens that came "
        "in one chunk are one arrival. The jobs are the independent ones, so an interval counts on them alone.",
    ),
    "tokens": (
        "Tokens",
        "As the worker reports them for each job, of its input and of its output. Jobs that report none are left "
        "out. Output tokens per second count when the job ends; the chart over time divides a job’s tokens evenly "
        "among the chunks in which its content came, if they are known.",
    ),
    "repeats": (
        "Repeated inputs",
        "Jobs that send the input of an earlier job again, after that one has completed. A cache shows if they are "
        "faster than jobs with a new input: as a whole, or a share of them, faster than 95 % of the new ones and "
        "counted beyond chance. The intervals of a flow’s times hold together with 95 %.",
    ),
    "percentile": (
        "Percentile",
        "Nearest rank on all samples: of n sorted values the one at ⌈p·n⌉. Nothing is interpolated or put into "
        "buckets.",
    ),
    "effective-number": (
        "Effective number",
        "How many independent jobs would tell as much as these, which resemble their neighbours because they wait in "
        "one queue. Intervals and gates count on it.",
    ),
    "interval": (
        "95 % interval",
        "From order statistics of the effective number of jobs. A percentile needs at least 36, 72, 368 and 3688 "
        "samples for p90, p95, p99 and p99.9; with fewer there is no figure. If jobs resemble each other so much "
        "that the longest time may be below the percentile, the upper end is extrapolated, or there is no interval.",
    ),
    "bin": (
        "Percentile in a bin",
        "Describes the jobs of that bin: p50 from 2 jobs, p95 from 20, p99 from 100.",
    ),
    "outcome": (
        "Outcome",
        "How a job ended as the client saw it."
        + "".join(f" {outcome.replace('_', ' ').capitalize()}: {meaning}." for outcome, meaning in OUTCOMES.items()),
    ),
    "censored": (
        "Censored",
        "Unfinished when the run, or the job timeout, was over. Counted, but without an end-to-end time. Its bounds "
        "are the range of a percentile if every such job completed at some time: at the earliest when it was given "
        "up, at the latest never.",
    ),
    "rate-limited": (
        "Rate limited, 429",
        "Answered 429. A job is rate limited if that went on until its timeout. The waits between are part of the "
        "job’s times.",
    ),
    "in-flight": ("In flight", "Sent and not yet ended; in the queue or in a worker."),
    "operation": (
        "Operation",
        "What a request asks for: run, runsync and openai submit a job, status and stream ask for it, health asks "
        "for the state of queue and workers.",
    ),
    "limit": (
        "Rate limit",
        "The most requests of an operation that any 10 seconds may hold, by the scenario or else by the endpoint’s "
        "documentation. The fullest 10 s are counted by the moment of the send, wherever they start; the chart "
        "counts by whole seconds of the answers, so it differs a little.",
    ),
    "polling": (
        "Polling",
        "Asking repeatedly whether a job has ended. Rare polls make the lag longer, frequent polls use up the rate "
        "limit. A long poll is answered when the job ends; a webhook needs no poll.",
    ),
    "gate": (
        "Gate",
        "An objective that the run must meet. It passes with 99 % confidence, fails if the whole 95 % interval of "
        "the observed figure is on the wrong side of the limit, and is inconclusive otherwise.",
    ),
    "littles-law": (
        "Little’s law",
        "L = λW: the jobs at the endpoint on average are those that arrive per second times the seconds each stays. "
        "L by the endpoint’s health operation is compared with L by the samples at the same moments; the residual is "
        "the difference as a share of the larger.",
    ),
    "worker": (
        "Worker",
        "A process of the endpoint that takes a job from the queue and runs it. One differs if its median execution "
        "time is at least 1.1 times that of all others together, or at most 1/1.1, and chance would mark any of "
        "equal workers in less than 5 % of runs. The interval of the ratio has the level that this requires. Jobs of "
        "a worker that resemble their neighbours count for fewer; workers count as independent of each other.",
    ),
    "start": (
        "Warm, revived, cold",
        "Whether the worker of a job was up, was revived just after a stop, or was started. No answer contains it; "
        "it shows in the delay of a job that waited although its worker was free. A job that waited in a queue "
        "behind others is warm.",
    ),
    "cost": (
        "Cost",
        "The execution of all jobs at the price in the scenario, over the jobs that completed. Workers without a job "
        "are billed until they stop, and by one of the vendor’s pages while they start. No job’s answer has that, so "
        "the bill is higher.",
    ),
    "cost-share": (
        "Cost share",
        "The share of a class in execution and waits for a start, of all jobs whose class is known.",
    ),
    "clock": (
        "Clock",
        "How far a process’s clock was ahead of the master’s, which is corrected, and the possible error of that: "
        "half the shortest round trip.",
    ),
    "cpu": (
        "CPU share",
        "The greatest share of one core that a process used in any 5 s of the load. Near 100 % the run measures the "
        "generator, not the endpoint.",
    ),
}

PLAN_TERMS = TERMS | {
    "slo": (
        "Objective",
        "The gate to meet. Met: the whole interval of its figure is under the limit. Not met: the whole interval is "
        "over it. Inconclusive: the limit is inside the interval.",
    ),
    "simulation": (
        "Simulation",
        "The endpoint’s own model under a virtual clock, with the measured times. The interval is that of the mean "
        "of independent replications, 95 % by Student’s t: the precision of the simulation itself.",
    ),
    "cliff": (
        "Cliff",
        "The rate from which delays grow without bound: close to the rate that keeps all workers busy, a little more "
        "load makes jobs wait much longer.",
    ),
    "utilisation": (
        "Busy",
        "Time in which workers are occupied, by a job or by the pause after a take, over worker-seconds from start "
        "to stop.",
    ),
    "billed": (
        "Billed",
        "Worker-seconds from each start to its stop, each stop rounded up to a whole second; at the price per "
        "worker-second. It is assumed that initializing, the cold start, is billed: one of the vendor’s pages says "
        "so, another does not. A worker that has stopped, idle in /health, is not billed.",
    ),
    "offered-load": (
        "Offered load",
        "Jobs per second times the mean time for which one occupies a worker: workers busy on average.",
    ),
    "vendor": (
        "Vendor’s rule",
        "Requests per minute × seconds per request / 60, rounded up: the bare offered load. It leaves no room for "
        "jobs that arrive close together, so they wait for each other; if it is a whole number, the queue never "
        "settles.",
    ),
    "backtest": (
        "Backtest",
        "A prediction compared with a run that was not used for calibration. It is predicted from its scenario "
        "alone: by replicas, each with other arrivals and with times drawn from the measured ones.",
    ),
    "scalability": (
        "Scalability law",
        "Whether workers slow each other down: contention α and coherency β (USL), each with its 95 % interval. An α "
        "above 0 means that more workers will bring less than is predicted.",
    ),
    "take-pause": (
        "Pause between takes",
        "The shortest time from a worker’s take of a job to its next take. The vendor’s SDK sleeps a second after "
        "each take at a concurrency of 1; a short job then occupies a worker for that second.",
    ),
    "dispatch": (
        "Dispatch",
        "The delay of a job that meets an idle worker, in no pause; it is added to every simulated wait.",
    ),
}
"""TERMS, and the terms of a capacity plan."""


class Glossary:
    """Links from terms to their definitions; each definition links back to the first use of its term."""

    def __init__(self, known: Mapping[str, tuple[str, str]] = TERMS) -> None:
        self._known = known
        self._used: set[str] = set()

    def link(self, key: str, label: str | None = None) -> Markup:
        """Return a label, by default the term itself, as a link to the definition."""
        label = self._known[key][0] if label is None else label
        here = "" if key in self._used else Markup(' id="use-{}"').format(key)
        self._used.add(key)
        return Markup('<a class="term"{} href="#def-{}">{}</a>').format(here, key, label)

    def outcome(self, outcome: str) -> Markup | str:
        """Return the label of an outcome, as a link if it has a definition of its own."""
        key, label = outcome.replace("_", "-"), outcome.replace("_", " ")
        return self.link(key, label) if key in self._known else label

    def definitions(self) -> list[tuple[str, str, str]]:
        """Return key, name and text of each term that the page has used until now."""
        return [(key, *self._known[key]) for key in self._known if key in self._used]
