"""`loadtest capacity` on run directories whose truth is known: what it answers, what it refuses, how it ends."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from loadtest.capacity.plan import Plan
from loadtest.capacity.predict import Effort
from loadtest.errors import ExitCode, UsageError
from loadtest.planning import CapacityRequest, capacity
from loadtest.record.directory import RunDirectory
from loadtest.scenario.model import Scenario
from tests.unit.analyze.rows import requests, run, scenario
from tests.unit.capacity.made import bursts, flexible, table_of

STEADY = np.cumsum(np.random.default_rng(1).exponential(1.0, 300)).tolist()
WARM = {"workers": {"active": 6, "max": 6}, "service": ["1s", "2s", "3s"]}


def recorded(folder: Path, asked: Scenario, table: pa.Table) -> Path:
    directory = RunDirectory(folder)
    folder.mkdir(exist_ok=True)
    directory.write_run(run(asked))
    pq.write_table(table, folder / "samples.parquet")
    pq.write_table(requests((1000, 0, "run", 200, 10, 10)), folder / "requests.parquet")
    return folder


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = scenario(endpoint=WARM, price=0.001)
    return recorded(tmp_path_factory.mktemp("warm"), asked, table_of(asked, STEADY))


@pytest.fixture(scope="session")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = flexible()
    return recorded(tmp_path_factory.mktemp("cold"), asked, table_of(asked, bursts(80)))


def told(*runs: Path, rate: str = "1/s", slo: str = "delay p95 < 2s", **options: Any) -> tuple[int, str]:
    said = StringIO()
    efforts = {"look": Effort(3, 600), "confirm": Effort(4, 1500)} | options
    status = capacity(CapacityRequest(runs, rate, slo, **efforts), Console(file=said, width=100))
    return status, said.getvalue()


def written(path: Path) -> Plan:
    return msgspec.json.decode(path.read_bytes(), type=Plan)


def test_the_least_workers_are_told_with_one_fewer_the_cliff_and_the_cost(warm: Path) -> None:
    status, said = told(warm)
    assert status == ExitCode.PASS
    plan = written(warm / "capacity.json")
    workers = plan.answer.prediction.setting.active
    assert plan.slo == "delay p95 < 2s"
    assert 3 <= workers <= 5
    assert f"{workers} active workers meet delay p95 < 2s at 1.00/s: ${workers * 3.6:.2f} an hour" in said
    assert plan.fewer is not None
    assert plan.fewer.prediction.setting.active == workers - 1
    assert plan.fewer.standing != "met"
    assert plan.highest_rate_per_s is not None
    assert plan.highest_rate_per_s > 1
    assert "At 10 % more" in said
    assert "The vendor's rule gives 2" in said or "The vendor's rule gives 3" in said
    assert said.rstrip().endswith(f"report  {warm / 'capacity.html'}")
    assert (warm / "capacity.html").read_text().startswith("<!doctype html>")
    assert "Not known: cold start time. To measure it: a scenario whose workers stop" in " ".join(said.split())


def test_workers_that_are_named_are_judged(warm: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    status, said = told(warm, workers="2", out=out)
    assert status == ExitCode.PASS
    assert "2 active workers do not meet delay p95 < 2s" in said
    assert json.loads(out.read_text())["fewer"] is None


def test_workers_that_never_settle_get_no_delay(warm: Path, tmp_path: Path) -> None:
    status, said = told(warm, workers="2", rate="3/s", out=tmp_path / "x.json")
    assert (status, json.loads((tmp_path / "x.json").read_text())["answer"]["observed"]) == (ExitCode.PASS, None)
    assert "are offered work all the time" in said


def test_what_is_too_close_to_tell_ends_with_4(warm: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    told(warm, workers="4", out=out)
    delay_ms = written(out).answer.prediction.delay_ms
    assert delay_ms is not None
    status, said = told(warm, workers="4", slo=f"delay p95 < {delay_ms.p95.value:.0f}ms", out=out)
    assert status == ExitCode.INCONCLUSIVE
    assert "too close" in said


def test_flex_workers_are_searched_by_scaler_and_idle_timeout(warm: Path, cold: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    scalers = ["request count 1", "queue delay 1s"]
    status, said = told(warm, cold, scalers=scalers, idle_timeouts=["5s", "60s"], most_workers=8, out=out)
    assert status == ExitCode.PASS
    plan = written(out)
    assert len(plan.options) >= 2
    billed = [each.prediction.billed_workers.value for each in plan.options if each.prediction.billed_workers]
    assert billed == sorted(billed)
    assert "request count 1" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": "20"}, '--rate 20: "20" is not a rate'),
        ({"rate": "0/s"}, "no job comes"),
        ({"slo": "delay < 2s"}, "--slo delay < 2s:"),
        ({"slo": "errors < 1 %"}, "does not depend on the number of workers"),
        ({"slo": "end-to-end p95 < 1s"}, "no number of workers meets"),
        ({"workers": "many"}, '--workers many: is no number of workers; write it like "8"'),
        ({"workers": "8 to 2"}, "at least as many as the active"),
        ({"workers": "1 to 4"}, "no cold start was seen in made-1"),
        ({"scalers": ["request count 4"]}, "no cold start was seen in made-1"),
        ({"scalers": ["fast"]}, "--scaler fast: is no scaler"),
        ({"idle_timeouts": ["5"]}, "--idle-timeout 5:"),
        ({"arrivals": "bursty"}, "--arrivals bursty:"),
        ({"price": 0.0}, "--price 0:"),
        ({"out": Path("/nowhere/x.json")}, "cannot be written"),
        ({"out": Path("x.html")}, "name a file that ends in .json"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence_and_no_number(warm: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as fault:
        told(warm, **options)
    assert said in str(fault.value)
    assert fault.value.exit_code == ExitCode.USAGE


def test_a_run_with_too_few_jobs_is_refused(tmp_path: Path) -> None:
    asked = scenario(endpoint=WARM)
    few = recorded(tmp_path, asked, table_of(asked, STEADY[:30]))
    with pytest.raises(UsageError, match="30 jobs were done by a worker, a calibration needs 100"):
        told(few)
