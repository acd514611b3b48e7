"""`python -m benchmarks.search`: searches five settings of known capacity, and runs the reported rate for 120 s.

The embedded endpoint's capacity C is its workers over their mean service. Prints C, the reported rate, the ratio, and
the verdict of the run of 120 s at it. Takes up to 20 minutes a setting, at up to 100 requests per second.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.served import LOADTEST
from loadtest.errors import ExitCode

SCENARIO = "scenarios/breakpoint.yaml"
SEARCH_S, RUN_S = 1800.0, 300.0
"""The longest that a search and the run after it may take."""


@dataclass(frozen=True)
class Setting:
    """Workers of one service time: lognormal, with this median and sigma."""

    workers: int
    median_ms: float
    sigma: float

    @property
    def capacity_per_s(self) -> float:
        """Return the workers over the mean service, which is the median times exp(sigma² / 2)."""
        return self.workers / (self.median_ms / 1000 * math.exp(self.sigma**2 / 2))

    def changes(self) -> list[str]:
        """Return the options that make the scenario this setting."""
        service = f"{{median: {self.median_ms:g}ms, sigma: {self.sigma:g}}}"
        values = (
            f"endpoint.workers={{active: {self.workers}, max: {self.workers}}}",
            f"endpoint.service={service}",
        )
        return [part for value in values for part in ("--set", value)]


SETTINGS = (
    Setting(1, 50, 0.0),
    Setting(4, 120, 0.3),
    Setting(6, 120, 0.3),
    Setting(6, 120, 0.8),
    Setting(20, 400, 0.3),
)


def main() -> None:
    """Measure the settings, and print a row of the table in benchmarks/README.md for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/search"), help="where the run directories go")
    parser.add_argument("--only", type=int, nargs="*", help="the numbers of the settings to measure, from 1")
    args = parser.parse_args()
    print("| workers | service | C | reported | ratio | 120 s at it |\n|--:|---|--:|--:|--:|---|", flush=True)
    for number, setting in enumerate(SETTINGS, 1):
        if not args.only or number in args.only:
            print(_row(setting, args.out / f"setting-{number}"), flush=True)


def _row(setting: Setting, out: Path) -> str:
    capacity_per_s = setting.capacity_per_s
    first_per_s = 0.4 * capacity_per_s
    stages = "[{name: warm-up, rate: %(r)s/s, for: 2s}, {name: measured, rate: %(r)s/s, for: 8s}]"
    load = ["--set", f"load.stages={stages % {'r': f'{first_per_s:.3g}'}}"]
    search = ["--set", f"search.max_rate={2 * capacity_per_s:.3g}/s"]
    _run([*setting.changes(), *load, *search], out / "search", SEARCH_S)
    found = json.loads((out / "search" / "search.json").read_text())
    rate_per_s = found["highest_passing_per_s"]
    head = f"| {setting.workers} | {setting.median_ms:g} ms, sigma {setting.sigma:g} | {capacity_per_s:.1f}/s "
    if rate_per_s is None:
        return f"{head}| none: {found['reason']} | – | – |"
    long = f"[{{name: warm-up, rate: {rate_per_s}/s, for: 2s}}, {{name: measured, rate: {rate_per_s}/s, for: 120s}}]"
    _run([*setting.changes(), "--set", f"load.stages={long}", "--set", "search=null"], out / "run", RUN_S)
    verdict = json.loads((out / "run" / "summary.json").read_text())["verdict"]
    return f"{head}| {rate_per_s:.1f}/s | {rate_per_s / capacity_per_s:.3f} | {verdict} |"


def _run(options: list[str], out: Path, within_s: float) -> None:
    command = [*LOADTEST, "run", SCENARIO, *options, "--out", str(out)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=within_s, check=False)
    if done.returncode not in (ExitCode.PASS, ExitCode.FAIL, ExitCode.INCONCLUSIVE, ExitCode.INVALID):
        sys.exit(f"{' '.join(command)}: {done.stderr.decode()}")


if __name__ == "__main__":
    main()
