"""The cost of recording a sample: CPU time, bytes once it is merged, and the longest time that blocks the loop."""

from __future__ import annotations

import gc
import random
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from loadtest.protocol.operations import Op
from loadtest.record.directory import RunDirectory
from loadtest.record.recorder import EndedJob, Recorder
from loadtest.record.sample import Outcome, Sample

SAMPLES = 150_000
PER_S = 30_000
FLUSH_INTERVAL_S = 0.5
BATCH = 500
"""As many as a dispatcher publishes at once; this process imports no gevent."""


@dataclass(frozen=True)
class Cost:
    """CPU microseconds and bytes per sample, and the longest call in milliseconds."""

    cpu_us: float
    bytes: float
    longest_ms: float


def recording_cost(directory: Path) -> Cost:
    """Return the cost at PER_S jobs per second, of one request each, with flushes as in a run."""
    run = RunDirectory(directory / "recorded")
    run.create()
    recorder = Recorder(run)
    samples = _samples()
    # A generator does the same before its run, so that lasting objects are not searched for cycles.
    gc.collect()
    gc.freeze()
    ended: list[EndedJob] = []
    longest_s, flush_at, before = 0.0, 0.0, time.process_time()
    for sample in samples:
        started_at = time.perf_counter()
        sent_at, answered_at = sample.sent_at or 0.0, sample.finished_at or 0.0
        recorder.requests[Op.RUNSYNC].sent(sent_at)
        recorder.requests[Op.RUNSYNC].answered(200, sent_at, answered_at)
        ended.append((sample, ()))
        if len(ended) == BATCH:
            recorder.record(ended)
            ended = []
        if sent_at >= flush_at:
            flush_at = sent_at + FLUSH_INTERVAL_S
            recorder.flush(sent_at)
        longest_s = max(longest_s, time.perf_counter() - started_at)
    recorder.close()
    cpu_s = time.process_time() - before
    run.merge()
    size = (run.path / "samples.parquet").stat().st_size
    return Cost(cpu_s / SAMPLES * 1e6, size / SAMPLES, longest_s * 1000)


def _samples() -> list[Sample]:
    """Return jobs that differ as real ones do."""
    drawn = random.Random(1)
    return [
        Sample(
            seq,
            "runsync",
            intended_at=(at := 1.8e9 + seq / PER_S),
            job_id=f"sync-{uuid.UUID(int=drawn.getrandbits(128))}-u1",
            worker_id=f"{drawn.randrange(30):014d}",
            outcome=Outcome.COMPLETED.value,
            http_status=200,
            sent_at=(sent_at := at + drawn.random() / 1000),
            accepted_at=(ended_at := sent_at + 0.2 + drawn.random() / 10),
            finished_at=ended_at,
            delay_ms=drawn.randrange(100),
            execution_ms=drawn.randrange(100, 300),
            request_bytes=28,
            response_bytes=drawn.randrange(150, 160),
        )
        for seq in range(SAMPLES)
    ]
