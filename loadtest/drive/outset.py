"""The first steps of a run: its directory, its record, and a look at the target."""

from __future__ import annotations

import os
import platform
import socket
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import gevent

from loadtest.drive.engine import HttpClient
from loadtest.drive.options import RunConfig
from loadtest.errors import InvalidResponse, RunAborted
from loadtest.flows.steps import Response
from loadtest.protocol import OPERATIONS, Op
from loadtest.record.directory import RunDirectory
from loadtest.record.run import ProcessInfo, RunRecord, StageSpan
from loadtest.wire import decode_health

PREFLIGHT_TIMEOUT_S = 4.0
PACKAGES = ("loadtest", "locust", "gevent", "httptools", "numpy", "pyarrow")


def open_directory(plan: RunConfig) -> RunDirectory:
    """The run's own directory, made; by default one under reports/ with the scenario's name and the time."""
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    directory = RunDirectory(plan.out or Path("reports", f"{plan.scenario.name}-{moment}"))
    directory.create()
    return directory


def initial_run_record(plan: RunConfig, directory: RunDirectory, now: float) -> RunRecord:
    """What is known of a run before it begins; `now` in seconds since the epoch."""
    scenario = plan.scenario
    return RunRecord(
        id=directory.path.name,
        scenario=scenario.resolved(),
        scenario_hash=scenario.hash(),
        seed=scenario.seed,
        target=scenario.target_name,
        command=plan.command,
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        started_at=now,
        payloads={name: flow.payload_hash for name, flow in scenario.flows.items()},
        processes=[ProcessInfo(0, os.getpid(), socket.gethostname())],
        stages=[
            StageSpan(stage.name or f"stage {n}", stage.duration) for n, stage in enumerate(scenario.load.stages, 1)
        ],
        offered={flow: plan.schedule.per_second(flow) for flow in scenario.flows}
        if plan.schedule is not None
        else {},
    )


def preflight_check(engine: HttpClient, url: str) -> None:
    """Ask the target for its health; Aborted where it is no endpoint that would take our jobs."""
    operation = OPERATIONS[Op.HEALTH]
    answer: Response | None = gevent.with_timeout(
        PREFLIGHT_TIMEOUT_S, engine.send, operation.method, operation.path, timeout_value=None
    )
    if answer is None:
        raise RunAborted(f"target: {url} did not answer within {PREFLIGHT_TIMEOUT_S:g} s; is it up?")
    if answer.status == 0:
        raise RunAborted(f"target: {url}: {answer.error}; is it up?")
    if answer.status == 401:
        raise RunAborted(f"target: {url} refuses the key (401); set its variable to a key of this endpoint")
    if answer.status == 404:
        raise RunAborted(f"target: {url} is no endpoint (404); give the whole URL, such as …/v2/ENDPOINT_ID")
    if answer.status >= 400:
        raise RunAborted(f"target: {url} answers /health with HTTP {answer.status}; is it an endpoint?")
    try:
        decode_health(answer.body)
    except InvalidResponse as error:
        raise RunAborted(f"target: {url} answers /health with something else: {error}") from None
