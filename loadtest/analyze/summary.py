"""The Summary that report, gate and capacity read: every figure of `summary.json`."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from loadtest.analyze.leftovers import NONE_LEFT, Faults, LeftOnEndpoint
from loadtest.errors import ExitCode
from loadtest.scenario.metrics import Metric, Unit

SCHEMA = 3


class Verdict(StrEnum):
    """The verdict of a run."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"
    ABORTED = "aborted"

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of a command that reports this verdict."""
        return ExitCode[self.name]


class Quantiles(msgspec.Struct, frozen=True):
    """A distribution: nearest-rank percentiles of all n samples; null if n cannot support one.

    `effective_n` is the number of independent samples that show as much. `ci95` holds the 95 % interval of each
    percentile that has one.
    """

    n: int
    effective_n: float | None = None
    min: float | None = None
    mean: float | None = None
    p50: float | None = None
    p70: float | None = None
    p90: float | None = None
    p95: float | None = None
    p98: float | None = None
    p99: float | None = None
    p99_9: float | None = None
    max: float | None = None
    ci95: dict[str, tuple[float, float]] = {}


class RunInfo(msgspec.Struct, frozen=True):
    """The run: what it was. Times in seconds since the epoch; `duration_s` is that of the load, without the drain."""

    id: str
    scenario: str
    scenario_hash: str
    target: str
    seed: int
    started_at: float
    duration_s: float
    complete: bool
    processes: int


class CheckId(StrEnum):
    """The validity checks, by their names in `summary.json`."""

    RUN_COMPLETE = "run complete"
    LOCAL_RESOURCES = "local resources"
    TASK_ERRORS = "task errors"
    PROCESSES_LOST = "processes lost"
    SAMPLES_RECORDED = "samples recorded"
    JOBS_COMPLETED = "jobs completed"
    CPU = "cpu"
    CLOCKS = "clocks"
    REQUEST_BUDGETS = "request budgets"
    RATE_LIMITED = "rate limited"
    STAGES_REACHED = "stages reached"
    LOAD_DELIVERED = "load delivered"
    RATE_ACHIEVED = "rate achieved"
    USERS_AT_WORK = "users at work"
    SEND_LAG = "send lag"
    CENSORED_JOBS = "censored jobs"
    POSSIBLE_TIMES = "possible times"
    INPUTS_VARY = "inputs vary"
    LITTLES_LAW = "little's law"
    STEADY_STATE = "steady state"
    COLD_STARTS = "cold starts"


class Check(msgspec.Struct, frozen=True):
    """The result of one validity check.

    `warning` is true if it found something that you should look at, and that does not make the measurement invalid.
    """

    name: CheckId
    ok: bool
    value: float | None
    limit: float | None
    detail: str
    warning: bool = False


class Validity(msgspec.Struct, frozen=True):
    """The results of the validity checks; the figures of an invalid run are not reliable."""

    valid: bool
    checks: list[Check]


class GateResult(msgspec.Struct, frozen=True):
    """The result of one gate: a figure of the run and its limit.

    `unit` is that of `observed`, `limit` and `ci95`: "ms", "share" (0 to 1), "per_s", or "ratio" against a baseline.
    `ci95` is the 95 % interval of the observed figure, if there is one. `effective_n` is the number of independent
    jobs that show as much as these n, for a percentile or a share. `default`: it applies because gates on times came
    without one on errors.
    """

    gate: str
    observed: float | None
    limit: float
    n: int
    verdict: Verdict
    detail: str
    metric: Metric
    unit: Unit
    ci95: tuple[float, float] | None = None
    effective_n: float | None = None
    default: bool = False


class Arrivals(msgspec.Struct, frozen=True):
    """Offered against achieved: jobs due by the end of the load, and those of them that were sent.

    `delivered` counts those sent by then, within the valid send lag: jobs sent during the drain are not load.
    """

    offered: int
    started: int
    offered_per_s: float
    achieved_per_s: float
    send_lag_ms: Quantiles
    delivered: int = 0


class Users(msgspec.Struct, frozen=True):
    """Means over a part of a closed load: the users that it wanted, those at work, and those held back.

    `held_back` counts users that waited for a limit of the scenario, and any other that should have been at work and
    was not.
    """

    wanted: float
    at_work: float
    held_back: float
    duration_s: float

    @property
    def share(self) -> float:
        """Return the share of the wanted users that were at work; 1 if none was wanted."""
        return self.at_work / self.wanted if self.wanted > 0 else 1.0


class OutcomeSummary(msgspec.Struct, frozen=True):
    """Jobs with one outcome, and their time from the intended start to their end as the client saw it."""

    jobs: int
    end_to_end_ms: Quantiles


class Censored(msgspec.Struct, frozen=True):
    """Jobs unfinished at the end of the run or of their job timeout.

    `end_to_end_ms_bounds` holds [low, high] of each percentile (`flows.censored_bounds`); empty without such jobs.
    """

    jobs: int
    end_to_end_ms_bounds: dict[str, tuple[float, float | None]] = {}


class TokenSummary(msgspec.Struct, frozen=True):
    """The tokens of the completed jobs that report them, per job and per second of the window of throughput.

    A job's tokens count when it ends. `jobs` of `completed` ones in that window report output tokens; those of others
    are not known, and not estimated.
    """

    jobs: int
    completed: int
    output_per_job: float | None
    output_per_s: float | None
    input_per_job: float | None
    input_per_s: float | None


class FlowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One flow's figures. Times are of completed jobs; `outcomes` has those of each outcome.

    `scenario.metrics` defines them. `overhead_ms` is transport and polling, `lag_ms` the part of it after the job's
    end on the server (not for runsync, whose answer is that end); `chunk_gap_ms` is between neighbouring chunks of a
    streamed job. `ttft_ms` is from the intended start to the first content, `tpot_ms` from there to the last content
    for each output token but the first; a job that reports no tokens has none. `itl_ms` is between neighbouring
    arrivals of content, of all jobs together, so that its `effective_n` is at most the number of jobs.
    `tokens` is null if no job reports any. A figure added later has a default.
    """

    jobs: int
    completed: int
    throughput_per_s: float
    end_to_end_ms: Quantiles
    response_ms: Quantiles
    delay_ms: Quantiles
    execution_ms: Quantiles
    overhead_ms: Quantiles
    lag_ms: Quantiles = Quantiles(0)
    submit_ms: Quantiles
    first_chunk_ms: Quantiles
    chunk_gap_ms: Quantiles
    ttft_ms: Quantiles = Quantiles(0)
    tpot_ms: Quantiles = Quantiles(0)
    itl_ms: Quantiles = Quantiles(0)
    tokens: TokenSummary | None = None
    polls_per_job: float | None
    outcomes: dict[str, OutcomeSummary] = {}
    censored: Censored = Censored(0)


