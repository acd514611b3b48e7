"""Gates in words: every form reads, its text reads back, and an unknown form is named."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import ScenarioError
from loadtest.scenario.gates import Gate, parse_gate
from loadtest.scenario.job_limits import JobLimit, parse_job_limits
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.metrics import Metric

LOAD = "load:\n  stages:\n    - {name: warm-up, rate: 20/s, for: 15s}\n    - {rate: 20/s, for: 15s}\n"


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("delay p95 < 2s", Gate(metric=Metric.DELAY, statistic="p95", limit=2)),
        (
            "execution p99 < 8s during steady",
            Gate(metric=Metric.EXECUTION, statistic="p99", limit=8, during="steady"),
        ),
        (
            "end-to-end p95 < 3s of runsync",
            Gate(metric=Metric.END_TO_END, statistic="p95", limit=3, flow="runsync"),
        ),
        (
            "execution p95 < 8s per worker",
            Gate(metric=Metric.EXECUTION, statistic="p95", limit=8, per_worker=True),
        ),
        ("errors < 1 %", Gate(metric=Metric.ERRORS, limit=0.01)),
        ("throughput > 20/s", Gate(metric=Metric.THROUGHPUT, limit=20)),
        ("throughput > 1000 per 10 s of run", Gate(metric=Metric.THROUGHPUT, limit=100, flow="run")),
        ("cold starts < 5 %", Gate(metric=Metric.COLD_STARTS, limit=0.05)),
        ("censored < 1 %", Gate(metric=Metric.CENSORED, limit=0.01)),
        ("first chunk p95 < 500ms", Gate(metric=Metric.FIRST_CHUNK, statistic="p95", limit=0.5)),
        ("send lag p99 < 10ms", Gate(metric=Metric.SEND_LAG, statistic="p99", limit=0.01)),
        ("response mean < 1 min", Gate(metric=Metric.RESPONSE, statistic="mean", limit=60)),
        ("overhead max < 1s", Gate(metric=Metric.OVERHEAD, statistic="max", limit=1)),
        ("submit p99.9 < 1s", Gate(metric=Metric.SUBMIT, statistic="p99.9", limit=1)),
        ("itl p99 < 80ms", Gate(metric=Metric.ITL, statistic="p99", limit=0.08)),
        ("input tokens > 500/s", Gate(metric=Metric.INPUT_TOKENS, limit=500)),
        (
            "goodput > 95 % during ramp up where ttft<1s and itl p99 < 50ms of stream",
            Gate(
                metric=Metric.GOODPUT,
                limit=0.95,
                flow="stream",
                during="ramp up",
                where=(
                    JobLimit(metric=Metric.TTFT, limit=1),
                    JobLimit(metric=Metric.ITL, statistic="p99", limit=0.05),
                ),
            ),
        ),
        (
            'delay p95 < 2s during "ramp  up" of run',
            Gate(metric=Metric.DELAY, statistic="p95", limit=2, flow="run", during="ramp  up"),
        ),
        (
            "delay p95 < 2s during ramp up per worker",
            Gate(metric=Metric.DELAY, statistic="p95", limit=2, during="ramp up", per_worker=True),
        ),
    ],
)
def test_every_form_reads(text: str, gate: Gate) -> None:
    assert parse_gate(text) == gate


@pytest.mark.parametrize("text", ["delay p95<2s", "  delay  p95 <2 s ", "delay p95\n< 2s", "delay p95.0 < 2000ms"])
def test_spaces_are_free(text: str) -> None:
    assert str(parse_gate(text)) == "delay p95 < 2s"


def refusal(text: str) -> str:
    """Return the error line of a text, or nothing if it is a gate that reads back as itself."""
    try:
        gate = parse_gate(text)
    except ValueError as error:
        return str(error)
    return "" if parse_gate(str(gate)) == gate else "reads back\nas another gate"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dealy p95 < 2s", '"dealy p95" is not a metric; write "delay p95 < 2s"'),
        ("p95 delay < 2s", '"p95 delay" is not a metric; write "delay p95 < 2s"'),
        ("mean delay < 2s", 'write "delay mean < 2s"'),
        ("Delay p95 < 2s", 'write "delay p95 < 2s"'),
        ("end to end p95 < 2s", 'write "end-to-end p95 < 2s"'),
        ("latency p95 < 2s", "use one of delay, execution, end-to-end"),
        ("error < 1 %", 'write "errors < 1 %"'),
        ("errors p95 < 1 %", 'it is one figure; write "errors < 1 %"'),
        ("delay < 2s", 'write "delay p95 < 2s", or mean, or max'),
        ("delay p95 > 2s", '"delay p95 >" asks for the worse value; write "delay p95 < 2s"'),
        ("throughput < 20/s", 'write "throughput > 20/s"'),
        ("delay p95 <= 2s", '"delay p95 <= 2s" is not a gate; write it like "delay p95 < 2s"'),
        ("delay p95", '"delay p95" is not a gate'),
        ("delay p95 < 2", '"2" is not a time with its unit; write it like "2s"'),
        ("delay p95 < 2 per worker", '"2" is not a time with its unit'),
        ("delay p95 < 2 parsecs", 'the unknown unit "parsecs"; use one of us, ms'),
        ("delay p95 < 0s", 'the limit "0s" must be more than 0'),
        ("delay p95 < -2s", '"-2s" is negative'),
        ("errors < 5", '"5" is not a share with its sign; write it like "1 %"'),
        ("errors < 100 %", 'the limit "100 %" must be between 0 % and 100 %'),
        ("throughput > 20", '"20" is not a rate with its unit'),
        ("delay p49 < 2s", "neither a percentile from p50 to p99.9"),
        ("delay p999 < 2s", 'write it like "p99.9"'),
        ("delay p95 < 2s durin steady", '"durin steady" was not understood; write "during steady"'),
        ("delay p95 < 2s of rnu", 'write "of run"'),
        ("delay p95 < 2s of run of run", '"of run" is given more than once'),
        ("delay p95 < 2s, mean", '", mean" was not understood; after the limit'),
        ("delay p95 < 2s by night", 'after the limit write "during STAGE", "of FLOW" or "per worker"'),
        ("delay p95 < 2s during", 'write "during STAGE"'),
        ('delay p95 < 2s during "\\x"', "is not a name in quotes"),
        ("errors < 1 % per worker", '"per worker" goes with a percentile'),
        ("first chunk p95 < 1s of run", 'jobs of run have no "first chunk"; write "of stream"'),
        ("submit p95 < 1s of runsync", 'jobs of runsync have no "submit"; write "of run" or leave the flow out'),
        ("itl p99 < 80ms per worker", '"itl" is of all workers together; leave "per worker" out'),
        ("goodput > 95 %", 'needs the limits that a job has to meet; write it like "goodput > 95 % where ttft < 1s'),
        ("goodput < 95 % where ttft < 1s", 'write "goodput > 95 % where ttft < 1s"'),
        ("goodput > 5/s where ttft < 1s", '"5/s" is not a share with its sign'),
        ("goodput > 95 % where", '"where" was not understood; write it like "where ttft < 1s and tpot < 50ms"'),
        ("goodput > 95 % ttft < 1s", 'write it like "where ttft < 1s and tpot < 50ms"'),
        ("goodput where ttft < 1s > 95 %", 'write it like "goodput > 95 % where ttft < 1s and tpot < 50ms"'),
        ("goodput > 95 % where ttft < 1s, itl < 5ms", 'write it like "ttft < 1s", and "and" between two'),
        ("goodput > 95 % where ttft < 1s and", '"" is not a limit of a job; write it like "ttft < 1s"'),
        ("goodput > 95 % where ttft > 1s", '"ttft >" asks for the worse value; write "ttft < 1s"'),
        ("goodput > 95 % where ttft p95 < 1s", 'each job has one "ttft", so it has no p95; write "ttft < 1s"'),
        ("goodput > 95 % where itl p9 < 1s", 'write "itl < 1s", or like "itl p99 < 1s"'),
        ("goodput > 95 % where tfft < 1s", '"tfft" is not a time of a job; write "ttft < 1s"'),
        ("goodput > 95 % where latency < 1s", "is not a time of a job; use one of delay, execution"),
        ("goodput > 95 % where errors < 1 %", 'a job has no "errors" of its own; limit one of its times'),
        ("goodput > 95 % where ttft < 1s and ttft < 2s", '"ttft" is limited twice; write one limit of it'),
        ("goodput > 95 % where ttft < 1", '"1" is not a time with its unit; write it like "1s"'),
        ("goodput > 95 % where ttft < 0s", 'the limit "0s" must be more than 0'),
        ("goodput > 95 % where ttft < 1s of run", 'jobs of run have no "ttft"; write "of stream"'),
        ("goodput > 95 % where ttft < 1s where itl < 1s", "is given more than once"),
        ("ttft p95 < 1s where itl < 1s", '"where" goes with goodput; write it like "goodput > 95 % where itl < 1s"'),
        ("", '"" is not a gate'),
    ],
)
def test_an_invalid_gate_is_refused_with_the_nearest_valid_form(text: str, said: str) -> None:
    assert said in refusal(text)


@st.composite
def job_limits(draw: st.DrawFn) -> list[JobLimit]:
    times = [metric for metric in Metric if metric.is_time]
    metrics = draw(st.lists(st.sampled_from(times), min_size=1, max_size=4, unique=True))
    positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)
    statistics = st.sampled_from(["", "p50", "p99", "p99.9", "max"])
    return [
        JobLimit(metric=metric, statistic=draw(statistics) if metric.is_pooled else "", limit=draw(positive))
        for metric in metrics
    ]


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    metric = draw(st.sampled_from(list(Metric)))
    percentiles = st.integers(500, 999).map(lambda p: f"p{p // 10}" + (f".{p % 10}" if p % 10 else ""))
    statistic = draw(st.sampled_from(["mean", "max"]) | percentiles) if metric.is_time else ""
    positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)
    limit = draw(st.floats(0, 1, exclude_min=True, exclude_max=True) if metric.is_share else positive)
    where = tuple(draw(job_limits())) if metric is Metric.GOODPUT else ()
    possible = Gate(metric=metric, limit=limit, where=where).flows
    return Gate(
        metric=metric,
        statistic=statistic,
        limit=limit,
        flow=draw(st.sampled_from([None, *possible])),
        during=draw(
            st.none() | st.sampled_from(["steady", "of", "where", "per worker", "ramp up"]) | st.text(min_size=1)
        ),
        per_worker=statistic.startswith("p") and not metric.is_pooled and draw(st.booleans()),
        where=where,
    )


@given(gates())
def test_a_printed_gate_reads_back_as_the_same_gate(gate: Gate) -> None:
    text = str(gate)
    assert parse_gate(text) == gate
    assert "\n" not in text


WORDS = ["ttft", "itl", "p99", "max", "mean", "delay", "first chunk", "errors", "<", ">", "1s", "5", "and", ",", "of"]


@given(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join))
def test_any_words_are_limits_of_a_job_or_refused_in_one_line(text: str) -> None:
    with contextlib.suppress(ValueError):
        limits = parse_job_limits(text)
        assert parse_job_limits(" and ".join(map(str, limits))) == limits
    assert len(refusal(f"goodput > 95 % where {text}").splitlines()) <= 1


@given(st.text() | st.text(alphabet="goodput itl<>2s of run where and during steady per worker95%\"\\'", max_size=40))
def test_any_text_is_a_gate_or_refused_in_one_line(text: str) -> None:
    assert len(refusal(text).splitlines()) <= 1


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("dealy p95 < 2s", 'x.yaml:6: gates[0]: "dealy p95" is not a metric'),
        ("delay p95 < 2s during warmup", 'gates[0]: no stage is called "warmup"; did you mean "warm-up"?'),
        ("delay p95 < 2s during night", 'no stage is called "night"; use one of warm-up, stage 2, steady'),
        ("delay p95 < 2s of runsync", "needs jobs of runsync, and the scenario has none"),
        ("first chunk p95 < 2s", "needs jobs of stream or openai, and the scenario has none"),
    ],
)
def test_an_error_in_a_scenarios_gate_names_its_line(tmp_path: Path, gate: str, said: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"{LOAD}gates:\n  - {gate}\n")
    with pytest.raises(ScenarioError) as refused:
        load_scenario(path)
    assert said in str(refused.value)


def test_a_scenario_keeps_its_gates_as_text_and_its_hash_without_them(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(LOAD + "gates: [delay p95<2s during warm-up, errors < 1 %, delay p95 < 2s during stage 2]\n")
    scenario = load_scenario(path)
    assert scenario.resolved()["gates"] == [
        "delay p95 < 2s during warm-up",
        "errors < 1 %",
        'delay p95 < 2s during "stage 2"',
    ]
    assert scenario == type(scenario).model_validate(scenario.resolved())
    path.write_text(LOAD)
    assert load_scenario(path).hash() == scenario.hash()
