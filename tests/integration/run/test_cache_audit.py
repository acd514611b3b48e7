"""An endpoint that answers 7 % of the repeated inputs from a cache, and a run that finds out."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import numpy as np

from tests.integration.run.conftest import LATE_IS_SOUND, Start, open_load
from tests.integration.run.openai_server import HEALTH, answer, listening

EVERY_CACHED = 14
"""One repeat of this many comes from the cache: 7 %."""


@dataclass
class CachingServer:
    """The inputs that came, how many came again, and how many of these were answered from the cache."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(6))
    met: set[str] = field(default_factory=set)
    repeats: int = 0
    cached: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
                if b"/runsync" in head:
                    answer(writer, await self._runsync(json.loads(body)["input"]))
                else:
                    answer(writer, HEALTH)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _runsync(self, prompt: str) -> dict[str, object]:
        if prompt in self.met:
            self.repeats += 1
            if self.repeats % EVERY_CACHED == 0:
                self.cached += 1
                return _completed(0)
        self.met.add(prompt)
        time_s = float(self.rng.lognormal(np.log(0.08), 0.3))
        await asyncio.sleep(time_s)
        return _completed(round(time_s * 1000))


def _completed(execution_ms: int) -> dict[str, object]:
    document = {"id": "x", "status": "COMPLETED", "output": "fine"}
    return {**document, "delayTime": 0, "executionTime": execution_ms}


def test_share_of_repeats_from_a_cache_is_found_in_a_run(start: Start) -> None:
    server = CachingServer()
    with listening(server.talk) as url:
        flows = {"runsync": {"inputs": {"template": "${uuid}"}, "repeat_every": 2}}
        scenario = open_load("120/s", "8s", flows=flows, **LATE_IS_SOUND)
        finished = start(scenario, "--target", url, "--processes", "2").finish()
    audit = finished.summary["cache_audit"]["runsync"]
    jobs = len(finished.samples)
    # Every repeat that the run counts is one that the server has met, whichever process sent it.
    assert server.repeats == audit["repeats"] + audit["too_early"] == jobs - len(server.met) > 250
    assert audit["new"] == len(server.met)
    low, high = audit["times"]["execution_ms"]["faster_share_interval"]
    assert low <= server.cached / server.repeats <= high < 0.25
    assert "runsync: " in finished.stdout
    assert "a cache answers them" in " ".join(finished.stdout.split())
    assert 'id="repeats"' in (finished.out / "report.html").read_text()
