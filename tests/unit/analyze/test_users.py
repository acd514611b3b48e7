"""The users of a closed load in virtual time: wanted, at work, and held back by a limit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from loadtest.analyze.run_data import RunData
from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import CheckId, Users, Verdict
from loadtest.record.run import StageSpan
from loadtest.record.sample import SAMPLES
from loadtest.report.charts.load_and_latency import users_chart
from loadtest.scenario.model import Scenario
from loadtest.traffic.limit_shares import Share
from loadtest.traffic.settings import Locustfile
from tests.unit.analyze import rows
from tests.unit.drive.test_dispatcher import STARTS_AT, Process
from tests.unit.drive.virtual_clock import VirtualClock

FIVE_AT_ONCE = "100000 per 10 s, 5 at once"


def closed_run(
    stages: list[dict[str, Any]],
    limit: str = "100000 per 10 s",
    service_s: Callable[[float], float] = lambda now: 0.3,
    processes: int = 1,
    **load: Any,
) -> RunData:
    """Return a run of these users in virtual time; each process has its share of them, and of the limits."""
    asked = {"model": "closed", "stages": stages, **load}
    keys = {"limits": {"runsync": limit}, "flows": {"runsync": {}}}
    found: list[dict[str, Any]] = []
    for rank in range(processes):
        clock = VirtualClock(STARTS_AT - 1.0)
        process = Process(clock, asked, Share(rank, processes), service_s, dict(keys))
        process.start_users(-(-max(_users(stage) for stage in stages) // processes))
        clock.run()
        found += [msgspec.structs.asdict(sample) | {"process": rank} for sample in process.samples]
    scenario = Scenario.model_validate({"name": "x", "load": asked, **keys})
    duration_s = scenario.load.duration_s
    record = rows.run(
        scenario,
        stages=[StageSpan("", stage.duration) for stage in scenario.load.stages],
        offered={},
        load_started_at=STARTS_AT,
        load_ended_at=STARTS_AT + duration_s,
        ended_at=STARTS_AT + duration_s + 60,
    )
    return rows.run_data(record, pa.Table.from_pylist(found, SAMPLES))


def _users(stage: dict[str, Any]) -> int:
    return max(int(each) for each in str(stage["users"]).split(" to "))


def parts_of(data: RunData) -> tuple[dict[str, Users], bool, str]:
    summary = summarize(data)
    check = next(each for each in summary.validity.checks if each.name is CheckId.USERS_AT_WORK)
    return summary.users, check.ok, check.detail


def test_users_that_a_limit_keeps_from_work_make_the_run_invalid() -> None:
    data = closed_run([{"users": 40, "for": "60s"}], FIVE_AT_ONCE)
    users, ok, detail = parts_of(data)
    assert (users["stage 1"].wanted, users["stage 1"].at_work) == pytest.approx((40, 5), abs=0.05)
    assert users["stage 1"].held_back == pytest.approx(35, abs=0.05)
    assert not ok
    assert "5 of 40 users were at work" in detail
    assert "limits.runsync (100000 per 10 s, 5 at once)" in detail
    assert summarize(data).verdict is Verdict.INVALID


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("think", [{}, {"think": "1s"}, {"think": "1s", "think_distribution": "exponential"}])
@pytest.mark.parametrize(
    "stages",
    [
        [{"users": 12, "for": "60s"}],
        [{"users": "0 to 12", "for": "30s"}, {"users": 12, "for": "30s"}, {"users": "12 to 0", "for": "30s"}],
        [{"users": 12, "for": "20s"}, {"users": 4, "for": "20s"}, {"users": 12, "for": "20s"}],
    ],
    ids=["one stage", "ramps", "steps"],
)
def test_users_without_a_limit_are_all_at_work(
    processes: int, think: dict[str, Any], stages: list[dict[str, Any]]
) -> None:
    users, ok, detail = parts_of(closed_run(stages, processes=processes, **think))
    assert ok, detail
    assert all(part.share >= 0.99 for part in users.values()), users


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("limit", "load"),
    [
        ("100000 per 10 s, 8 at once", {}),
        ("200 per 10 s", {}),
        ("60 per 10 s", {"think": "1s", "think_distribution": "exponential"}),
        ("60 per 10 s", {"think": "1s"}),
    ],
    ids=["at once", "rate", "rate with varying think time", "rate with think time"],
)
def test_users_are_at_work_as_far_as_each_kind_of_limit_lets_them(
    limit: str, load: dict[str, Any], processes: int
) -> None:
    data = closed_run([{"users": 20, "for": "60s"}], limit, processes=processes, **load)
    users, ok, _ = parts_of(data)
    part = users["stage 1"]
    busy_s = 0.3 + (1.0 if load else 0.0)
    expected = 8.0 if "at once" in limit else int(limit.split(maxsplit=1)[0]) / 10 * busy_s
    assert part.at_work == pytest.approx(expected, rel=0.1)
    assert part.held_back == pytest.approx(20 - part.at_work)
    assert not ok


def test_only_the_stage_whose_users_were_not_reached_is_named() -> None:
    users, ok, detail = parts_of(closed_run([{"users": 4, "for": "20s"}, {"users": 10, "for": "20s"}], FIVE_AT_ONCE))
    assert not ok
    assert detail.startswith("In stage 2, 5 of 10 users")
    assert users["stage 1"].share == pytest.approx(1.0, abs=0.01)


def test_the_end_of_a_ramp_that_is_nearly_reached_is_judged_by_itself() -> None:
    limit = "100000 per 10 s, 18 at once"
    users, ok, detail = parts_of(closed_run([{"users": "0 to 20", "for": "300s"}], limit))
    assert users["stage 1"].share > 0.985
    assert not ok
    assert detail.startswith("In the end of stage 1, a ramp to 20 users, 18 of 19")


def test_users_held_back_to_the_end_have_no_row_and_still_count() -> None:
    """Each job lasts longer than the load: the users behind the limit never send one."""
    users, ok, _ = parts_of(closed_run([{"users": 40, "for": "10s"}], FIVE_AT_ONCE, lambda now: 30.0))
    assert users["stage 1"].at_work == pytest.approx(5, abs=0.05)
    assert not ok


def test_a_stage_shorter_than_its_jobs_has_its_users_at_work() -> None:
    stages = [{"users": 10, "for": "3s"}, {"users": 10, "for": "3s"}, {"users": 5, "for": "3s"}]
    users, ok, detail = parts_of(closed_run(stages, service_s=lambda now: 7.0))
    assert ok, detail
    assert [round(part.at_work, 1) for part in users.values()] == [10, 10, 5]


@pytest.mark.parametrize("service_s", [0.01, 0.3])
def test_a_target_that_stalls_holds_no_user_back(service_s: float) -> None:
    """However slow the endpoint is, a user that waits for it is at work."""
    stalls = lambda now: service_s + (20.0 if STARTS_AT + 10 < now < STARTS_AT + 12 else 0.0)  # noqa: E731
    _, ok, detail = parts_of(closed_run([{"users": 10, "for": "60s"}], service_s=stalls))
    assert ok, detail


def test_the_chart_has_the_users_over_time() -> None:
    data = closed_run([{"users": "0 to 10", "for": "20s"}, {"users": 10, "for": "20s"}], FIVE_AT_ONCE)
    users = series(data).users
    assert users is not None
    by_second = dict(zip(users.at_s, zip(users.wanted, users.at_work, users.held_back, strict=True), strict=True))
    assert by_second[4.0] == pytest.approx((2.25, 2.25, 0.0), abs=0.3)
    assert by_second[30.0] == pytest.approx((10, 5, 5), abs=0.05)
    chart = users_chart(summarize(data), series(data))
    assert chart is not None
    assert "stage 2: 10 wanted, 5 at work" in chart.alt_text


def test_an_open_load_has_neither_users_nor_the_check() -> None:
    summary = summarize(rows.run_data(rows.run(), rows.ten_jobs()))
    assert summary.users == {}
    assert CheckId.USERS_AT_WORK not in {check.name for check in summary.validity.checks}


def test_samples_of_an_older_run_name_no_users_so_nothing_is_said_of_them() -> None:
    data = closed_run([{"users": 4, "for": "10s"}])
    older = rows.run_data(data.run, rows.samples(*(rows.job(seq, seq / 2, flow="runsync") for seq in range(20))))
    summary = summarize(older)
    assert summary.users == {}
    assert CheckId.USERS_AT_WORK not in {check.name for check in summary.validity.checks}
    assert series(older).users is None


def test_pauses_of_tasks_are_work_and_a_limit_still_holds_users_back() -> None:
    tasks = Locustfile(name="tasks.py", hash="0")
    data = with_tasks(closed_run([{"users": 10, "for": "20s"}], think="9s"), tasks)
    assert parts_of(data)[1]
    assert not parts_of(with_tasks(closed_run([{"users": 10, "for": "20s"}], FIVE_AT_ONCE), tasks))[1]


def with_tasks(data: RunData, tasks: Locustfile) -> RunData:
    """Return a run as if a locustfile's tasks had made its pauses."""
    load = data.scenario.load.model_copy(update={"think": 0.0, "locustfile": tasks})
    return dataclasses.replace(data, scenario=data.scenario.model_copy(update={"load": load}))
