"""The endpoint that a run starts for itself: `loadtest serve`, which ends with the process that drives the load."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.json_values import encode_json
from loadtest.scenario.target import HandlerTarget

STOP_TIMEOUT_S = 5.0


class LocalEndpoint:
    """A `loadtest serve` that has been started, and prints its address once it listens.

    It ends when its standard input closes in every process that has it. `fds` are its standard input to close, its
    standard output to read, and the file that it writes errors to, since a full pipe that is not read would block it.
    The workers of a handler write their logs to `logs`; temporary files are in `scratch`.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        seed: int,
        handler: HandlerTarget | None = None,
        logs: Path = Path("logs"),
        scratch: Path | None = None,
    ) -> None:
        command = [sys.executable, "-P", "-m", "loadtest", "serve", "--port", "0", "--seed", str(seed)]
        if handler is not None:
            command += ["--handler", str(handler.handler), "--concurrency", str(handler.concurrency)]
            command += ["--logs", str(logs)]
        stdin, keep_open = os.pipe()
        output, stdout = os.pipe()
        with tempfile.TemporaryFile(dir=scratch) as config, tempfile.TemporaryFile(dir=scratch) as stderr:
            config.write(_yaml(settings).encode())
            config.flush()
            config.seek(0)
            command += ["--config", f"/dev/fd/{config.fileno()}", "--until-stdin-closes"]
            self._process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[config.fileno()],
                start_new_session=True,
            )
            os.close(stdin)
            os.close(stdout)
            self.fds = [keep_open, output, os.dup(stderr.fileno())]

    def __repr__(self) -> str:
        code = self._process.poll()
        return f"<LocalEndpoint {self._process.pid}: {'running' if code is None else f'ended with {code}'}>"

    def detach(self) -> None:
        """Leave the endpoint to the processes that inherited its file descriptors: it ends when they do."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def stop(self) -> None:
        """Wait until it has ended, which it does once its standard input is closed; kill it if it takes too long."""
        self.detach()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufffe\uffff]")
"""Characters that JSON allows as they are, and YAML only as an escape (YAML 1.2, section 5.1)."""


def _yaml(settings: EndpointSettings) -> str:
    text = encode_json(settings.resolved()).decode()
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
