"""The options that a run adds to Locust's command line, and the run that they describe."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.errors import UsageError
from loadtest.process import tell
from loadtest.protocol.addresses import LOOPBACK
from loadtest.record.directory import RunDirectory, create_run
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.model import Scenario
from loadtest.scenario.telemetry import MetricsConfig, metrics_config

SMOKE = Path("scenarios", "smoke.yaml")
"""The scenario of a run for which none is named, if the command is called in a checkout."""


def add_options(parser: Any) -> None:
    """Add the options of a run to Locust's parser; servers listen on loopback unless the user names an address."""
    ours = {"include_in_web_ui": False}
    parser.add_argument("--scenario", default="", help="The scenario file", **ours)
    parser.add_argument(
        "--target",
        default="",
        env_var="LOADTEST_TARGET",
        help="An endpoint's whole URL, instead of the scenario's",
        **ours,
    )
    parser.add_argument(
        "--key-variable", default="", help="The environment variable that holds the target's key", **ours
    )
    parser.add_argument("--out", default="", help="The run directory, which must not exist yet", **ours)
    parser.add_argument("--seed", default="", help="Another seed than the scenario's", **ours)
    parser.add_argument(
        "--set", default=[], action="append", help="KEY=VALUE in the scenario; may be repeated", **ours
    )
    parser.add_argument("--run", default="", help="A run directory that `loadtest run` has made", **ours)
    parser.add_argument("--token", default="", help="The token of that run", **ours)
    parser.add_argument("--keep", default="", help="A worker's own directory for what it records", **ours)
    parser.add_argument("--endpoint-fds", default="", help="File descriptors of the run's local endpoint", **ours)
    parser.add_argument("--metrics", default="", help="ADDR[:PORT] to serve metrics for Prometheus on", **ours)
    parser.add_argument("--progress-fd", default="", help="File descriptor for lines of progress", **ours)
    parser.set_defaults(web_host=LOOPBACK, master_bind_host=LOOPBACK)


@dataclass(frozen=True)
class RunConfig:
    """The run that this process starts. `open_directory` returns the run's directory, with its first `run.json`.

    `progress_fd` is None if no process reads the progress, `endpoint_fds` empty if no other process has started the
    endpoint of the run.
    """

    scenario: Scenario
    open_directory: Callable[[], RunDirectory]
    progress_fd: int | None = None
    processes: int = 1
    metrics: MetricsConfig | None = None
    endpoint_fds: tuple[int, ...] = ()


def task_config(parsed: Namespace, scenario: Scenario) -> RunConfig:
    """Return the run of a locustfile's tasks, whose scenario was made of the options."""
    # Locust itself would end the run then, without waiting for jobs.
    parsed.run_time = None
    return RunConfig(scenario, _opener(parsed, scenario), None, _processes(parsed), _metrics(parsed))


def read_config(parsed: Namespace) -> RunConfig:
    """Return the run that the options describe: the scenario of a run directory, or of a file and its overrides.

    Raises ScenarioError if the scenario is not valid, UsageError for options of Locust that only the stages can set.
    """
    if parsed.key_variable:
        raise UsageError("--key-variable: is for a locustfile of your own; write target.key_variable in the scenario")
    for option, value in (
        ("--run-time", parsed.run_time),
        ("--users", parsed.num_users),
        ("--spawn-rate", parsed.spawn_rate),
    ):
        if value is not None:
            raise UsageError(
                f"{option}: has no effect here; the stages of the scenario say how many and for how long"
            )
    scenario, open_directory = _created_run(parsed) if parsed.run else _new_run(parsed)
    return RunConfig(
        scenario,
        open_directory,
        int(parsed.progress_fd) if parsed.progress_fd else None,
        _processes(parsed),
        _metrics(parsed),
        tuple(int(fd) for fd in parsed.endpoint_fds.split(",") if fd),
    )


def _metrics(parsed: Namespace) -> MetricsConfig | None:
    config, note = metrics_config(parsed.metrics, os.environ)
    if note and not parsed.progress_fd:  # else the command that started this process has printed it
        tell(f"note: {note}")
    return config


def _processes(parsed: Namespace) -> int:
    return max(1, parsed.expect_workers) if parsed.master else 1


def _created_run(parsed: Namespace) -> tuple[Scenario, Callable[[], RunDirectory]]:
    """Return a run whose directory was made for it; only the process that made it knows its token."""
    if not parsed.token:
        raise UsageError("--run: is for `loadtest run` alone; name a scenario with --scenario")
    directory = RunDirectory(Path(parsed.run), parsed.token)
    return Scenario.model_validate(directory.read_run().scenario), lambda: directory


def _new_run(parsed: Namespace) -> tuple[Scenario, Callable[[], RunDirectory]]:
    if not parsed.scenario and not SMOKE.exists():
        raise UsageError("--scenario: is not given; name the scenario's file, as in --scenario scenarios/steady.yaml")
    scenario = load_scenario(
        Path(parsed.scenario) if parsed.scenario else SMOKE,
        parsed.set,
        seed=_whole_number("--seed", parsed.seed) if parsed.seed else None,
        target=parsed.target or None,
    )
    return scenario, _opener(parsed, scenario)


def _opener(parsed: Namespace, scenario: Scenario) -> Callable[[], RunDirectory]:
    """Return a function that makes the directory of a new run."""
    out = Path(parsed.out) if parsed.out else None
    return lambda: create_run(scenario, out, shlex.join(sys.argv))


def _whole_number(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f'{option}: "{text}" is not a whole number; write it like "7"') from None
