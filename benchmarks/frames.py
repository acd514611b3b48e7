"""Time and memory of a run of a million jobs as a data frame, and of its files: `python -m benchmarks.frames`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.record.directory import RunDirectory
from loadtest.record.row_groups import ROW_GROUP
from loadtest.record.run import Audit, Ending, ProcessInfo, RunRecord, StageSpan
from loadtest.record.sample import REQUESTS, SAMPLES
from loadtest.scenario.model import Scenario

JOBS = 1_000_000
RATE_PER_S = 1000.0
WORKERS = 100
STARTED_AT = 1_767_225_600.0
STEPS = {
    "import loadtest": "",
    "loadtest.read": "run.scenario",
    "run.jobs": "len(run.jobs)",
    "run.percentile": "run.percentile('delay', 0.95, flow='run')",
    "run.jobs and a group by": "run.jobs.groupby('worker_id').delay_ms.quantile(0.95)",
    "run.jobs and run.percentile": "len(run.jobs); run.percentile('delay', 0.95, flow='run')",
}
"""The steps to measure, each in a process of its own, from its start."""
PROGRAM = """
import time
started_at = time.perf_counter()
import re, sys
from pathlib import Path
import loadtest
if {step!r}:
    run = loadtest.read(sys.argv[1])
    {step}
peak_mb = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(f"{{time.perf_counter() - started_at:.2f}} s, {{time.process_time():.2f}} s of CPU, {{peak_mb:.0f}} MB")
"""


def write_run(path: Path, jobs: int = JOBS, seed: int = 1) -> None:
    """Write a run directory of this many jobs, drawn from a seed: a tenth of them failed, each with an id."""
    rng = np.random.default_rng(seed)
    duration_s = jobs / RATE_PER_S
    stages = [{"name": name, "rate": f"{RATE_PER_S}/s", "for": f"{duration_s / 2}s"} for name in ("first", "second")]
    scenario = Scenario.model_validate(
        {"name": "million", "load": {"stages": stages}, "flows": {"run": {}, "runsync": {}}}
    )
    record = RunRecord(
        id="million",
        scenario=scenario.resolved(),
        scenario_hash=scenario.hash(),
        seed=seed,
        target="http://127.0.0.1:8000/v2/local",
        command="loadtest run million.yaml",
        versions={},
        started_at=STARTED_AT,
        processes=[ProcessInfo(0, 1, "here")],
        audit=[Audit(0, jobs, jobs)],
        stages=[StageSpan(name, duration_s / 2) for name in ("first", "second")],
        load_started_at=STARTED_AT,
        load_ended_at=STARTED_AT + duration_s,
        ended_at=STARTED_AT + duration_s + 5,
        ending=Ending.COMPLETE,
    )
    path.mkdir(parents=True)
    RunDirectory(path).write_run(record)
    pq.write_table(REQUESTS.empty_table(), path / "requests.parquet")
    with pq.ParquetWriter(path / "samples.parquet", SAMPLES, compression="zstd") as writer:
        intended_at = STARTED_AT + np.sort(rng.uniform(0, duration_s, jobs))
        for first in range(0, jobs, ROW_GROUP):
            writer.write_table(_rows(first, intended_at[first : first + ROW_GROUP], jobs, rng))


def _rows(first: int, intended_at: np.ndarray, jobs: int, rng: np.random.Generator) -> pa.Table:
    n = len(intended_at)
    seq = np.arange(first, first + n)
    sent_at = intended_at + rng.exponential(0.001, n)
    delay_ms, execution_ms = rng.exponential(200, n).astype(int), rng.lognormal(5, 0.3, n).astype(int)
    failed = rng.random(n) < 0.1
    columns = {
        "seq": seq,
        "process": np.zeros(n, int),
        "stage": (2 * seq) // jobs,
        "flow": np.where(rng.random(n) < 0.3, "runsync", "run"),
        "job_id": [f"{number:032x}-u1" for number in seq.tolist()],
        "worker_id": [f"worker-{number}" for number in rng.integers(0, WORKERS, n).tolist()],
        "outcome": np.where(failed, "failed", "completed"),
        "http_status": np.full(n, 200),
        "error": pa.array(np.where(failed, "CUDA out of memory", ""), mask=~failed),
        "intended_at": intended_at,
        "sent_at": sent_at,
        "accepted_at": sent_at + 0.002,
        "finished_at": sent_at + 0.01 + (delay_ms + execution_ms) / 1000,
        "delay_ms": delay_ms,
        "execution_ms": execution_ms,
        **{name: np.full(n, 3) for name in ("polls", "throttled", "faults", "request_bytes", "response_bytes")},
    }
    arrays = {name: pa.array(values).cast(SAMPLES.field(name).type) for name, values in columns.items()}
    return pa.table([arrays.get(name, pa.nulls(n, SAMPLES.field(name).type)) for name in SAMPLES.names], SAMPLES)


def main() -> None:
    """Write the run, and print time and peak memory of each step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million"
        write_run(path)
        for name, step in STEPS.items():
            command = [sys.executable, "-c", PROGRAM.format(step=step), str(path)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            print(f"{name:30}{printed}", end="")


if __name__ == "__main__":
    main()
