"""The embedded endpoint as a child process: `loadtest serve` on a free port, for as long as its owner lives."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtest.endpoint.settings import EndpointSettings
from loadtest.errors import RunAborted
from loadtest.scenario.target import HandlerTarget

STOP_WITHIN_S = 5.0


@dataclass(frozen=True)
class HandlerSpec:
    """A handler that real workers are to run, and the folder for their logs."""

    target: HandlerTarget
    logs: Path

    @property
    def options(self) -> list[str]:
        """The options of `loadtest serve` that ask for it."""
        concurrency = str(self.target.concurrency)
        return ["--handler", str(self.target.handler), "--concurrency", concurrency, "--logs", str(self.logs)]


class EmbeddedEndpoint:
    """A running `loadtest serve`; its standard input is a lifeline: when this process ends, so does it.

    With `work` it is there once all active workers have asked for a job. Aborted where it ends before.
    """

    def __init__(self, settings: EndpointSettings, seed: int, work: HandlerSpec | None = None) -> None:
        # A pipe that nobody reads would hold the endpoint up once it is full. The file is open until `stop`, which no
        # block of code spans.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "endpoint.yaml")
            config.write_text(_yaml(settings), encoding="utf-8")
            command = [sys.executable, "-P", "-m", "loadtest", "serve", "--port", "0", "--seed", str(seed)]
            command += ["--config", str(config), "--until-stdin-closes", *(work.options if work else ())]
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
            )
            self.url = self._line("listening on ")
        if work is not None:
            self._line("ready: ")

    def _line(self, beginning: str) -> str:
        """The rest of the next line that it prints, which is to begin like this."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline().decode().strip()
        if not line.startswith(beginning):
            self._child.communicate()
            self._stderr.seek(0)
            said = self._stderr.read().decode(errors="replace").strip()
            raise RunAborted(f"target: the endpoint did not start: {said or line}")
        return line.removeprefix(beginning)

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        self._child.terminate()
        try:
            self._child.communicate(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
        self._stderr.close()


_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufffe\uffff]")
"""What a text in JSON may hold as it is, and YAML only as an escape (YAML 1.2, section 5.1)."""


def _yaml(settings: EndpointSettings) -> str:
    text = msgspec.json.encode(settings.model_dump(mode="json", by_alias=True)).decode()
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
