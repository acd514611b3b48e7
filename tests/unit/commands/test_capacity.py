"""`loadtest capacity` on run directories whose truth is known: answers, refusals, exit codes."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from loadtest.capacity.planning.plan import BacktestReport, Plan, decode_plan
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.commands.capacity import CapacityRequest, capacity
from loadtest.errors import ExitCode, LoadtestError, UsageError
from loadtest.record.directory import RunDirectory
from loadtest.record.run import Ending
from loadtest.record.sample import HEALTH
from loadtest.scenario.model import Scenario
from tests.unit.analyze.rows import START_AT, requests, run, samples, scenario
from tests.unit.capacity.made import COLD_AND_REVIVED, bursts, flexible, table_of

STEADY = np.cumsum(np.random.default_rng(1).exponential(1.0, 300)).tolist()
WARM = {"workers": {"active": 6, "max": 6}, "service": ["1s", "2s", "3s"]}


def recorded(folder: Path, asked: Scenario, table: pa.Table, **changes: Any) -> Path:
    directory = RunDirectory(folder)
    folder.mkdir(exist_ok=True)
    directory.write_run(run(asked, **changes))
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


def unseen(folder: Path, asked: Scenario, **changes: Any) -> Path:
    """Write a run of a scenario of 300 s at 1/s, whose workers were up all the time."""
    changes = {"id": "made-2", "load_ended_at": START_AT + 300, "ended_at": START_AT + 305} | changes
    recorded(
        folder, asked, table_of(asked, np.cumsum(np.random.default_rng(2).exponential(1.0, 300)).tolist()), **changes
    )
    up = [
        {"at": START_AT + at, "initializing": 0, "idle": 0, "running": asked.endpoint.workers.max}
        for at in range(301)
    ]
    pq.write_table(pa.Table.from_pylist(up, HEALTH), folder / "health.parquet")
    return folder


LOAD = {"stages": [{"rate": "1/s", "for": "300s"}]}


def reported(
    *runs: Path, rate: str | None = "1/s", slo: str | None = "delay p95 < 2s", **options: Any
) -> tuple[int, str]:
    output = StringIO()
    efforts = {"look": SimulationBudget(3, 600), "confirm": SimulationBudget(4, 1500), "replicas": 39} | options
    status = capacity(CapacityRequest(runs, rate, slo, **efforts), Console(file=output, width=100))
    return status, output.getvalue()


def written(path: Path) -> Plan:
    return decode_plan(path.read_bytes(), Plan)


def test_the_fewest_workers_are_reported_with_one_fewer_the_cliff_and_the_cost(warm: Path) -> None:
    status, output = reported(warm)
    assert status == ExitCode.PASS
    plan = written(warm / "capacity.json")
    workers = plan.answer.prediction.setting.active
    assert plan.slo == "delay p95 < 2s"
    assert 3 <= workers <= 5
    assert f"{workers} active workers meet delay p95 < 2s at 1.00/s: ${workers * 3.6:.2f} an hour" in output
    assert plan.one_fewer is not None
    assert plan.one_fewer.prediction.setting.active == workers - 1
    assert plan.one_fewer.standing != "met"
    assert plan.highest_rate_per_s is not None
    assert plan.highest_rate_per_s > 1
    assert "At 10 % more" in output
    assert "The vendor's rule gives 2" in output or "The vendor's rule gives 3" in output
    assert output.rstrip().endswith(f"report  {warm / 'capacity.html'}")
    assert (warm / "capacity.html").read_text().startswith("<!doctype html>")
    assert "Not known: cold start time. To measure it: a scenario whose workers stop" in " ".join(output.split())


def test_named_workers_are_evaluated(warm: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    status, output = reported(warm, workers="2", out=out)
    assert status == ExitCode.PASS
    assert "2 active workers do not meet delay p95 < 2s" in output
    assert json.loads(out.read_text())["fewer"] is None


def test_workers_that_never_settle_get_no_delay(warm: Path, tmp_path: Path) -> None:
    status, output = reported(warm, workers="2", rate="3/s", out=tmp_path / "x.json")
    assert (status, json.loads((tmp_path / "x.json").read_text())["answer"]["observed"]) == (ExitCode.PASS, None)
    assert "the offered load is" in output


def test_a_delay_too_close_to_the_limit_ends_with_4(warm: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    reported(warm, workers="4", out=out)
    delay_ms = written(out).answer.prediction.delay_ms
    assert delay_ms is not None
    status, output = reported(warm, workers="4", slo=f"delay p95 < {delay_ms.p95.value:.0f}ms", out=out)
    assert status == ExitCode.INCONCLUSIVE
    assert "too close" in output


def test_flex_workers_are_searched_by_scaler_and_idle_timeout(warm: Path, cold: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    scalers = ["request count 1", "queue delay 1s"]
    status, output = reported(warm, cold, scalers=scalers, idle_timeouts=["5s", "60s"], max_workers=8, out=out)
    assert status == ExitCode.PASS
    plan = written(out)
    assert len(plan.options) >= 2
    billed = [each.prediction.billed_workers.value for each in plan.options if each.prediction.billed_workers]
    assert billed == sorted(billed)
    assert "request count 1" in output


def test_a_prediction_is_compared_with_a_run_that_it_was_not_calibrated_from(warm: Path, tmp_path: Path) -> None:
    other = unseen(tmp_path / "other", scenario(endpoint=WARM | {"workers": {"active": 3, "max": 3}}, load=LOAD))
    out = tmp_path / "x.json"
    status, output = reported(warm, rate=None, slo=None, checks=[other], out=out)
    assert status == ExitCode.PASS
    checked = decode_plan(out.read_bytes(), BacktestReport)
    assert checked.calibration.jobs == 300
    figures = {figure.name: figure for figure in checked.checks[0].figures}
    assert list(figures) == ["delay_p50_ms", "delay_p95_ms", "throughput_per_s", "worker_s"]
    assert figures["worker_s"].measured == figures["worker_s"].predicted.value == 900
    assert figures["throughput_per_s"].predicted.value == pytest.approx(1, rel=0.1)
    assert all(figure.in_interval for figure in figures.values())
    assert "made-2: 3 active workers; 300 jobs in 5 min, 39 replicas." in output
    assert "95 % of such runs" in output
    reported(warm, checks=[other], out=out)
    plan = written(out)
    assert plan.checks == checked.checks


def test_scalers_that_cannot_meet_the_objective_are_listed(cold: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    _, output = reported(cold, rate="3/s", scalers=["request count 1"], idle_timeouts=["1s"], max_workers=5, out=out)
    assert "request count 1, idle 1.00 s: not met up to 5 workers." in output
    assert [each.idle_timeout_s for each in written(out).left_out] == [1.0]


def test_a_missing_scalability_law_names_the_runs_to_add(warm: Path, tmp_path: Path) -> None:
    _, output = reported(warm, out=tmp_path / "x.json")
    assert "The scalability law (USL) needs 4 runs with 3 different numbers of workers" in " ".join(output.split())


def test_the_scalability_law_is_reported_with_its_intervals(tmp_path: Path) -> None:
    asked = scenario(endpoint=WARM | {"workers": {"active": 40, "max": 40}})
    runs = [
        recorded(tmp_path / f"{rate_per_s}", asked, table_of(asked, (np.arange(300) / rate_per_s).tolist()))
        for rate_per_s in (0.5, 1.0, 2.0, 4.0)
    ]
    _, output = reported(*runs)
    law = written(runs[-1] / "capacity.json").calibration.scalability.law
    assert law is not None
    assert law.alpha.low <= 0.01
    assert law.at_one.value == pytest.approx(0.5, rel=0.1)
    assert "By the scalability law (USL) through 4 runs contention is" in " ".join(output.split())


def test_a_run_to_calibrate_from_is_refused_as_a_check(warm: Path) -> None:
    with pytest.raises(UsageError, match="is one of the runs to calibrate from"):
        reported(warm, rate=None, slo=None, checks=[warm])


@pytest.mark.parametrize(
    ("asked", "changes", "message"),
    [
        (scenario(endpoint=COLD_AND_REVIVED, load=LOAD), {}, "no cold start was seen"),
        (scenario(load={"model": "closed", "stages": [{"users": 3, "for": "300s"}]}), {}, "closed model"),
        (scenario(endpoint=WARM, load=LOAD), {"ending": Ending.ABORTED}, "it ended before its scenario did"),
        (
            scenario(load=LOAD, target="https://api.runpod.ai/v2/x", ceilings={"jobs": 10}),
            {},
            "its endpoint is remote, so its workers are unknown; name them with --workers",
        ),
    ],
)
def test_a_run_that_cannot_be_predicted_is_refused(
    warm: Path, tmp_path: Path, asked: Scenario, changes: dict[str, Any], message: str
) -> None:
    other = unseen(tmp_path / "other", asked, **changes)
    with pytest.raises(UsageError) as error:
        reported(warm, rate=None, slo=None, checks=[other])
    assert str(error.value).startswith(f"--check {other}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": None}, "--rate and --slo: both are needed to plan"),
        ({"rate": None, "slo": None}, "give --check RUN alone"),
        ({"rate": "20"}, '--rate 20: "20" is not a rate'),
        ({"rate": "0/s"}, "no job arrives"),
        ({"slo": "delay < 2s"}, "--slo delay < 2s:"),
        ({"slo": "censored < 1 %"}, "does not depend on the number of workers"),
        ({"slo": "end-to-end p95 < 1s"}, "no number of workers meets"),
        ({"workers": "many"}, '--workers many: is not a number of workers; write it like "8"'),
        ({"workers": "8 to 2"}, "at least 1 and at least the active"),
        ({"workers": "1 to 4"}, "no cold start was seen in made-1"),
        ({"scalers": ["request count 4"]}, "no cold start was seen in made-1"),
        ({"scalers": ["fast"]}, '--scaler fast: "fast" is not a scaler'),
        ({"idle_timeouts": ["5"]}, "--idle-timeout 5:"),
        ({"arrivals": "bursty"}, "--arrivals bursty:"),
        ({"arrivals": "gamma 0"}, "--arrivals gamma 0: the CV of the gaps is above 0"),
        ({"price": 0.0}, "--price 0:"),
        ({"out": Path("/nowhere/x.json")}, "cannot be written"),
        ({"out": Path("x.html")}, "name a file that ends in .json"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_with_a_sentence(
    warm: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        reported(warm, **options)
    assert message in str(error.value)
    assert error.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("trace", None, "no such file"),
        ("trace", "1\nnoon\n", ':2: "noon" is not a time'),
        ("trace", "3\n3\n", "a trace of one moment has no rate"),
        ("profile", None, "no such file"),
        ("profile", "# nothing\n", "holds no rates; write one per line"),
        ("profile", "1\n-2\n", ':2: "-2" is not a rate'),
        ("profile", "nan\n", ':1: "nan" is not a rate'),
        ("profile", "0\n0\n", "every rate is 0"),
        ("profile", "1\n" * 1441, "1441 parts of a day"),
    ],
)
def test_a_bad_file_of_arrivals_is_refused_in_one_line_with_2(
    warm: Path, tmp_path: Path, kind: str, content: str | None, message: str
) -> None:
    file = tmp_path / "arrivals.txt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(LoadtestError) as error:
        reported(warm, arrivals=f"{kind} {file}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == ExitCode.USAGE


def test_a_trace_is_simulated(warm: Path, tmp_path: Path) -> None:
    (tmp_path / "times.txt").write_text("0\n1\n1.5\n4\n")
    out = tmp_path / "x.json"
    reported(warm, workers="6", arrivals=f"trace {tmp_path / 'times.txt'}", out=out)
    assert written(out).calibration.arrivals == "trace of 4"


def test_a_day_is_planned_for_its_peak_and_says_so(warm: Path, tmp_path: Path) -> None:
    (tmp_path / "day.txt").write_text("0\n10\n20  # noon\n10\n")
    out = tmp_path / "x.json"
    status, output = reported(warm, workers="6", arrivals=f"profile {tmp_path / 'day.txt'}", out=out)
    assert status == ExitCode.PASS
    plan, output = written(out), " ".join(output.split())
    assert plan.calibration.arrivals == "profile of 4 parts, peak 2 times the mean"
    assert plan.analytic.offered_load == pytest.approx(2 * plan.answer.prediction.offered_load)
    assert plan.answer.prediction.peak_load == pytest.approx(plan.analytic.offered_load)
    assert "By formula at the peak" in output
    assert (
        "as the average of a day; it leaves out the peak of 2 times that: at the peak they never catch up" in output
    )
    assert "peak 2 times the mean" in out.with_suffix(".html").read_text()


@pytest.mark.parametrize(
    ("outcome", "changes", "reason"),
    [
        ("completed", {"ending": Ending.ABORTED, "reason": "the cost ceiling was reached"}, "ceiling was reached"),
        ("failed", {}, "Only 100 of 300 jobs completed"),
        ("censored", {}, "unfinished"),
    ],
)
def test_a_run_that_does_not_show_what_its_jobs_take_is_used_on_request_alone(
    tmp_path: Path, outcome: str, changes: dict[str, Any], reason: str
) -> None:
    asked = scenario(endpoint=WARM, load=LOAD)
    rows = table_of(asked, STEADY).to_pylist()
    worse = [row | {"outcome": outcome} if seq % 3 else row for seq, row in enumerate(rows)]
    ends = {"load_ended_at": START_AT + 300, "ended_at": START_AT + 305}
    unsound = recorded(tmp_path, asked, samples(*worse), **ends | changes)
    with pytest.raises(UsageError) as error:
        reported(unsound)
    assert "--allow-invalid" in str(error.value)
    _, output = reported(unsound, allow_invalid=True)
    assert reason in " ".join(output.split())


def test_a_run_with_too_few_jobs_is_refused(tmp_path: Path) -> None:
    asked = scenario(endpoint=WARM)
    few = recorded(tmp_path, asked, table_of(asked, STEADY[:30]))
    with pytest.raises(UsageError, match="30 jobs were done by a worker, a calibration needs 100"):
        reported(few)


def test_an_idle_timeout_that_stops_workers_in_their_pause_is_refused(tmp_path: Path) -> None:
    asked = flexible(take_pause="1s")
    paced = recorded(tmp_path, asked, table_of(asked, bursts(80)))
    with pytest.raises(UsageError, match=r"--idle-timeout 800ms: stops workers in the pause of 1\.00 s"):
        reported(paced, idle_timeouts=["5s", "800ms"])


def test_a_plan_predicts_the_run_that_it_is_calibrated_from(warm: Path) -> None:
    status, output = reported(warm)
    [own] = written(warm / "capacity.json").backtests
    assert (status, own.missed) == (ExitCode.PASS, ())
    assert "The runs that the plan is calibrated from, as it predicts them" in output
    assert "Warning" not in output


def test_a_plan_that_does_not_predict_its_own_calibration_warns_and_ends_with_4(tmp_path: Path) -> None:
    """The delays are those of half of the workers that the scenario names."""
    true, named = (scenario(endpoint={"workers": {"active": n, "max": n}, "service": "1800ms"}) for n in (2, 4))
    folder = recorded(tmp_path / "named", named, table_of(true, STEADY))
    status, output = reported(folder)
    text = " ".join(output.split())
    assert status == ExitCode.INCONCLUSIVE
    assert "Warning: the plan does not predict its own calibration run made-1: delay p50 predicted" in text
    assert "Main cause" in text or "The cause of the error" in text
    assert "does not predict its own calibration" in (folder / "capacity.html").read_text()


def test_a_plan_says_why_it_cannot_predict_a_run_of_its_calibration(tmp_path: Path) -> None:
    elsewhere = scenario(target="https://api.runpod.ai/v2/x", ceilings={"jobs": 1000})
    folder = recorded(tmp_path / "remote", elsewhere, table_of(flexible(), bursts(80)))
    status, output = reported(folder)
    assert status == ExitCode.PASS
    assert "Not compared with a run of the calibration: remote: its workers start on demand" in " ".join(
        output.split()
    )


def test_executions_of_0_ms_take_some_time(tmp_path: Path) -> None:
    quick = scenario(endpoint={"workers": {"active": 2, "max": 2}, "service": "0s"})
    folder = recorded(tmp_path / "quick", quick, table_of(quick, STEADY))
    status, output = reported(folder, slo="delay p95 < 100ms")
    assert status == ExitCode.PASS
    assert "1 active worker meets delay p95 < 100ms" in output
    assert written(folder / "capacity.json").highest_rate_per_s == pytest.approx(1 / 0.00025, rel=0.1)