class Steady(msgspec.Struct, frozen=True):
    """The steady window: its own jobs (by intended start) over its own time, or why there is none.

    Times in seconds from the start of the load. `arrivals` counts over the whole seconds that lie in the window.
    """

    found: bool
    detail: str
    start_s: float | None = None
    end_s: float | None = None
    arrivals: Arrivals | None = None
    flows: dict[str, FlowSummary] = {}


class OperationSummary(msgspec.Struct, frozen=True):
    """One operation's requests, its fullest 10 seconds and limit, its 429s, and its requests per completed job."""

    requests: int
    most_in_10_s: int
    limit: int | None
    throttled: int
    per_completed_job: float | None = None


class WorkerComparison(msgspec.Struct, frozen=True):
    """A worker's median execution time over that of all others together.

    `interval` is at the level that keeps the chance of naming any of equal workers below 5 %. The worker `differs`
    if it does not include 1 and the ratio is at least 1.1, or at most 1/1.1.
    """

    ratio: float
    interval: tuple[float, float]
    differs: bool


class WorkerSummary(msgspec.Struct, frozen=True):
    """One worker's completed jobs, and the number of others that name it.

    `compared` is null if it, or all other workers, had too few to compare.
    """

    worker_id: str
    jobs: int
    execution_ms: Quantiles
    compared: WorkerComparison | None = None
    not_completed: int = 0


class LittlesLaw(msgspec.Struct, frozen=True):
    """L = λW over the load: jobs in flight at the endpoint, their arrivals, their mean time there within the load.

    `evidence` is the source of L: "health", with which the samples are compared, or "samples" if there were too few
    health probes; then nothing is checked and `residual` is null. `residual` is L less the samples' figure for the
    same moments, as a share of the larger; up to `noise` of it may be chance.
    """

    evidence: str
    in_flight_mean: float
    arrivals_per_s: float
    time_in_system_mean_s: float | None
    residual: float | None
    noise: float | None
    detail: str


