"""The embedded endpoint as a child process: `loadtest serve` on a free port, for as long as its owner lives."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from loadtest.endpoint.settings import EndpointSettings
from loadtest.errors import Aborted

STOP_WITHIN_S = 5.0


class Embedded:
    """A running `loadtest serve`; its standard input is a lifeline: when this process ends, so does it."""

    def __init__(self, settings: EndpointSettings, seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "endpoint.yaml")
            config.write_bytes(msgspec.json.encode(settings.model_dump(mode="json", by_alias=True)))
            command = [sys.executable, "-m", "loadtest", "serve", "--port", "0", "--seed", str(seed)]
            self._child = subprocess.Popen(
                [*command, "--config", str(config), "--until-stdin-closes"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            assert self._child.stdout is not None
            line = self._child.stdout.readline().decode().strip()
        if not line.startswith("listening on "):
            _, said = self._child.communicate()
            raise Aborted(f"target: the embedded endpoint did not start: {said.decode().strip() or line}")
        self.url = line.removeprefix("listening on ")

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        self._child.terminate()
        try:
            self._child.communicate(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
