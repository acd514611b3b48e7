"""Published traces of requests to language models: their times, lengths and inputs, as their files have them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from loadtest.errors import ScenarioError
from loadtest.flows.submissions import submission_factory
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.loading.user_functions import load_input_function
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad, Trace, trace_lengths

ROWS = 200
RNG = np.random.default_rng(5)
AT_S = np.round(np.concatenate([[0.0], np.cumsum(RNG.exponential(0.5, ROWS - 1))]), 3).tolist()
INPUTS = RNG.integers(1, 3000, ROWS).tolist()
OUTPUTS = RNG.integers(1, 400, ROWS).tolist()
ROW = list(zip(AT_S, INPUTS, OUTPUTS, strict=True))


def azure() -> str:
    begun = datetime(2023, 11, 16, 18, 17, 3, 979600, UTC)
    lines = [f"{begun + timedelta(seconds=at_s):%Y-%m-%d %H:%M:%S.%f}0,{n},{m}" for at_s, n, m in ROW]
    return "\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines])


def azure_with_zone() -> str:
    begun = datetime(2024, 5, 10, tzinfo=UTC)
    lines = [f"{begun + timedelta(seconds=at_s)},{n},{m}\r" for at_s, n, m in ROW]
    return "\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens\r", *lines, ""])


def mooncake() -> str:
    rows = (
        {"timestamp": at_s * 1000, "input_length": n, "output_length": m, "hash_ids": [0, 1]} for at_s, n, m in ROW
    )
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def burstgpt() -> str:
    lines = [f"{5 + at_s:.3f},ChatGPT,{n},{m},{n + m},Conversation log" for at_s, n, m in ROW]
    return "\n".join(["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type", *lines])


TEXTS = {"azure-llm": azure, "mooncake": mooncake, "burstgpt": burstgpt}
TEMPLATE = "{messages: [{role: user, content: '${trace input}'}], max_tokens: '${trace output}'}"


def scenario(folder: Path, text: str, arrivals: str = "{trace: requests.csv}", template: str = TEMPLATE) -> Scenario:
    (folder / "requests.csv").write_text(text)
    path = folder / "traced.yaml"
    path.write_text(
        f"load: {{arrivals: {arrivals}, stages: [{{rate: 1/s, for: 1h}}]}}\n"
        f"flows: {{run: {{inputs: {{template: {template}}}}}}}\n"
    )
    return load_scenario(path)


@pytest.mark.parametrize(
    ("form", "text"), [*((form, make()) for form, make in TEXTS.items()), ("azure-llm", azure_with_zone())]
)
def test_a_trace_has_the_count_the_times_and_the_lengths_of_its_file(tmp_path: Path, form: str, text: str) -> None:
    read = scenario(tmp_path, text)
    assert isinstance(read.load, OpenLoad)
    assert isinstance(read.load.arrivals, Trace)
    assert read.load.arrivals.format == form
    assert read.load.arrivals.times == pytest.approx(AT_S, abs=2e-6)
    assert trace_lengths(read.load) == (tuple(INPUTS), tuple(OUTPUTS))
    schedule = read.schedule()
    assert schedule is not None
    gaps, expected = np.diff(schedule.at_s), np.diff(AT_S)
    assert len(schedule) == ROWS
    assert gaps.std() / gaps.mean() == pytest.approx(expected.std() / expected.mean(), rel=1e-3)


@pytest.mark.parametrize("form", TEXTS)
def test_the_input_of_a_job_is_as_long_as_the_request_of_its_number(tmp_path: Path, form: str) -> None:
    read = scenario(tmp_path, TEXTS[form](), f"{{file: requests.csv, format: {form}, speed: 2}}")
    schedule = read.schedule()
    assert schedule is not None
    assert schedule.at_s[-1] == pytest.approx(AT_S[-1] / 2, abs=1e-5)
    build = submission_factory(read, "run", load_input_function)
    for seq in (0, 1, ROWS - 1):
        sent = json.loads(build(seq).body)["input"]
        assert len(sent["messages"][0]["content"].split()) == INPUTS[seq]
        assert sent["max_tokens"] == OUTPUTS[seq]


def test_a_recorded_scenario_needs_no_file(tmp_path: Path) -> None:
    read = scenario(tmp_path, azure())
    again = Scenario.model_validate(read.resolved())
    assert trace_lengths(again.load) == trace_lengths(read.load)
    assert again.hash() == read.hash()


def test_a_trace_of_plain_times_is_the_scenario_that_it_was(tmp_path: Path) -> None:
    read = scenario(tmp_path, "0\n1.5\n2\n", template="{prompt: hello}")
    plain = read.resolved()
    for key in ("trace", "format", "input_tokens", "output_tokens"):
        del plain["load"]["arrivals"][key]
    assert Scenario.model_validate(plain).hash() == read.hash()


AZURE_HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
AT = "2023-11-16 18:17:03"


@pytest.mark.parametrize(
    ("text", "arrivals", "says"),
    [
        (f"{AZURE_HEAD}{AT},12,3\n{AT},twelve,3\n", "{trace: requests.csv}", "requests.csv:3: "),
        (f"{AZURE_HEAD}{AT},12,3\nyesterday,12,3\n", "{trace: requests.csv}", "requests.csv:3: "),
        (f"{AZURE_HEAD}{AT},12\n", "{trace: requests.csv}", "is not a request with its time and lengths"),
        (f"{AZURE_HEAD}{AT},12,-3\n", "{trace: requests.csv}", "is not a request with its time and lengths"),
        (
            f"{AZURE_HEAD}{AT}.5,12,3\n{AT}.4,12,3\n",
            "{trace: requests.csv}",
            "requests.csv:3: is earlier than the line",
        ),
        (AZURE_HEAD, "{trace: requests.csv}", "holds no requests"),
        ('{"timestamp": 0}\n', "{trace: requests.csv}", "requests.csv:1: "),
        (
            mooncake(),
            "{trace: requests.csv, format: burstgpt}",
            "in the form mooncake, not burstgpt; leave format out",
        ),
        (
            "0\n1\n",
            "{trace: requests.csv}",
            "needs arrivals with lengths; write load.arrivals: {trace: requests.csv}",
        ),
        ("0\n1\n", "poisson", "needs arrivals with lengths"),
        (azure(), "{trace: requests.csv, file: requests.csv}", "two names of one key; keep one"),
        (azure(), "{trace: missing.csv}", "missing.csv"),
    ],
)
def test_what_is_no_trace_is_one_line(tmp_path: Path, text: str, arrivals: str, says: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        scenario(tmp_path, text, arrivals)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
