"""The rows of a run's samples, read once, a piece at a time: text is never held for all jobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pyarrow as pa

from loadtest.analyze.error_groups import ErrorGroup, error_counts, error_groups
from loadtest.analyze.jobs import JobColumns, jobs_of, worker_names
from loadtest.analyze.start_kinds import StartClassification, start_kinds
from loadtest.record.sample import SAMPLES

COLUMNS = (
    "seq", "process", "flow", "job_id", "worker_id", "outcome", "http_status", "error", "intended_at", "sent_at",
    "accepted_at", "first_chunk_at", "finished_at", "delay_ms", "execution_ms", "polls",
)  # fmt: skip
"""The columns of `samples.parquet` that the analysis reads."""


@dataclass(frozen=True)
class JobTable:
    """A run's jobs as numbers, the names of its workers by their numbers, and its errors in groups."""

    jobs: JobColumns
    worker_names: list[str]
    error_groups: list[ErrorGroup]

    @cached_property
    def starts(self) -> StartClassification:
        """Return each job's kind of start; found once, since it takes all jobs in order."""
        return start_kinds(self.jobs)


def read_job_table(pieces: Iterable[pa.Table], rows: int) -> JobTable:
    """Return the jobs of `rows` rows that arrive a piece at a time, each piece with at least COLUMNS."""
    none = jobs_of(SAMPLES.empty_table())
    whole = {field.name: np.empty(rows, getattr(none, field.name).dtype) for field in fields(JobColumns)}
    numbers: dict[str, int] = {}
    counts = []
    done = 0
    for piece in pieces:
        part, upto = jobs_of(piece), done + len(piece)
        for name, column in whole.items():
            column[done:upto] = getattr(part, name)
        # Each piece numbers its workers from 0; the last number stands for none.
        own = [numbers.setdefault(name, len(numbers)) for name in worker_names(piece)]
        whole["worker"][done:upto] = np.array([*own, -1], np.int32)[part.worker]
        counts.append(error_counts(piece))
        done = upto
    return JobTable(JobColumns(**whole), list(numbers), error_groups(counts))
