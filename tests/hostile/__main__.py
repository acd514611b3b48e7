"""`python -m tests.hostile [--seed N] [--virtual 300] [--real 30] [--only virtual/17]`: a hostile hour in minutes.

Runs that many plans, drawn from the seed, in virtual time and with real processes against an endpoint of its own
that counts what it takes. Prints how often each fault was met, and for each violated invariant how to repeat that
one run; then it ends with 1. `--million` sends a million jobs instead, and prints the memory of the process.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.evidence import Evidence
from tests.hostile.invariants import violations
from tests.hostile.plan import Plan, draw_plan
from tests.hostile.real import run_real
from tests.hostile.virtual import run_virtual

PROGRESS_EVERY = 25


@dataclass(frozen=True)
class Result:
    """What one run has shown: the violations, the faults met, the jobs taken, the seconds that it took."""

    label: str
    plan: Plan
    violations: list[str]
    met: Counter[str]
    jobs: int
    took_s: float


def run_one(seed: int, label: str) -> Result:
    """Run one plan, by its label such as `virtual/17`, and check what it leaves."""
    kind, _, number = label.partition("/")
    plan = draw_plan(seed, int(number), real=kind == "real")
    began_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        try:
            evidence: Evidence = (run_real if kind == "real" else run_virtual)(plan, Path(folder))
            found = violations(evidence)
        except Exception:
            return Result(
                label, plan, [f"hostile: {traceback.format_exc()}"], Counter(), 0, time.monotonic() - began_at
            )
    ledger = evidence.ledger
    return Result(label, plan, found, ledger.met, len(ledger.jobs), time.monotonic() - began_at)


def run_all(seed: int, virtual: int, real: int, at_once: int) -> Iterator[Result]:
    """Run the virtual plans one by one, then the real ones, some at once."""
    yield from (run_one(seed, f"virtual/{number}") for number in range(virtual))
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(lambda number: run_one(seed, f"real/{number}"), range(real))


def main() -> int:
    """Run what the options ask for; return the exit code."""
    options = _options()
    # A shell lets what runs in the background ignore them, and the processes of the runs would inherit that.
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # Each violation is reported below; the tracebacks of greenlets would hide them.
    logging.disable(logging.CRITICAL)
    if options.million:
        from tests.hostile.million import run_million

        return run_million(options.jobs)
    began_at, met, violated, jobs, bad = time.monotonic(), Counter[str](), Counter[str](), 0, 0
    labels = [options.only] if options.only else []
    results = (
        (run_one(options.seed, label) for label in labels)
        if labels
        else run_all(options.seed, options.virtual, options.real, options.at_once)
    )
    count = 0
    for count, result in enumerate(results, 1):
        met, jobs = met + result.met, jobs + result.jobs
        bad += bool(result.violations)
        violated.update({text.partition(":")[0] for text in result.violations})
        _print_result(result, options.seed, verbose=bool(labels))
        if count % PROGRESS_EVERY == 0:
            print(
                f"{count} runs, {jobs} jobs, {bad} with violations, {time.monotonic() - began_at:.0f} s", flush=True
            )
    _print_met(met)
    took_s = time.monotonic() - began_at
    for name, runs in violated.most_common():
        print(f"violated in {runs} runs: {name}")
    print(f"seed {options.seed}: {count} runs with {jobs} jobs in {took_s:.0f} s, {bad} violate an invariant")
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--virtual", type=int, default=300, help="how many runs in virtual time")
    parser.add_argument("--real", type=int, default=30, help="how many runs with real processes")
    parser.add_argument("--at-once", type=int, default=2, help="how many real runs at once")
    parser.add_argument("--only", metavar="KIND/NUMBER", help="repeat one run, such as virtual/17")
    parser.add_argument("--million", action="store_true", help="send --jobs jobs, and print the memory")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    return parser.parse_args()


def _print_result(result: Result, seed: int, verbose: bool) -> None:
    if verbose:
        print(f"{result.label}: {result.plan}\n{result.plan.scenario}\n{result.plan.behaviour}")
        _print_met(result.met)
    if result.violations:
        print(
            f"{result.label}: {result.plan}; repeat with: python -m tests.hostile --seed {seed} --only {result.label}"
        )
        for text in result.violations:
            print(f"    {text}", flush=True)


def _print_met(met: Counter[str]) -> None:
    """Print how often each misbehaviour was met, in columns."""
    cells = [f"{name} {count}" for name, count in sorted(met.items())]
    for start in range(0, len(cells), 4):
        print("  " + "".join(f"{cell:<32}" for cell in cells[start : start + 4]).rstrip())


if __name__ == "__main__":
    sys.exit(main())
