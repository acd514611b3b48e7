"""`python -m benchmarks.kill_a_generator`: kills one of four generators in the middle of a run, ten times.

One row per round: the jobs in the server's journal, the rows of the run, the difference, how many of the missing jobs
were in flight at the kill, the missing jobs by the audit, of the killed generator and of the others, and how long
before the kill the oldest missing job had ended, by the server's clock.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.served import Run, served

ROUNDS = 10
GENERATORS = 4
KILL_AFTER_S = 2.0
SCENARIO = {
    "load": {"arrivals": "poisson", "stages": [{"rate": "180/s", "for": "5s"}]},
    "flows": {"run": {"polling": {"every": "200ms"}}, "runsync": {}},
}
ENDPOINT = {"workers": {"active": 100, "max": 100}, "service": "50ms"}
HEAD = ("round", "sent", "rows", "missing", "in flight", "audit: killed", "others", "oldest (s)", "exit")


def main() -> None:
    """Kill generators, and print how many jobs are missing."""
    print("".join(f"{title:>15}" for title in HEAD), flush=True)
    for number in range(1, ROUNDS + 1):
        with tempfile.TemporaryDirectory() as name:
            row = (number, *one_round(Path(name), number % GENERATORS))
        print("".join(f"{value:>15}" for value in row), flush=True)


def one_round(directory: Path, victim: int) -> tuple[int | str, ...]:
    """Run once, kill the generator with this index, and return the row."""
    with served(directory, ENDPOINT) as target:
        run = Run(directory, SCENARIO, target.url, "--processes", str(GENERATORS))
        run.wait_until_sending(GENERATORS)
        time.sleep(KILL_AFTER_S)
        killed = run.generators()[victim]
        killed.kill()
        killed_at = time.time()
        status = run.wait()
    jobs, rows, record = target.jobs(), run.rows(), run.record()
    without_row = [jobs[job] for job in jobs.keys() - {row["job_id"] for row in rows}]
    ended_at = [job["finished_at"] for job in without_row if job["finished_at"] and job["finished_at"] < killed_at]
    process = next(info["process"] for info in record["processes"] if info["pid"] == killed.pid)
    missing = {info["process"]: info["sent"] - info["recorded"] for info in record["audit"]}
    oldest = f"{killed_at - min(ended_at, default=killed_at):.2f}"
    of_others = sum(count for number, count in missing.items() if number != process)
    in_flight = len(without_row) - len(ended_at)
    return len(jobs), len(rows), len(without_row), in_flight, missing[process], of_others, oldest, status


if __name__ == "__main__":
    main()
