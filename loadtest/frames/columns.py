"""The columns of every data frame: name, dtype and meaning, from which frames and their reference are made.

To write the reference: `python -m loadtest.frames.columns > docs/reference/data-frames.md`.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from loadtest.analyze.start_kinds import CLASSES
from loadtest.analyze.summary import Verdict
from loadtest.protocol.operations import Op
from loadtest.record.sample import ErrorKind, Outcome
from loadtest.scenario.flows import FLOWS

TIME = "datetime64[us, UTC]"
TEXT = "str"
CATEGORY = "category"
NUMBER = "float64"


class Column(NamedTuple):
    """A column: its dtype as pandas writes it, its meaning, and its categories if they are known beforehand."""

    name: str
    dtype: str
    text: str
    categories: tuple[str, ...] | None = None


def _names(values: object) -> tuple[str, ...]:
    return tuple(str(each) for each in values)  # type: ignore[attr-defined]


JOBS = (
    Column("seq", "int64", "the job's number"),
    Column("process", "int16", "the generator that sent it; with `seq` it names the job"),
    Column("stage", "Int16", "the number of the stage in which the job was meant to start, from 0"),
    Column("stage_name", CATEGORY, "the name of that stage, in the order of the stages"),
    Column("flow", CATEGORY, "how the job was driven", _names(FLOWS)),
    Column("job_id", TEXT, "as the endpoint named the job"),
    Column("worker_id", CATEGORY, "as the endpoint named the worker"),
    Column("outcome", CATEGORY, "how the job ended", _names(Outcome)),
    Column("http_status", "Int16", "the status of the answer that ended it"),
    Column("error", TEXT, "the reported error, or why there was no answer"),
    Column("error_kind", CATEGORY, "how the last request failed, or what the result lacks", _names(ErrorKind)),
    Column("intended_at", TIME, "when the schedule meant the job to start"),
    Column("ready_at", TIME, "in the closed model, when its user was ready for it"),
    Column("sent_at", TIME, "when its submission was sent"),
    Column("accepted_at", TIME, "when the endpoint had accepted it"),
    Column("first_chunk_at", TIME, "when its first chunk was received"),
    Column("first_content_at", TIME, "when its first content was received"),
    Column("last_content_at", TIME, "when its last content was received"),
    Column("finished_at", TIME, "when its end was seen"),
    Column("delay_ms", NUMBER, "how long it waited for a worker, as the server reports it"),
    Column("execution_ms", NUMBER, "how long the worker ran it, as the server reports it"),
    Column("end_to_end_ms", NUMBER, "from `intended_at` to `finished_at`"),
    Column("response_ms", NUMBER, "from `sent_at` to `finished_at`"),
    Column("overhead_ms", NUMBER, "`response_ms` without delay and execution: transport and polling"),
    Column("submit_ms", NUMBER, "from `sent_at` to `accepted_at`"),
    Column("send_lag_ms", NUMBER, "from `intended_at` to `sent_at`"),
    Column("first_chunk_ms", NUMBER, "from `intended_at` to `first_chunk_at`"),
    Column("ttft_ms", NUMBER, "from `intended_at` to `first_content_at`"),
    Column("tpot_ms", NUMBER, "from the first content to the last, for each output token but the first"),
    Column("polls", "Int32", "polls of its state"),
    Column("throttled", "Int32", "429s that it met"),
    Column("faults", "Int32", "other answers of no use, after which the client tried again"),
    Column("request_bytes", "Int64", "of request bodies"),
    Column("response_bytes", "Int64", "of response bodies"),
    Column("chunks", "Int64", "chunks of a streamed job"),
    Column("input_tokens", "Int64", "if the worker reports them"),
    Column("output_tokens", "Int64", "if the worker reports them"),
    Column("user", "Int32", "in the closed model, the user of this process that sent it"),
    Column("start", CATEGORY, "of a completed job, whether its worker was up, came back, or began", _names(CLASSES)),
    Column("steady", "bool", "whether it was meant to start in the steady window"),
)
REQUESTS = (
    Column("second", TIME, "the second in which the requests were answered"),
    Column("process", "int16", "the process that sent them; −1 is the master"),
    Column("operation", CATEGORY, "the operation", _names(Op)),
    Column("status", "int16", "the HTTP status; 0 without an answer"),
    Column("requests", "int32", "how many"),
    Column("latency_ms_mean", NUMBER, "their mean time from send to answer"),
    Column("latency_ms_p50", NUMBER, "their median"),
    Column("latency_ms_p95", NUMBER, "their 95th percentile"),
    Column("latency_ms_max", NUMBER, "their longest"),
    Column("most_in_10_s", "Int32", "the operation's fullest 10 s of this process up to this second"),
)
HEALTH = (
    Column("at", TIME, "when the endpoint answered"),
    Column("in_queue", "Int32", "jobs that waited"),
    Column("in_progress", "Int32", "jobs that ran"),
    Column("completed", "Int64", "jobs that the endpoint has completed"),
    Column("failed", "Int64", "jobs that have failed"),
    Column("retried", "Int64", "jobs that it has retried"),
    Column("idle", "Int32", "workers that have stopped"),
    Column("running", "Int32", "workers that are up"),
    Column("initializing", "Int32", "workers that start"),
    Column("ready", "Int32", "workers that are ready"),
    Column("throttled", "Int32", "workers that wait for a host"),
    Column("unhealthy", "Int32", "workers that fail"),
)
CHUNKS = (
    Column("seq", "int64", "the number of the job"),
    Column("process", "int16", "its generator"),
    Column("at", TIME, "when the chunk was received"),
    Column("pieces", "Int32", "the pieces of content in it"),
)
RUNS = (
    Column("path", TEXT, "the run directory"),
    Column("id", TEXT, "the run's id"),
    Column("scenario", TEXT, "the scenario's name"),
    Column("target", TEXT, "the URL that jobs were sent to"),
    Column("seed", "Int64", "the seed of the schedule"),
    Column("started_at", TIME, "when the run started"),
    Column("duration_s", NUMBER, "the length of the load"),
    Column("verdict", CATEGORY, "the verdict", _names(Verdict)),
    Column("reason", TEXT, "its reason in a sentence"),
    Column("valid", "boolean", "whether the measurement is valid"),
    Column("offered_per_s", NUMBER, "jobs due per second"),
    Column("achieved_per_s", NUMBER, "jobs sent per second"),
    Column("submitted", "Int64", "jobs sent"),
    Column("completed", "Int64", "jobs that completed"),
    Column("cost_per_1000_jobs", NUMBER, "US dollars, if the scenario has a price"),
    Column("problem", TEXT, "why the directory cannot be read; its other columns are then missing"),
)
FIGURES = ("delay", "execution", "end_to_end", "ttft")
"""The times of each flow of which a table of runs has percentiles."""
FRAMES = {"jobs": JOBS, "requests": REQUESTS, "health": HEALTH, "chunks": CHUNKS}
_INTRODUCTION = """\
<!-- Made by `python -m loadtest.frames.columns`; edit the texts there. -->
# Data frames

