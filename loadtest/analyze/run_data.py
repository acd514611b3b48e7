"""A recorded run as the analysis reads it: made once, for summary, charts, gates and comparisons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import pyarrow as pa

from loadtest.analyze.accounting import Accounting, account, id_hashes, repeated
from loadtest.analyze.causes import cause_counts, causes
from loadtest.analyze.gaps import TokenGaps, token_gaps
from loadtest.analyze.jobs import JobColumns, LoadWindow, jobs_of, last_event_at, load_window, worker_names
from loadtest.analyze.start_kinds import StartClassification, revives, start_kinds
from loadtest.analyze.steady import SteadyWindow, steady_window
from loadtest.analyze.summary import Cause
from loadtest.arrays import Floats
from loadtest.record.run import RunRecord
from loadtest.record.sample import CANCELS, CHUNKS, HEALTH, REQUESTS, SAMPLES, MissingValueError
from loadtest.scenario.model import Scenario

COLUMNS = (
    "seq", "process", "flow", "job_id", "worker_id", "outcome", "http_status", "error", "intended_at", "sent_at",
    "accepted_at", "first_chunk_at", "finished_at", "delay_ms", "execution_ms", "polls", "error_kind", "faults",
    "user", "ready_at", "first_content_at", "last_content_at", "input_tokens",
    "output_tokens",
)  # fmt: skip
"""The columns of `samples.parquet` that the analysis reads."""


@dataclass(frozen=True)
class JobTable:
    """A run's jobs as numbers, its workers by name, why jobs did not complete, and the account of accepted jobs."""

    jobs: JobColumns
    worker_names: list[str]
    causes: list[Cause]
    accounting: Accounting


def read_job_table(pieces: Iterable[pa.Table], rows: int) -> JobTable:
    """Return the jobs of `rows` rows that arrive a piece at a time, each piece with at least COLUMNS.

    Raises MissingValueError for a job without a flow or an intended start: gates would leave it out in silence.
    """
    none = jobs_of(SAMPLES.empty_table())
    whole = {field.name: np.empty(rows, getattr(none, field.name).dtype) for field in fields(JobColumns)}
    numbers: dict[str, int] = {}
    counts, hashes, accounting = [], [], Accounting()
    done = 0
    for piece in pieces:
        part, upto = jobs_of(piece), done + len(piece)
        for name, missing in (("flow", part.flow < 0), ("intended_at", np.isnan(part.intended_at))):
            if missing.any():
                raise MissingValueError(f'lacks a value in the column "{name}"')
        for name, column in whole.items():
            column[done:upto] = getattr(part, name)
        # Each piece numbers its workers from 0; the last number stands for none. An empty name names none.
        own = [numbers.setdefault(name, len(numbers)) if name else -1 for name in worker_names(piece)]
        whole["worker"][done:upto] = np.array([*own, -1], np.int32)[part.worker]
        counts.append(cause_counts(piece))
        hashes.append(id_hashes(piece))
        accounting += account(piece)
        done = upto
    accounting += Accounting(repeated_ids=repeated(hashes))
    return JobTable(JobColumns(**whole), list(numbers), causes(counts), accounting)


@dataclass(frozen=True)
class RunData:
    """A run's record, its scenario, its jobs, and its other tables, in the schemas of `record.sample`.

    Any table may be empty: the run had nothing to record there, or the reader did not ask for it.
    """

    run: RunRecord
    scenario: Scenario
    table: JobTable
    requests: pa.Table = field(default_factory=REQUESTS.empty_table)
    chunks: pa.Table = field(default_factory=CHUNKS.empty_table)
    health: pa.Table = field(default_factory=HEALTH.empty_table)
    cancels: pa.Table = field(default_factory=CANCELS.empty_table)

    @property
    def jobs(self) -> JobColumns:
        """Return the run's jobs."""
        return self.table.jobs

    @cached_property
    def load(self) -> LoadWindow:
        """Return the span in which load was offered."""
        return load_window(self.run, self.jobs)

    @cached_property
    def starts(self) -> StartClassification:
        """Return each job's kind of start; found once, since it takes all jobs in order."""
        return start_kinds(self.jobs, revives(self.scenario))

    @cached_property
    def gaps(self) -> TokenGaps:
        """Return the times between the tokens of streamed jobs; none is known if the chunks were not read."""
        return token_gaps(self.jobs, self.chunks)

    @cached_property
    def steady(self) -> SteadyWindow:
        """Return the steady window, or why there is none."""
        return steady_window(self.scenario, self.jobs, self.load)

    def followed_until_at(self) -> Floats:
        """Return until when the client would have followed each job: its timeout or the run's end, in epoch seconds.

        If the record lacks the run's end, that is the last event in the record or the samples. Computed at each
        call: of ten million jobs it takes 80 MB.
        """
        ended_at, jobs = self.run.ended_at, self.jobs
        if ended_at is None:
            ended_at = max(self.load.end_at, last_event_at(jobs, default=self.load.end_at))
        until: Floats = np.minimum(jobs.intended_at + self.scenario.job_timeout, ended_at)
        return np.maximum(until, jobs.intended_at, out=until)
