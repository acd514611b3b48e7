"""What it costs to record a sample: CPU while it runs, bytes once it is merged, the longest hold of the loop."""

from __future__ import annotations

import gc
import random
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from loadtest.protocol.operations import Op
from loadtest.record.directory import RunDirectory
from loadtest.record.recorder import Recorder
from loadtest.record.sample import Outcome, Sample

SAMPLES = 150_000
PER_S = 30_000
FLUSH_EVERY_S = 0.5


@dataclass(frozen=True)
class Cost:
    """CPU microseconds and bytes a sample; the longest call, in milliseconds."""

    cpu_us: float
    bytes: float
    longest_ms: float


def recording_cost(directory: Path) -> Cost:
    """What it costs at PER_S jobs a second, of one request each, with flushes as in a run."""
    run = RunDirectory(directory / "recorded")
    run.create()
    recorder = Recorder(run)
    samples = _samples()
    # As a process that sends does before its run: what is there for good is not looked through for cycles.
    gc.collect()
    gc.freeze()
    longest_s, flush_at, before = 0.0, 0.0, time.process_time()
    for sample in samples:
        began = time.perf_counter()
        sent_at, answered_at = sample.sent_at or 0.0, sample.finished_at or 0.0
        recorder.requests[Op.RUNSYNC].sent(sent_at)
        recorder.requests[Op.RUNSYNC].answered(200, sent_at, answered_at)
        recorder.sample(sample, [])
        if sent_at >= flush_at:
            flush_at = sent_at + FLUSH_EVERY_S
            recorder.flush(sent_at)
        longest_s = max(longest_s, time.perf_counter() - began)
    recorder.close()
    cpu_s = time.process_time() - before
    run.merge()
    size = (run.path / "samples.parquet").stat().st_size
    return Cost(cpu_s / SAMPLES * 1e6, size / SAMPLES, longest_s * 1000)


def _samples() -> list[Sample]:
    """Jobs that differ as real ones do."""
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
