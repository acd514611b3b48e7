"""An infeasible scenario is refused before the first request, with both numbers and a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.scenario.loading.feasibility import MAX_JOBS, doubtful_inputs, find_issues
from loadtest.scenario.loading.load import format_path
from loadtest.scenario.model import Scenario


def scenario(rate: str = "20/s", **more: Any) -> Scenario:
    load = {"stages": [{"rate": "1/s", "for": "10s"}, {"rate": rate, "for": "10s"}]}
    return Scenario.model_validate({"name": "x", "load": load, **more})


def found(asked: Scenario) -> list[str]:
    return [f"{format_path(issue.path)}: {issue.text}" for issue in find_issues(asked)]


def refusal(asked: Scenario) -> str:
    return found(asked)[0]


def test_a_rate_over_the_limit_is_refused_with_both_numbers() -> None:
    assert refusal(scenario("150/s")) == (
        "load.stages[1].rate: offers 150/s to /run, the limit is 1000 per 10 s (100/s); lower the rate or the share "
        'of "run", or raise limits.run if your endpoint allows more'
    )


@pytest.mark.parametrize("arrivals", ["constant", "poisson", {"gamma_cv": 3}])
def test_the_mean_rate_may_be_the_limit_itself_but_no_more(arrivals: Any) -> None:
    stages = [{"rate": "100/s", "for": "10s"}]
    assert found(scenario(load={"arrivals": arrivals, "stages": stages})) == []
    stages[0]["rate"] = "101/s"
    assert "offers 101/s" in refusal(scenario(load={"arrivals": arrivals, "stages": stages}))


@pytest.mark.parametrize("rate", ["1/s to 150/s", "150/s to 1/s"])
def test_a_ramp_counts_by_its_highest_rate(rate: str) -> None:
    assert "offers 150/s to /run" in refusal(scenario(rate))


def test_flows_share_the_limit_of_the_operation_that_submits_them() -> None:
    chunks = {"chunks": {"count": 2, "first": "1s"}}
    half = {"run": {}, "runsync": {}}
    assert found(scenario("199/s", flows=half)) == []
    assert "offers 100.5/s to /run" in refusal(scenario("201/s", flows=half))
    text = refusal(scenario("101/s", flows={"run": {}, "stream": {}}, endpoint=chunks))
    assert "offers 101/s to /run" in text
    assert 'the share of "run" and "stream"' in text


def test_runsync_has_its_own_limit() -> None:
    assert found(scenario("200/s", flows={"runsync": {}})) == []
    assert "offers 201/s to /runsync, the limit is 2000 per 10 s (200/s)" in refusal(
        scenario("201/s", flows={"runsync": {}})
    )


def test_a_limit_set_by_the_scenario_overrides_the_documented_one() -> None:
    assert found(scenario("150/s", limits={"run": "2000 per 10 s"})) == []
    assert "the limit is 10 per 1 s (10/s)" in refusal(scenario("20/s", limits={"run": "10 per 1 s"}))


def test_jobs_that_could_never_all_be_polled_are_refused() -> None:
    text = refusal(scenario("300/s", limits={"run": "9000 per 10 s"}))
    assert '300 jobs/s of "run" each need at least one /status, the limit is 2000 per 10 s (200/s)' in text


def test_a_trace_counts_with_the_rate_that_it_has_in_each_stage() -> None:
    def traced(each_s: float, speed: float = 1) -> Scenario:
        arrivals = {"times": [10 + index * each_s for index in range(1500)], "speed": speed}
        stages = [{"rate": "1/s", "for": "10s"}, {"rate": "1/s", "for": "5s"}]
        return scenario(load={"arrivals": arrivals, "stages": stages})

    assert found(traced(0.0101)) == []
    assert refusal(traced(0.005)).startswith("load.stages[1].rate: offers 200/s to /run")
    assert refusal(traced(0.0101, speed=4)).startswith("load.stages[0].rate: offers 150/s")


def test_a_closed_load_offers_no_rate_that_could_be_too_high() -> None:
    assert found(scenario(load={"model": "closed", "stages": [{"users": 9000, "for": "10s"}]})) == []


def test_a_schedule_that_memory_cannot_hold_is_refused() -> None:
    load = {"stages": [{"rate": "100/s", "for": "3 d"}]}
    assert f"25920000 jobs, but a schedule holds at most {MAX_JOBS}" in refusal(scenario(load=load))


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "price: 0.00031 and ceilings: {jobs: 1000, cost: 5}"),
        ({"price": 1}, "ceilings: {jobs: 1000, cost: 5}"),
        ({"ceilings": {"jobs": 5}}, "price: 0.00031 and ceilings: {cost: 5}"),
        ({"ceilings": {"cost": 5}}, "price: 0.00031 and ceilings: {jobs: 1000}"),
        ({"ceilings": {"jobs": 5, "cost": 5}}, "price: 0.00031"),
        ({"price": 1, "ceilings": {"jobs": 5}}, "ceilings: {cost: 5}"),
        ({"price": 1, "ceilings": {"cost": 5}}, "ceilings: {jobs: 1000}"),
    ],
)
def test_a_target_elsewhere_is_refused_once_with_all_that_it_needs(given: dict[str, Any], missing: str) -> None:
    issues = found(scenario(target="https://api.runpod.ai/v2/x", **given))
    assert [text.partition("; ")[2] for text in issues] == [f"add {missing}"]


def test_a_target_elsewhere_needs_tls() -> None:
    safe = {"ceilings": {"jobs": 5, "cost": 1}, "price": 0.001}
    assert found(scenario(target="https://api.runpod.ai/v2/x", **safe)) == []
    assert "write https://" in refusal(scenario(target="http://api.runpod.ai/v2/x", **safe))


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "127.8.8.8:1", "[::1]:8000"])
def test_loopback_needs_neither(host: str) -> None:
    assert found(scenario(target=f"http://{host}/v2/local")) == []


@pytest.mark.parametrize("host", ["localhost.example.org", "128.0.0.1", "0.0.0.0", "192.168.1.5"])
def test_what_only_looks_near_is_not_loopback(host: str) -> None:
    assert refusal(scenario(target=f"https://{host}/v2/local")).startswith("target: a target that is not on this")


def test_a_cost_ceiling_needs_a_price() -> None:
    assert refusal(scenario(ceilings={"cost": 5})).startswith(
        "ceilings.cost: a cost ceiling needs a price; add price"
    )
    assert found(scenario(ceilings={"cost": 5}, price=0.0003)) == []


def test_a_stream_from_an_embedded_endpoint_needs_chunks_or_an_llm() -> None:
    assert "add endpoint.chunks" in refusal(scenario(flows={"stream": {}}))
    assert found(scenario(flows={"stream": {}}, endpoint={"llm": {}})) == []
    assert found(scenario(flows={"stream": {}}, target="http://localhost:1/v2/x")) == []


def test_an_input_over_the_operations_size_is_refused() -> None:
    big = "x" * 10_000_000
    assert "flows.run.input: 10 MB, but /run takes at most 10 MB" in refusal(scenario(flows={"run": {"input": big}}))
    assert found(scenario(flows={"runsync": {"input": big}})) == []


@pytest.mark.parametrize("stages", [1_000, 1_001])
def test_a_load_has_no_more_stages_than_a_report_can_name(stages: int) -> None:
    asked = scenario(load={"stages": [{"rate": "1/s", "for": "10ms"}] * stages})
    if stages == 1_000:
        assert found(asked) == []
    else:
        assert refusal(asked).startswith("load.stages: 1001 stages, but a load has at most 1000;")


@pytest.mark.parametrize(
    ("flow", "place", "count"),
    [
        ({"input": {"input": {"prompt": "x"}}}, "flows.run.input", "it is"),
        ({"input": {"input": 1, "webhook": "http://x", "policy": {}}}, "flows.run.input", "it is"),
        ({"inputs": {"template": {"input": "${seq}"}}}, "flows.run.inputs", "it is"),
        ({"inputs": {"lines": [{"input": 1}, {"prompt": 1}, {"input": 2}]}}, "flows.run.inputs", "2 of 3 lines are"),
    ],
)
def test_an_input_that_is_a_whole_submission_is_a_warning(flow: dict[str, object], place: str, count: str) -> None:
    (issue,) = doubtful_inputs(scenario(flows={"run": flow}))
    assert format_path(issue.path) == place
    assert issue.text == (
        f'{count} {{"input": …}}, so the handler gets an input within its input; write only what is inside'
    )


@pytest.mark.parametrize("job_input", [None, "input", ["input"], {"prompt": 1}, {"model": "m", "input": "text"}])
def test_an_input_with_keys_of_its_own_is_no_warning(job_input: object) -> None:
    assert list(doubtful_inputs(scenario(flows={"run": {"input": job_input}}))) == []


def test_plain_http_to_another_machine_is_allowed_by_an_explicit_word() -> None:
    target = {"url": "http://endpoint.internal/v2/x"}
    stops = {"price": 1, "ceilings": {"jobs": 9, "cost": 2}}
    (refused,) = found(scenario(target=target, **stops))
    assert "allow_plain_http: true}" in refused
    assert found(scenario(target=target | {"allow_plain_http": True}, **stops)) == []


def test_a_file_whose_only_line_is_an_array_is_doubtful() -> None:
    (issue,) = doubtful_inputs(scenario(flows={"run": {"inputs": {"lines": [[{"a": 1}, {"a": 2}]]}}}))
    assert issue.path == ("flows", "run", "inputs")
    assert issue.text == "the only line is an array of 2 values, which is one input; write one value per line"
    for lines in ([[1, 2], [3]], [[1]], [{"a": [1, 2]}]):
        assert list(doubtful_inputs(scenario(flows={"run": {"inputs": {"lines": lines}}}))) == []
