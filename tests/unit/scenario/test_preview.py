"""What `check` shows: the very schedule, its fullest interval, duration, polls, cost, and warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.protocol.operations import Op
from loadtest.report.terminal.preview import WIDTH, preview_lines
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.model import Flow, Scenario
from loadtest.scenario.preview import polls_of, preview
from loadtest.scenario.warnings import warnings
from loadtest.traffic.arrivals import draw_schedule
from loadtest.traffic.settings import OpenLoad

SCENARIOS = sorted((Path(__file__).parents[3] / "scenarios").glob("*.yaml"))


def scenario(arrivals: Any = "constant", rate: str = "20/s", length: str = "60s", **more: Any) -> Scenario:
    load = {"arrivals": arrivals, "stages": [{"rate": rate, "for": length}]}
    return Scenario.model_validate({"name": "x", "load": load, **more})


def users(count: int, think: str = "1s", **more: Any) -> Scenario:
    load = {"model": "closed", "think": think, "stages": [{"users": count, "for": "60s"}]}
    return Scenario.model_validate({"name": "x", "load": load, **more})


def test_constant_arrivals_are_counted_exactly() -> None:
    previewed = preview(scenario(flows={"run": {"weight": 3}, "runsync": {}}, price=0.001))
    assert previewed.jobs == 1200
    assert sum(flow.jobs or 0 for flow in previewed.flows) == 1200
    assert [stage.jobs for stage in previewed.stages] == [1200]
    assert previewed.peak_per_s == 20
    assert (previewed.cancels_at_most, previewed.cancelling_s) == (1200, 110), "100 at once, then 100 each 10 s"
    assert previewed.longest_s == 60 + 30 + 110
    assert previewed.service_s == 0.2
    assert previewed.cost == pytest.approx(1200 * 0.2 * 0.001)
    assert [(each.op, each.limit and each.limit.requests) for each in previewed.operations] == [
        (Op.RUN, 1000),
        (Op.RUNSYNC, 2000),
    ]


def test_it_is_the_very_schedule_that_the_seed_gives() -> None:
    asked = scenario("poisson", seed=5)
    assert isinstance(asked.load, OpenLoad)
    drawn = draw_schedule(asked.load, {"run": 1.0}, 5)
    counts = [int(((drawn.at_s >= at) & (drawn.at_s < at + 10)).sum()) for at in drawn.at_s]
    previewed = preview(asked)
    assert previewed.jobs == len(drawn)
    assert previewed.operations[0].peak == max(counts)
    assert previewed.schedule == preview(scenario("poisson", seed=5)).schedule
    assert previewed.schedule != preview(scenario("poisson", seed=6)).schedule


def test_ten_seconds_over_the_limit_are_a_doubt_and_say_by_how_many() -> None:
    at_the_limit = preview(scenario("poisson", "100/s", endpoint={"workers": {"active": 99, "max": 99}}))
    peak = at_the_limit.operations[0].peak or 0
    assert peak > 1000
    assert any(
        warning.startswith(f"{peak} jobs fall into the fullest 10s of /run, {peak - 1000} more")
        for warning in warnings(at_the_limit)
    )
    assert warnings(preview(scenario("constant", "100/s", endpoint={"workers": {"active": 99, "max": 99}}))) == []


@pytest.mark.parametrize(
    ("polling", "service_s", "polls"),
    [
        ({"policy": "fixed", "every": "200ms"}, 0.1, 1),
        ({"policy": "fixed", "every": "200ms"}, 0.9, 5),
        ({"policy": "shared", "every": "1s"}, 2.5, 3),
        ({"policy": "backoff", "every": "1s", "factor": 2, "max_interval": "4s"}, 10.5, 4),
    ],
)
def test_polls_are_counted_until_the_job_has_ended(polling: Any, service_s: float, polls: int) -> None:
    assert polls_of("run", Flow.model_validate({"polling": polling}), service_s) == polls


def test_runsync_asks_only_once_its_wait_is_over() -> None:
    flow = Flow.model_validate({"wait": "1s", "polling": {"policy": "fixed", "every": "1s"}})
    assert polls_of("runsync", flow, 0.9) == 0
    assert polls_of("runsync", flow, 2.5) == 2
    assert polls_of("stream", flow, 2.5) is None


@given(st.floats(0.001, 100), st.floats(0.001, 10))
def test_fixed_polls_reach_the_jobs_end_and_not_one_more(service_s: float, every_s: float) -> None:
    flow = Flow.model_validate({"polling": {"policy": "fixed", "every": f"{every_s:.6f}s"}})
    polls = polls_of("run", flow, service_s)
    assert polls is not None
    assert (polls - 1) * flow.polling.every < service_s + 1e-6
    assert polls * flow.polling.every >= service_s - 1e-6


def test_the_mean_of_a_spread_counts_not_its_median() -> None:
    log_normal = scenario(endpoint={"service": {"median": "1s", "sigma": 1}})
    assert preview(log_normal).service_s == pytest.approx(np.exp(0.5))
    assert preview(scenario(endpoint={"service": ["1s", "2s", "6s"]})).service_s == pytest.approx(3)
    chunks = {"count": 11, "first": "500ms", "gap": "100ms"}
    assert preview(scenario(endpoint={"chunks": chunks})).service_s == pytest.approx(1.5)
    llm = {"overhead": "500ms", "decode": "100ms", "output_tokens": [1, 21]}
    assert preview(scenario(endpoint={"llm": llm})).service_s == pytest.approx(1.5)


def test_of_another_target_neither_service_nor_cost_is_known() -> None:
    previewed = preview(scenario(target="http://localhost:1/v2/x", price=0.001))
    assert (previewed.service_s, previewed.cost, previewed.polls) == (None, None, None)
    text = " ".join(" ".join(preview_lines(previewed, {})).split())
    assert "it needs the measured time of a job" in text
    assert "1,200 submissions; polls per job depend on how long your jobs take; at most" in text


def test_of_a_stream_the_reads_are_not_known() -> None:
    streamed = scenario(flows={"stream": {}}, endpoint={"chunks": {"count": 2, "first": "1s"}})
    text = " ".join(" ".join(preview_lines(preview(streamed), {})).split())
    assert "1,200 submissions; reads per streamed job depend on when its chunks come; at most" in text


def test_a_closed_load_is_bounded_by_its_users_or_by_the_limits() -> None:
    assert preview(users(10, endpoint={"service": "1s"})).jobs == 10 * 60 / 2 + 10
    previewed = preview(users(5000, endpoint={"service": "1s"}))
    assert previewed.jobs == 1000 * 7
    assert (previewed.schedule, previewed.peak_per_s) == (None, None)
    assert preview(users(10, target="http://localhost:1/v2/x")).jobs == 1000 * 7


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (scenario(ceilings={"jobs": 100}), "ceilings.jobs stops the run after 100 of 1200 jobs"),
        (
            scenario(ceilings={"cost": 0.01}, price=0.001),
            "ceilings.cost is 0.01 US dollars, but execution would cost",
        ),
        (scenario(length="1s", abort={"jobs": 50}), "abort.jobs is 50, so with 20 jobs the abort rule never applies"),
        (
            scenario(endpoint={"service": "1s", "workers": {"active": 3, "max": 3, "concurrency": 2}}),
            "the peak keeps 20 jobs at work and there are at most 3 workers, with 2 jobs at once each, so",
        ),
        (scenario(endpoint={"service": "1s"}), "the peak keeps 20 jobs at work and there are at most 3 workers, so"),
        (scenario(job_timeout="100ms"), "is abandoned after 100ms; raise job_timeout"),
        (scenario(drain={"within": "0s"}), "the drain ends before the last jobs do"),
        (scenario(endpoint={"limits": {"run": "50 per 10 s"}}), "the endpoint allows 50 per 10 s; expect 429s"),
        (
            scenario(rate="90/s", flows={"run": {"polling": {"policy": "fixed", "every": "10ms"}}}),
            "fixed polling asks 1800 times a second at the peak, /status allows 200",
        ),
    ],
)
def test_a_scenario_that_may_fail_gets_a_warning(asked: Scenario, says: str) -> None:
    assert any(says in warning for warning in warnings(preview(asked)))


@pytest.mark.parametrize(
    ("target", "environment", "key", "warning"),
    [
        ("embedded", {}, 'LOADTEST_API_KEY, which is not set: "local" is used', False),
        ("embedded", {"LOADTEST_API_KEY": "s3cret"}, "LOADTEST_API_KEY, which is set", False),
        ("https://x.example/v2/a", {"RUNPOD_API_KEY": "s3cret"}, "RUNPOD_API_KEY, which is set", False),
        ("https://x.example/v2/a", {"LOADTEST_API_KEY": "s3cret"}, "RUNPOD_API_KEY, which is not set", True),
        ("https://x.example/v2/a", {"RUNPOD_API_KEY": ""}, "RUNPOD_API_KEY, which is not set", True),
        ("https://x.example/v2/a", {"RUNPOD_API_KEY": "s3cret\n"}, "RUNPOD_API_KEY, which is set", False),
        ("https://x.example/v2/a", {"RUNPOD_API_KEY": "s3 cret"}, "RUNPOD_API_KEY, which is set", True),
        ({"url": "http://localhost:1/v2/a", "key_variable": "MINE"}, {}, "MINE, which is not set", True),
    ],
)
def test_the_preview_shows_whether_the_key_is_set_and_never_the_key(
    target: Any, environment: dict[str, str], key: str, warning: bool
) -> None:
    lines = list(preview_lines(preview(scenario(target=target, drain={"within": "9s"})), environment))
    assert f"key         {key}" in lines
    assert any(line.startswith("warning: target:") for line in lines) is warning
    assert "cret" not in "".join(lines)


def test_a_sound_scenario_raises_no_doubt() -> None:
    assert warnings(preview(scenario(endpoint={"workers": {"active": 9, "max": 9}}))) == []


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_in_the_repository_is_previewed_within_the_width(path: Path) -> None:
    lines = list(preview_lines(preview(load_scenario(path)), {}))
    assert max(len(line) for line in lines) <= WIDTH
    assert not any(line != line.rstrip() for line in lines)


def test_long_names_are_cut_and_not_wrapped() -> None:
    asked = scenario(load={"stages": [{"name": "a stage with words " * 8, "rate": "1/s", "for": "5s"}]})
    assert max(len(line) for line in preview_lines(preview(asked), {})) <= WIDTH


def test_the_smoke_scenario_is_short_and_still_has_enough_jobs() -> None:
    previewed = preview(load_scenario(next(path for path in SCENARIOS if path.stem == "smoke")))
    assert (previewed.jobs or 0) >= 400
    assert previewed.scenario.load.duration_s <= 15
    assert warnings(previewed) == []


@pytest.mark.parametrize(
    ("gate", "rate", "doubtful"),
    [
        ("delay p99 < 2s", "7/s", True),  # 420 jobs
        ("delay p99 < 2s", "8/s", False),  # 480 jobs
        ("errors < 1 %", "7/s", True),
        ("errors < 2 %", "7/s", False),
        ("delay p99 < 2s of runsync", "8/s", True),
        ("delay p95 < 2s during short", "8/s", True),
        ("delay mean < 2s", "1/s", False),
        ("throughput > 1/s", "2/s", False),
        ("throughput > 2/s", "2/s", True),
        ("throughput > 1/s of run", "2/s", True),
        ("tokens > 500/s", "2/s", False),
        ("goodput > 99 % where end-to-end < 1s", "7/s", True),
        ("goodput > 99 % where end-to-end < 1s", "8/s", False),
        ("goodput > 1 % where end-to-end < 1s", "1/s", False),
    ],
)
def test_a_gate_that_cannot_pass_is_a_doubt(gate: str, rate: str, doubtful: bool) -> None:
    stages = [{"rate": rate, "for": "50s"}, {"name": "short", "rate": rate, "for": "10s"}]
    asked = Scenario.model_validate(
        {
            "name": "x",
            "load": {"arrivals": "constant", "stages": stages},
            "flows": {"run": {"weight": 1}, "runsync": {"weight": 1}},
            "gates": [gate],
        }
    )
    assert any("cannot pass" in warning for warning in warnings(preview(asked))) == doubtful


def test_the_abort_rule_of_a_remote_target_is_shown_also_if_it_is_the_default() -> None:
    remote = {"target": "https://endpoint.example/v2/id", "price": 0.001, "ceilings": {"jobs": 100, "cost": 1}}
    default, own = (
        " ".join(" ".join(preview_lines(preview(scenario(**remote, **abort)), {})).split())
        for abort in ({}, {"abort": {"errors": "20 %"}})
    )
    assert "100 jobs, $1.00, stops when more than 50 % fail within 30 s (default)" in default
    assert "$1.00, stops when more than 20 % fail within 30 s" in own
    assert "fail within 30 s (default)" not in own
    assert "stops when" not in " ".join(preview_lines(preview(scenario()), {}))
