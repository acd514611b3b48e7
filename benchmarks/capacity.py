"""`make capacity`: predicts three settings from a run at a fourth, runs them, and prints the errors.

`python -m benchmarks.capacity --seeds 10` does ten such rounds, each with other seeds, and prints the errors over all
of them. Runs that exist in the directory are not repeated, so an interrupted round continues.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from benchmarks.served import LOADTEST
from loadtest.capacity.backtest.backtest import FigureCheck
from loadtest.capacity.planning.plan import BacktestReport, decode_plan
from loadtest.errors import ExitCode

SCENARIO = "scenarios/capacity.yaml"
CALIBRATION = "calibration"
_BATCHES = "load.stages=[" + 6 * "{rate: 180/s, for: 1500ms}, {rate: 1/s, for: 8500ms}, " + "]"
_BURSTS = "load.stages=[" + 6 * "{rate: 2/s, for: 2s}, {rate: 180/s, for: 2s}, {rate: 2/s, for: 16s}, " + "]"
HELD_OUT = {
    "more-workers": (_BATCHES, "endpoint.workers={active: 2, max: 8}"),
    "other-scaler": (
        _BATCHES,
        "endpoint.workers={active: 1, max: 6}",
        "endpoint.scaler={queue_delay: 500ms}",
        "endpoint.idle_timeout=3s",
    ),
    "burst": (
        _BURSTS,
        "endpoint.workers={active: 1, max: 2}",
    ),
}
SHARE, MILLISECONDS = 0.1, 20.0
"""The error that a prediction may have, if the interval of the run does not allow more."""
MEAN_SHARE = 0.05


@dataclass(frozen=True)
class Outcome:
    """One figure of one round."""

    setting: str
    figure: FigureCheck

    @property
    def holds(self) -> bool:
        """Return whether the prediction is within 10 %, or 20 ms of a delay, or its interval holds the measurement.

        Worker time must be within 10 %.
        """
        figure = self.figure
        if figure.measured is None:
            return False
        off = abs(figure.predicted.value - figure.measured)
        near = off <= SHARE * figure.measured or (figure.name.endswith("_ms") and off <= MILLISECONDS)
        return near or (bool(figure.in_interval) and figure.name != "worker_s")


def main() -> int:
    """Run the rounds; return 0 if all figures of all rounds hold, else 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="number of rounds, each with other seeds")
    parser.add_argument("--into", type=Path, metavar="DIR", help="the directory of the runs; those in it are reused")
    options = parser.parse_args()
    timestamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    into = options.into or Path("reports", f"capacity-{timestamp}")
    rounds = [one_round(into / f"round-{number}", number) for number in range(1, options.seeds + 1)]
    if len(rounds) > 1:
        _print_all(rounds)
    print(f"\nruns and {CALIBRATION}/capacity.json of each round: {into}")
    missed = [outcome for outcomes in rounds for outcome in outcomes if not outcome.holds]
    for outcome in missed:
        print(f"missed: {outcome.setting}, {outcome.figure.name}")
    return 1 if missed else 0


def one_round(directory: Path, number: int) -> list[Outcome]:
    """Calibrate, run the held-out settings, and print predicted, measured and error."""
    first_seed = 10 * number
    _run(directory / CALIBRATION, first_seed, ())
    for offset, (name, changes) in enumerate(HELD_OUT.items(), 1):
        _run(directory / name, first_seed + offset, (f"name={name}", *changes))
    checks = [option for name in HELD_OUT for option in ("--check", str(directory / name))]
    subprocess.run([*LOADTEST, "capacity", str(directory / CALIBRATION), *checks], check=True)
    written = (directory / CALIBRATION / "capacity.json").read_bytes()
    checked = decode_plan(written, BacktestReport)
    return [Outcome(check.scenario, figure) for check in checked.checks for figure in check.figures]


def _run(directory: Path, seed: int, changes: Sequence[str]) -> None:
    if (directory / "report.html").exists():
        return
    shutil.rmtree(directory, ignore_errors=True)
    print(f"running {directory}", file=sys.stderr, flush=True)
    options = [part for change in changes for part in ("--set", change)]
    command = [*LOADTEST, "run", SCENARIO, "--out", str(directory), "--seed", str(seed), *options]
    status = subprocess.run(command, stdout=subprocess.PIPE, check=False).returncode
    if status != ExitCode.PASS:
        sys.exit(f"{directory}: the run ended with exit code {status}; its report shows why")


def _print_all(rounds: Sequence[Sequence[Outcome]]) -> None:
    print(f"\n{len(rounds)} rounds      figure            mean error     smallest      largest   inside")
    for outcomes in zip(*rounds, strict=True):
        errors = [outcome.figure.error for outcome in outcomes if outcome.figure.error is not None]
        inside = sum(bool(outcome.figure.in_interval) for outcome in outcomes)
        mean = fmean(errors) if errors else float("nan")
        over = "" if abs(mean) <= MEAN_SHARE else "  more than 5 %"
        print(
            f"{outcomes[0].setting:13}{outcomes[0].figure.name:18}{mean:+10.1%}{min(errors):+13.1%}"
            f"{max(errors):+13.1%}{inside:6} of {len(outcomes)}{over}"
        )


if __name__ == "__main__":
    sys.exit(main())
