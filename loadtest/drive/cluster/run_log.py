"""The books of a run while it goes on: `run.json`, and on the lead's disk what its hands told and sent."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from socket import gethostname
from typing import Any

import gevent
import msgspec
import psutil

from loadtest.drive.cluster.membership import GeneratorState, Membership
from loadtest.drive.cluster.messages import ShardBytes
from loadtest.drive.http.client import HttpClient
from loadtest.drive.options import RunConfig
from loadtest.errors import InvalidResponse, RecordingError, RunAborted
from loadtest.flows.steps import Response
from loadtest.protocol.client_messages import decode_health
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.counter import write_count
from loadtest.record.directory import RunDirectory
from loadtest.record.run import ProcessInfo, RunRecord, StageSpan
from loadtest.record.shard_copy import append_at


class RunLog:
    """Opened with the first record of a run; RecordingError where there is no room for it.

    What the disk refuses later is told to `refused`, which is to end the run. `unrecorded` says why the books could
    not be closed.
    """

    def __init__(self, directory: RunDirectory, run: RunRecord, refused: Callable[[RecordingError], None]) -> None:
        directory.write_first_record(run)
        self.directory = directory
        self.run = run
        self.close_error: RecordingError | None = None
        self._on_write_error = refused

    def update(self, **changes: Any) -> None:
        """Change the record and put it down; RecordingError where the disk refuses."""
        self.run = msgspec.structs.replace(self.run, **changes)
        self.directory.write_run(self.run)

    def record_lost_generator(self, process: int) -> None:
        """A hand has fallen silent."""
        try:
            self.update(lost=[*self.run.lost, process])
        except RecordingError as error:
            self._on_write_error(error)

    def record_reported_count(self, process: int, sent: int) -> None:
        """A hand has told how many jobs it has sent."""
        try:
            write_count(self.directory.reported_count_path(process), sent)
        except RecordingError as error:
            self._on_write_error(error)

    def append_shard_bytes(self, process: int, copy: ShardBytes) -> int | None:
        """A hand has sent a part of a shard; how much of it is there now, None where the disk refuses."""
        try:
            return append_at(self.directory.shard_named(copy.shard, process), copy.offset, copy.content)
        except RecordingError as error:
            self._on_write_error(error)
            return None

    def close(self, **changes: Any) -> None:
        """Put down how the run ended."""
        try:
            self.update(**changes)
        except RecordingError as error:
            self.close_error = error


def process_info(generator: GeneratorState) -> ProcessInfo:
    """A hand as the record names it; one that was never asked for its time is this process itself."""
    return ProcessInfo(
        process=generator.process,
        pid=generator.pid or os.getpid(),
        host=generator.host or gethostname(),
        clock_offset_s=generator.clock_offset_s,
        clock_error_s=generator.round_trip_s / 2 if generator.clock_synced else None,
        cpu_share=generator.report.cpu_share if generator.report is not None else None,
    )


def final_fields(membership: Membership) -> dict[str, Any]:
    """What the hands said at the end, as changes to the record."""
    done = [generator.done for generator in membership.generators.values() if generator.done is not None]
    return {
        "processes": [process_info(generator) for generator in membership.generators.values() if generator.started],
        "cancelled": sum(each.cancelled for each in done),
        "left_over": sum(each.left_over for each in done),
    }


def is_running(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended and is not reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


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
        stages=[StageSpan(stage.label(n), stage.duration) for n, stage in enumerate(scenario.load.stages, 1)],
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
