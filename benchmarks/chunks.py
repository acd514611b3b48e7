"""`python -m benchmarks.chunks`: how late chunks arrive, from simulated workers and from a generator in real ones.

The rows, in milliseconds: from the post of a chunk to its arrival here, for all chunks and for the first of each job;
the error of the gaps between chunks, compared with the server's journal; and for real workers, from the time at which
the handler yielded the chunk.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks import chunky_handler
from benchmarks.served import Run, served

CHUNKS, GAP_S = 20, 0.05
ENDPOINT = {"workers": {"active": 8, "max": 8}, "chunks": {"count": CHUNKS, "first": "50ms", "gap": "50ms"}}
HANDLER_ENDPOINT = {"workers": {"active": 2, "max": 2}}
HEAD = ("", "n", "p50", "p99", "largest")


def main() -> None:
    """Stream from both kinds of workers, and print how late chunks arrive."""
    with tempfile.TemporaryDirectory() as name:
        _streamed(Path(name), "simulated", "4/s", ENDPOINT)
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as notes:
        os.environ[chunky_handler.NOTES_VARIABLE] = notes
        options = ("--handler", chunky_handler.__file__, "--logs", str(Path(name, "logs")))
        arrivals = _streamed(Path(name), "real", "40/min", HANDLER_ENDPOINT, *options)
        _print_row("given to the SDK → seen", _lateness_ms(arrivals, _noted(Path(notes))))


def _streamed(
    directory: Path, kind: str, rate: str, endpoint: Mapping[str, Any], *options: str
) -> dict[str, Sequence[float]]:
    """Run for a minute, print the rows, and return when the chunks of each job arrived.

    Few jobs stream at once, so the limit of /stream lets each chunk be read when it is posted.
    """
    load = {"arrivals": "constant", "stages": [{"rate": rate, "for": "60s"}]}
    flows = {"stream": {"input": {"count": CHUNKS, "gap_s": GAP_S}}}
    with served(directory, dict(endpoint), *options) as target:
        run = Run(directory, {"load": load, "flows": flows}, target.url)
        status = run.wait()
    jobs, arrived = target.jobs(), _arrivals(run)
    posted = {job_id: jobs[job_id]["chunks_at"] for job_id in arrived}
    print(f"\n{kind} workers: {len(arrived)} jobs, exit code {status}")
    print(f"{HEAD[0]:28}" + "".join(f"{title:>10}" for title in HEAD[1:]))
    _print_row("posted → seen", _lateness_ms(arrived, posted))
    _print_row("posted → seen, first chunk", _lateness_ms(_firsts(arrived), _firsts(posted)))
    gaps = [np.diff(arrived[job_id]) - np.diff(posted[job_id]) for job_id in arrived]
    _print_row("error of the gap", np.abs(np.concatenate(gaps)) * 1000)
    return arrived


def _arrivals(run: Run) -> dict[str, Sequence[float]]:
    """Return when each chunk arrived, by job, for the jobs that completed."""
    jobs = {row["seq"]: row["job_id"] for row in run.rows() if row["outcome"] == "completed"}
    arrived: dict[str, list[float]] = {job_id: [] for job_id in jobs.values()}
    for chunk in pq.read_table(run.out / "chunks.parquet").to_pylist():
        if chunk["seq"] in jobs:
            arrived[jobs[chunk["seq"]]].append(chunk["at"])
    return {job_id: sorted(times) for job_id, times in arrived.items()}


def _noted(folder: Path) -> dict[str, Sequence[float]]:
    return {path.name: json.loads(path.read_text()) for path in folder.iterdir()}


def _firsts(times: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    return {job_id: at[:1] for job_id, at in times.items()}


def _lateness_ms(arrived: Mapping[str, Sequence[float]], posted: Mapping[str, Sequence[float]]) -> np.ndarray:
    return np.concatenate([np.subtract(at, posted[job_id]) * 1000 for job_id, at in arrived.items()])


def _print_row(title: str, values_ms: np.ndarray) -> None:
    p50, p99, largest = np.percentile(values_ms, [50, 99, 100])
    print(f"{title:28}{len(values_ms):10}{p50:10.2f}{p99:10.2f}{largest:10.2f}", flush=True)


if __name__ == "__main__":
    main()
