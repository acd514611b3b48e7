"""`loadtest init --probe` against a running endpoint: one job, and a scenario that fits it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from loadtest.scenario.loading.load import load_scenario
from tests.integration.conftest import Serve
from tests.integration.processes import LoadtestProcess
from tests.integration.run.conftest import WITHIN_S


def test_one_job_fills_in_the_rate_and_the_times_of_the_starter(tmp_path: Path, serve: Serve) -> None:
    server = serve({"workers": {"active": 1, "max": 1}, "service": "300ms"})
    options = ["--target", server.url, "--input", json.dumps({"steps": 3}), "--probe", "--ci", "none"]
    begun = LoadtestProcess(tmp_path, os.environ, "init", str(tmp_path / "mine"), *options)
    assert begun.wait(WITHIN_S) == 0, begun.stderr
    assert re.search(r"^probe  \d+ ms delay, 3\d\d ms execution, ", begun.stdout, re.MULTILINE)
    path = tmp_path / "mine" / "loadtest.yaml"
    scenario = load_scenario(path)
    assert [stage.rate.start for stage in scenario.load.stages] == pytest.approx([1.65, 1.65], abs=0.06)  # type: ignore[union-attr]
    assert scenario.flows["run"].input == {"steps": 3}
    assert "# Rate and times come from one job, of " in path.read_text()
    assert len(server.jobs()) == 1
