"""What a run is told on Locust's command line, beside what Locust itself takes."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.errors import UsageError
from loadtest.record.run import COMMAND_VARIABLE
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import Schedule, draw_schedule
from loadtest.traffic.settings import OpenLoad

LOOPBACK = "127.0.0.1"


def add_options(parser: Any) -> None:
    """Add ours to Locust's parser; whatever listens does so on loopback, unless told otherwise."""
    ours = {"include_in_web_ui": False}
    parser.add_argument("--scenario", default="", help="The scenario file", **ours)
    parser.add_argument("--target", default="", help="An endpoint's whole URL, instead of the scenario's", **ours)
    parser.add_argument("--out", default="", help="The run directory, which must not be there yet", **ours)
    parser.add_argument("--seed", default="", help="Another seed than the scenario's", **ours)
    parser.add_argument(
        "--set", default=[], action="append", help="KEY=VALUE in the scenario; may be repeated", **ours
    )
    parser.add_argument("--keep", default="", help="A worker's own directory for what it records", **ours)
    parser.add_argument("--progress-fd", default="", help="File descriptor for lines of progress", **ours)
    parser.set_defaults(web_host=LOOPBACK, master_bind_host=LOOPBACK)


@dataclass(frozen=True)
class RunConfig:
    """What is to be run. `schedule` is None for a closed load; `progress_fd` where nobody listens."""

    scenario: Scenario
    schedule: Schedule | None
    out: Path | None
    progress_fd: int | None
    command: str
    processes: int = 1


def read_plan(parsed: Namespace) -> RunConfig:
    """What this process is asked to run.

    ScenarioError where the scenario does not hold, UsageError for what Locust takes and only the stages can say.
    """
    for option, value in (
        ("--run-time", parsed.run_time),
        ("--users", parsed.num_users),
        ("--spawn-rate", parsed.spawn_rate),
    ):
        if value is not None:
            raise UsageError(
                f"{option}: has no effect here; the stages of the scenario say how many and for how long"
            )
    scenario = load_scenario(
        Path(parsed.scenario),
        parsed.set,
        seed=int(parsed.seed) if parsed.seed else None,
        target=parsed.target or None,
    )
    load = scenario.load
    shares: dict[str, float] = {flow: scenario.share(flow) for flow in scenario.flows}
    return RunConfig(
        scenario,
        draw_schedule(load, shares, scenario.seed) if isinstance(load, OpenLoad) else None,
        Path(parsed.out) if parsed.out else None,
        int(parsed.progress_fd) if parsed.progress_fd else None,
        os.environ.get(COMMAND_VARIABLE) or shlex.join(sys.argv),
        max(1, parsed.expect_workers) if parsed.master else 1,
    )