`import loadtest` gives you recorded runs as [pandas](https://pandas.pydata.org) data frames. You find the steps in
[Analyse runs with pandas](../how-to/analyse-with-pandas.md).

| you write | you get |
|---|---|
| `loadtest.read(path)` | a `Run`; the path is a run directory, or a name under `reports/baselines/` |
| `run.jobs`, `run.requests`, `run.health`, `run.chunks` | the frames below, each read when you first use it |
| `run.summary` | the figures of `summary.json`, with the names in [run directory](run-directory.md#summaryjson) |
| `run.scenario`, `run.record` | the scenario as the run resolved it, and the content of `run.json` |
| `run.percentile(metric, share, flow=None, where=None)` | one percentile with its 95 % interval |
| `run.percentiles(metric, share, by=column, flow=None, where=None)` | that for each value of a column of `run.jobs` |
| `loadtest.read_many("reports/*")` | one row per run |

If a run recorded no such rows, you get an empty frame with the same columns. Times of day are in UTC, in the master's
clock, and exact to a microsecond. Names that end in `_ms` are milliseconds. What did not happen is missing: `NaT` for
a time of day, `NaN` or `<NA>` otherwise. `Int64` and its shorter forms are whole numbers that can be missing.

`run.percentile` takes the metrics of [gates](gates.md) that are times, `"delay"` for example, and a share with at
most three decimals. It counts completed jobs, as the report does. `flow` selects one flow, and `where` the jobs for
which a mask of `run.jobs` is true. The result has `value_ms`, `ci95_ms` (low and high), `n` and `effective_n`. A
value that `n` cannot support is `None`, and so is an interval of which nothing can be said. `run.percentiles` returns
a frame, with `low_ms` and `high_ms`. Errors are `loadtest.LoadtestError`.
"""
_RUNS_END = f"""
For each flow of any of these runs you also have `FLOW_throughput_per_s` and, for
{", ".join(f"`{name}`" for name in FIGURES)}, the columns `FLOW_NAME_p50_ms`, `FLOW_NAME_p95_ms`,
`FLOW_NAME_p95_low_ms`, `FLOW_NAME_p95_high_ms` and `FLOW_NAME_p99_ms`: `run_delay_p95_ms` for example. They are
`float64`.
"""


def reference() -> str:
    """Return the reference of the columns in Markdown."""
    titles = {f"`run.{name}`": columns for name, columns in FRAMES.items()} | {"`loadtest.read_many`": RUNS}
    lines = [_INTRODUCTION]
    for title, columns in titles.items():
        lines.append(f"## {title}\n\n| column | dtype | |\n|---|---|---|")
        lines += [f"| `{each.name}` | {each.dtype} | {each.text}{_choices(each)} |" for each in columns]
        lines.append("" if columns is not RUNS else _RUNS_END)
    return "\n".join(lines).rstrip() + "\n"


def _choices(column: Column) -> str:
    return "" if column.categories is None else f": {', '.join(column.categories)}"


if __name__ == "__main__":
    sys.stdout.write(reference())