class StartKindSummary(msgspec.Struct, frozen=True):
    """Completed jobs with one kind of start; `cost_share` is null without a price.

    It is their share of execution and start waits (the delay of jobs that waited for a start) of all classified jobs.
    """

    jobs: int
    share: float
    delay_ms: Quantiles
    execution_ms: Quantiles
    end_to_end_ms: Quantiles
    cost_share: float | None = None


class Starts(msgspec.Struct, frozen=True):
    """Completed jobs by whether their worker was up ("warm"), came back from a stop ("revived") or began ("cold").

    A job counts as having waited for a start from a delay of `warm_below_ms` on, and its worker as cold from
    `cold_from_ms` on (null if the delay does not divide the two). `unknown` jobs named no worker or no times.
    `new_host` of the cold ones waited minutes for the first start on a host that had not had the image.
    """

    classes: dict[str, StartKindSummary]
    warm_below_ms: float
    cold_from_ms: float | None
    unknown: int
    detail: str
    new_host: int = 0


class Cause(msgspec.Struct, frozen=True):
    """Why jobs did not complete: their number, outcome and status, and one of them as an example.

    `error` is the text of that one; the texts of the others may differ in ids, numbers and addresses.
    """

    outcome: str
    http_status: int | None
    jobs: int
    error: str
    seq: int
    job_id: str | None


class Cost(msgspec.Struct, frozen=True):
    """What all execution cost, in worker-seconds and in US dollars per 1000 completed jobs.

    Cold starts and idle workers are billed too, but no job reports them.
    """

    billed_s: float
    per_1000_jobs: float | None


class RepeatTimes(msgspec.Struct, frozen=True):
    """A time of completed jobs with a new input, and of those that repeat the input of an earlier one.

    `ratio` is the median of repeats over that of new inputs. `faster_share` of the repeats are faster than 95 % of
    new inputs, without those that would be by chance. All intervals of a flow hold together with 95 %; null with
    fewer than ten jobs.
    """

    new: int
    repeats: int
    new_p50_ms: float
    repeat_p50_ms: float
    ratio: float | None = None
    ratio_interval: tuple[float, float] | None = None
    faster_share: float | None = None
    faster_share_interval: tuple[float, float] | None = None

    @property
    def faster(self) -> bool:
        """Return whether repeats are faster beyond chance: as a whole, or a part of them."""
        as_a_whole = self.ratio_interval is not None and self.ratio_interval[1] < 1
        return as_a_whole or (self.faster_share_interval is not None and self.faster_share_interval[0] > 0)


class RepeatAudit(msgspec.Struct, frozen=True):
    """The repeats of a flow that were sent after the job with that input had completed, and those sent before.

    `new` jobs have an input that no other had before. `times` has each time that both kinds have.
    """

    repeats: int
    too_early: int
    new: int
    times: dict[str, RepeatTimes] = {}


class Summary(msgspec.Struct, frozen=True):
    """The whole of `summary.json`."""

    run: RunInfo
    verdict: Verdict
    reason: str
    validity: Validity
    gates: list[GateResult]
    arrivals: Arrivals
    jobs: dict[str, int]
    flows: dict[str, FlowSummary]
    operations: dict[str, OperationSummary]
    workers: list[WorkerSummary]
    causes: list[Cause] = []
    cost: Cost | None = None
    steady: Steady = Steady(False, "Not determined.")
    littles_law: LittlesLaw | None = None
    starts: Starts | None = None
    left_on_endpoint: LeftOnEndpoint = NONE_LEFT
    faults: Faults = Faults()
    users: dict[str, Users] = {}
    """Of a closed load, by stage, and at the end of each ramp to more users; empty if the samples name no users."""
    cache_audit: dict[str, RepeatAudit] = {}
    """By flow; empty unless `repeat_every` is set."""
    schema: int = SCHEMA

    @property
    def decisive(self) -> Check | GateResult | None:
        """Return the check or gate that decided the verdict, which `reason` describes; None if none did."""
        if self.verdict is Verdict.INVALID:
            return next(check for check in self.validity.checks if not check.ok)
        return next((gate for gate in self.gates if gate.verdict is self.verdict is not Verdict.PASS), None)
