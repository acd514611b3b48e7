"""`python -m benchmarks.kill_a_worker`: kills one of four sending processes in the middle of a run, ten times.

A row a round: the jobs that the server's journal has, the rows of the run, the difference, how many of those
the client had not seen end at the kill, what the audit says of the killed process and of the others, and how
long before the kill the oldest job had ended, by the server's clock, of which there is no row.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.served import Run, served

ROUNDS = 10
PROCESSES = 4
AFTER_S = 2.0
SCENARIO = {
    "load": {"arrivals": "poisson", "stages": [{"rate": "180/s", "for": "5s"}]},
    "flows": {"run": {"polling": {"every": "200ms"}}, "runsync": {}},
}
ENDPOINT = {"workers": {"active": 100, "max": 100}, "service": "50ms"}
HEAD = ("round", "sent", "rows", "missing", "in flight", "audit: killed", "others", "oldest (s)", "exit")


def main() -> None:
    """Kill, and print what is missing."""
    print("".join(f"{title:>15}" for title in HEAD), flush=True)
    for number in range(1, ROUNDS + 1):
        with tempfile.TemporaryDirectory() as name:
            row = (number, *one_round(Path(name), number % PROCESSES))
        print("".join(f"{value:>15}" for value in row), flush=True)


def one_round(directory: Path, victim: int) -> tuple[int | str, ...]:
    """One run, in which the process of this rank is killed."""
    with served(directory, ENDPOINT) as target:
        run = Run(directory, SCENARIO, target.url, "--processes", str(PROCESSES))
        run.sending(PROCESSES)
        time.sleep(AFTER_S)
        killed = run.generators()[victim]
        killed.kill()
        killed_at = time.time()
        status = run.wait()
    jobs, rows, record = target.jobs(), run.rows(), run.record()
    without_row = [jobs[job] for job in jobs.keys() - {row["job_id"] for row in rows}]
    ended_at = [job["finished_at"] for job in without_row if job["finished_at"] and job["finished_at"] < killed_at]
    process = next(each["process"] for each in record["processes"] if each["pid"] == killed.pid)
    lacking = {each["process"]: each["sent"] - each["recorded"] for each in record["audit"]}
    oldest = f"{killed_at - min(ended_at, default=killed_at):.2f}"
    of_others = sum(count for each, count in lacking.items() if each != process)
    in_flight = len(without_row) - len(ended_at)
    return len(jobs), len(rows), len(without_row), in_flight, lacking[process], of_others, oldest, status


if __name__ == "__main__":
    main()
