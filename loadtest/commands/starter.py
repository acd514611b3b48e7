"""The files that `loadtest init` writes: a commented scenario, a .gitignore, and a file for CI. Text in, text out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from pathlib import Path
from typing import Any

from loadtest.scenario.target import is_loopback
from loadtest.units import per_second_text, seconds_text

SCENARIO = "loadtest.yaml"
JOBS_FOR_P95 = 120
"""A p95 needs at least 90 jobs; random arrivals may be some fewer."""
FEWEST_JOBS = 20
LONGEST_STAGE_S = 600
"""A first measurement takes ten minutes, even with too few jobs for a p95, or as long as FEWEST_JOBS take."""
SDK_RATE_PER_S = 0.8
"""A real worker of the vendor's SDK takes a job a second."""
MAX_REMOTE_RATE_PER_S = 5.0
_LADDER_S = (0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
EMBEDDED_WORKERS, HANDLER_WORKERS = 4, 2


class Kind(StrEnum):
    """The kinds of targets."""

    EMBEDDED = "embedded"
    HANDLER = "handler"
    URL = "url"


class Ci(StrEnum):
    """The systems for CI that get a file."""

    GITHUB = "github"
    GITLAB = "gitlab"
    NONE = "none"


@dataclass(frozen=True)
class Measured:
    """The times of one job, in seconds."""

    delay_s: float
    execution_s: float
    end_to_end_s: float


@dataclass(frozen=True)
class Start:
    """The answers to what a starter scenario needs; `target` is a URL, a handler's path, or empty."""

    kind: Kind
    target: str
    input: Any
    price: float
    measured: Measured | None = None


def scenario_text(start: Start) -> str:
    """Return the scenario."""
    rate_per_s = _rate_per_s(start)
    duration_s = max(30, min(LONGEST_STAGE_S, _span_s(JOBS_FOR_P95, rate_per_s)), _span_s(FEWEST_JOBS, rate_per_s))
    jobs = round(rate_per_s * duration_s)
    end_to_end_s = 1.0 if start.measured is None else start.measured.end_to_end_s
    rate, percentile = per_second_text(rate_per_s), "p95" if jobs >= JOBS_FOR_P95 else "p50"
    timeout, within = _ladder(max(30.0, 5 * end_to_end_s)), _ladder(max(10.0, 3 * end_to_end_s))
    lines = [
        _line("question: Does the endpoint answer in time?", "printed above the report"),
        _target(start),
        _line("seed: 1", "the same seed sends the same jobs at the same times"),
        "",
        *_origin(start),
        "load:",
        _line("  arrivals: poisson", "at random moments, as from independent callers"),
        "  stages:",
        _line("    - name: warm-up", "left out of gates on times"),
        f"      rate: {rate}",
        "      for: 10s",
        _line("    - name: measured", f"about {jobs} jobs"),
        f"      rate: {rate}",
        f"      for: {duration_s}s",
        "",
        _line("flows:", "how jobs are driven; also runsync, stream, webhook, openai"),
        "  run:",
        _line(f"    input: {json.dumps(start.input, ensure_ascii=False)}", "what your handler expects"),
        f"    polling: {{every: {_ladder(end_to_end_s / 10, most_s=1)}}}",
        "",
        _line("gates:", "what must hold for the run to pass"),
        f"  - end-to-end {percentile} < {_ladder(3 * end_to_end_s)} during measured",
        f"  - errors < {5 if jobs >= JOBS_FOR_P95 else 50} %",
        "",
        _line(f"job_timeout: {timeout}", "then a job is given up"),
        _line(f"drain: {{within: {within}}}", "how long unfinished jobs are waited for at the end"),
        "",
        *(_costs(start, jobs) if start.kind is Kind.URL else _endpoint(start)),
        "",
    ]
    return "\n".join(lines)


def _span_s(jobs: int, rate_per_s: float) -> int:
    return 10 * ceil(jobs / rate_per_s / 10)


def _line(text: str, comment: str) -> str:
    return f"{text:29} # {comment}"


def ignored(existing: str) -> str | None:
    """Return a .gitignore that leaves out run directories but not baselines; None if it does already."""
    if "reports/" in existing or "reports/*" in existing.split():
        return None
    separator = "" if not existing or existing.endswith("\n") else "\n"
    return f"{existing}{separator}reports/*\n!reports/baselines/\n"


def ci_file(ci: Ci, scenario: Path, start: Start) -> tuple[Path, str]:
    """Return the path, from the top of the repository, and the content of the file for CI."""
    secret = start.kind is Kind.URL
    packages = '"$LOADTEST" runpod' if start.kind is Kind.HANDLER else '"$LOADTEST"'
    if ci is Ci.GITHUB:
        return Path(".github/workflows/load-test.yml"), _github(scenario, packages, secret)
    return Path(".gitlab-ci.yml"), _gitlab(scenario, packages, secret)


def _rate_per_s(start: Start) -> float:
    """Return half of what one worker does, two digits of it; without a measurement a rate that most can do."""
    if start.measured is None:
        return {Kind.EMBEDDED: 10.0, Kind.HANDLER: 1.0, Kind.URL: 1.0}[start.kind]
    workers = EMBEDDED_WORKERS if start.kind is Kind.EMBEDDED else 1
    most = {Kind.EMBEDDED: 10.0, Kind.HANDLER: SDK_RATE_PER_S, Kind.URL: MAX_REMOTE_RATE_PER_S}[start.kind]
    return float(f"{min(most, workers / 2 / max(0.001, start.measured.execution_s)):.2g}")


def _origin(start: Start) -> list[str]:
    if start.measured is None:
        return []
    delay_ms, execution_ms = round(1000 * start.measured.delay_s), round(1000 * start.measured.execution_s)
    return [f"# Rate and times come from one job, of {delay_ms} ms delay and {execution_ms} ms execution."]


def _target(start: Start) -> str:
    if start.kind is Kind.EMBEDDED:
        return _line("target: embedded", "an endpoint on this machine, started for the run")
    if start.kind is Kind.HANDLER:
        target = f"target: {{handler: {json.dumps(start.target)}}}"
        return _line(target, "run by real workers of the vendor's SDK on this machine")
    variable = "LOADTEST_API_KEY" if is_loopback(start.target) else "RUNPOD_API_KEY"
    return _line(f"target: {start.target}", f"its key is read from {variable}")


def _costs(start: Start, jobs: int) -> list[str]:
    execution_s = 2.0 if start.measured is None else start.measured.execution_s
    cost = max(0.1, ceil(300 * jobs * execution_s * start.price) / 100)
    return [
        _line(f"price: {start.price!r}", "US dollars per worker-second of your endpoint"),
        _line(f"ceilings: {{jobs: {2 * jobs + 20}, cost: {cost:g}}}", "the run sends and costs no more"),
    ]


def _endpoint(start: Start) -> list[str]:
    if start.kind is Kind.HANDLER:
        return [
            _line("endpoint:", "how many workers run your handler"),
            f"  workers: {{active: {HANDLER_WORKERS}, max: {HANDLER_WORKERS}}}",
        ]
    return [
        _line("endpoint:", "settings of the embedded endpoint"),
        f"  workers: {{active: {EMBEDDED_WORKERS}, max: {EMBEDDED_WORKERS}}}",
        "  service: {median: 200ms, sigma: 0.3}",
    ]


def _ladder(least_s: float, most_s: float = _LADDER_S[-1]) -> str:
    """Return the next round time that is at least this long."""
    return seconds_text(float(min(most_s, next((step for step in _LADDER_S if step >= least_s), _LADDER_S[-1]))))


def _github(scenario: Path, packages: str, secret: bool) -> str:
    key = '\n        env: {RUNPOD_API_KEY: "${{ secrets.RUNPOD_API_KEY }}"}' if secret else ""
    return f"""\
name: load test
on: [push]
jobs:
  gate:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {{python-version: "3.12"}}
      # LOADTEST is a variable of the repository: a wheel's URL, or git+https://… of the sources.
      - run: python -m pip install {packages}
        env: {{LOADTEST: "${{{{ vars.LOADTEST }}}}"}}
      - run: loadtest run {scenario} --out reports/gate{key}
      - if: ${{{{ !cancelled() }}}}
        run: loadtest gate reports/gate --junit junit.xml
      - if: ${{{{ !cancelled() }}}}
        uses: actions/upload-artifact@v4
        with: {{name: load-test, path: reports/gate}}
"""


def _gitlab(scenario: Path, packages: str, secret: bool) -> str:
    key = "  # Store the endpoint's key as a masked variable RUNPOD_API_KEY.\n" if secret else ""
    return f"""\
load-test:
  image: python:3.12
{key}  # LOADTEST is a variable of the project: a wheel's URL, or git+https://… of the sources.
  script:
    - python -m pip install {packages}
    - loadtest run {scenario} --out reports/gate
  artifacts:
    when: always
    paths: [reports/gate]
    reports: {{junit: reports/gate/gate.xml}}
"""
