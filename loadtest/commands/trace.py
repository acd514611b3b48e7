"""`loadtest trace`: writes the arrivals and the lengths of a run's jobs as a trace in a published form."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest.analyze.jobs import JobColumns
from loadtest.commands.gate import write_output
from loadtest.commands.read_run import read_run
from loadtest.errors import UsageError
from loadtest.record.directory import run_directory
from loadtest.scenario.loading.llm_traces import FORMATS, Request, format_requests


@dataclass(frozen=True)
class TraceRequest:
    """The arguments of `loadtest trace`."""

    run: Path
    format: str = FORMATS[0]
    out: Path | None = None

    @property
    def file(self) -> Path:
        """Return the file to write, by default one in the current directory."""
        return self.out or Path("trace.jsonl" if self.format == "mooncake" else "trace.csv")


def write_trace(request: TraceRequest) -> None:
    """Write the trace, and print how many jobs it has and which are missing.

    Raises UsageError for an unknown format, a run without tokens, or a file that cannot be written, and
    RunDirectoryError for a bad run.
    """
    if request.format not in FORMATS:
        raise UsageError(f"--format {request.format}: is unknown; write {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    directory = run_directory(request.run)
    jobs = read_run(directory, ()).jobs
    known = _known(jobs)
    if not known:
        raise UsageError(f"{directory.path}: {_reason(jobs)}; a trace needs the input and output tokens of its jobs")
    write_output(request.file, format_requests(request.format, known).encode(), "--out")
    left = len(jobs) - len(known)
    missing = f"; {left:,} of {len(jobs):,} report no tokens and are left out, so its rate is lower" if left else ""
    sys.stdout.write(
        f"{request.file}: {len(known):,} jobs{missing}\n"
        f"use it with load.arrivals: {{trace: {request.file.name}, format: {request.format}}}\n"
    )


def _known(jobs: JobColumns) -> list[Request]:
    """Return the jobs whose tokens are known, by their intended start, in order."""
    counted = jobs.where(~np.isnan(jobs.input_tokens) & ~np.isnan(jobs.output_tokens))
    counted = counted.take(np.argsort(counted.intended_at, kind="stable"))
    columns = (
        counted.intended_at.tolist(),
        counted.input_tokens.astype(np.int64).tolist(),
        counted.output_tokens.astype(np.int64).tolist(),
    )
    return [Request(*each) for each in zip(*columns, strict=True)]


def _reason(jobs: JobColumns) -> str:
    if not len(jobs):
        return "has no jobs"
    if not np.isnan(jobs.output_tokens).all():
        return "its jobs report output tokens, but no job with them reports input tokens"
    return "no job of it reports tokens"
