"""The target of a run: an endpoint that is there, or one that the run starts; checked before anything is sent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import gevent

from loadtest.clock import SleepingClock
from loadtest.drive.http.client import HttpClient
from loadtest.endpoint.settings import EndpointSettings
from loadtest.errors import RunAborted
from loadtest.flows.health import EndpointHealth
from loadtest.flows.steps import SEND_AGAIN, Response
from loadtest.protocol.json_values import encode_json
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.directory import RunDirectory
from loadtest.scenario.environment import api_key
from loadtest.scenario.model import Scenario
from loadtest.scenario.target import HandlerTarget, RemoteTarget

STOP_TIMEOUT_S = 5.0


class EmbeddedEndpoint:
    """A running `loadtest serve`, which ends with this process, since it holds its standard input.

    With a handler, whose workers write their logs to `logs`, the constructor returns once all active workers have
    asked for a job. Temporary files are in `scratch`. Raises RunAborted if the server ends before.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        seed: int,
        handler: HandlerTarget | None = None,
        logs: Path = Path("logs"),
        scratch: Path | None = None,
    ) -> None:
        # A pipe that is not read would block the endpoint once it is full. The file stays open until `stop`.
        self._stderr = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            config = Path(folder, "endpoint.yaml")
            config.write_text(_yaml(settings), encoding="utf-8")
            command = [sys.executable, "-P", "-m", "loadtest", "serve", "--port", "0", "--seed", str(seed)]
            command += ["--config", str(config), "--until-stdin-closes"]
            if handler is not None:
                command += ["--handler", str(handler.handler), "--concurrency", str(handler.concurrency)]
                command += ["--logs", str(logs)]
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
            )
            self.url = self._read_line("listening on ")
        if handler is not None:
            self._read_line("ready: ")

    def _read_line(self, prefix: str) -> str:
        """Read the next line, which must have this prefix; return the rest of it."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline().decode().strip()
        if not line.startswith(prefix):
            self._child.communicate()
            self._stderr.seek(0)
            output = self._stderr.read().decode(errors="replace").strip()
            raise RunAborted(f"target: the endpoint did not start: {output or line}")
        return line.removeprefix(prefix)

    def stop(self) -> None:
        """Stop the server, and wait until it has ended."""
        self._child.terminate()
        try:
            self._child.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
        self._stderr.close()


_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufffe\uffff]")
"""Characters that JSON allows as they are, and YAML only as an escape (YAML 1.2, section 5.1)."""


def _yaml(settings: EndpointSettings) -> str:
    text = encode_json(settings.resolved()).decode()
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@dataclass(frozen=True)
class Target:
    """The endpoint of a run, its health, and what ends the process that this run started for it."""

    url: str
    health: EndpointHealth
    close: Callable[[], object]


OpenTarget: TypeAlias = Callable[[Scenario, RunDirectory, SleepingClock], Target]


def open_target(scenario: Scenario, directory: RunDirectory, clock: SleepingClock) -> Target:
    """Return the target of a scenario, started if it is the run's own. Raises RunAborted if it does not start."""
    embedded = None
    if isinstance(scenario.target, RemoteTarget):
        url = scenario.target.url
    else:
        handler = None if scenario.target == "embedded" else scenario.target
        embedded = EmbeddedEndpoint(
            scenario.endpoint, scenario.seed, handler, directory.workers, directory.scratch.resolve()
        )
        url = embedded.url
    client = HttpClient(url, api_key(scenario, os.environ), clock)

    def close() -> None:
        client.close()
        if embedded is not None:
            embedded.stop()

    return Target(url, EndpointHealth(url, _health_request(client, clock), scenario.limit(Op.HEALTH)), close)


def _health_request(client: HttpClient, clock: SleepingClock) -> Callable[[float], Response]:
    operation = OPERATIONS[Op.HEALTH]

    def send(timeout_s: float) -> Response:
        sent_at = clock.now()
        answer: Response | None = gevent.with_timeout(
            timeout_s, client.send, operation.method, operation.path, timeout_value=None
        )
        if answer is None:
            return Response(0, b"", sent_at, clock.now(), error=f"no answer within {timeout_s:g} s")
        # The next request of the health follows soon, within its limit.
        if answer is SEND_AGAIN:
            return Response(0, b"", sent_at, clock.now(), error="the server closed the connection")
        return answer

    return send
