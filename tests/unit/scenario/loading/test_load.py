"""A file becomes a scenario that says everything by itself, and reads back as the same one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.endpoint.distributions import Constant, Empirical, LogNormal
from loadtest.errors import ScenarioError
from loadtest.scenario.environment import key_variable
from loadtest.scenario.loading.files import read_trace
from loadtest.scenario.loading.load import load_scenario, load_settings
from loadtest.scenario.model import Scenario
from loadtest.scenario.target import RemoteTarget
from loadtest.traffic.settings import OpenLoad, Ramp, Trace

LOAD = "load: {stages: [{rate: 20/s, for: 15s}]}\n"
SCENARIOS = sorted((Path(__file__).parents[4] / "scenarios").glob("*.yaml"))


def written(folder: Path, text: str, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_in_the_repository_loads_and_reads_back_the_same(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.name == path.stem
    assert scenario.question.endswith("?")
    again = load_scenario(written(tmp_path, msgspec.json.encode(scenario.resolved()).decode()))
    assert again == scenario
    assert again.hash() == scenario.hash()


def test_the_name_is_the_files_where_none_is_given(tmp_path: Path) -> None:
    assert load_scenario(written(tmp_path, LOAD, "my load (2).yaml")).name == "my-load-2-"
    assert load_scenario(written(tmp_path, LOAD + "name: other")).name == "other"


def test_overrides_come_in_order_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, LOAD + "seed: 3\n")
    overrides = ["load.stages.0.rate=5/s to 9/s", "load.stages.0.rate=6/s", "endpoint.workers={active: 0, max: 2}"]
    scenario = load_scenario(path, overrides, seed=9, target="http://localhost:8000/v2/local/")
    assert scenario.load.stages[0].rate == Ramp(start=6, end=6)  # type: ignore[union-attr]
    assert (scenario.endpoint.workers.active, scenario.endpoint.workers.max) == (0, 2)
    assert scenario.seed == 9
    assert scenario.target == RemoteTarget(url="http://localhost:8000/v2/local")


def test_a_target_on_the_command_line_gets_no_key_variable_from_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        LOAD
        + "target: {url: https://api.runpod.ai/v2/a, key_variable: MINE}\nprice: 1\nceilings: {jobs: 9, cost: 2}",
    )
    assert key_variable(load_scenario(path).target) == "MINE"
    assert key_variable(load_scenario(path, target="http://127.0.0.1:1/v2/a").target) == "LOADTEST_API_KEY"
    assert key_variable(load_scenario(path, target="https://api.runpod.ai/v2/b").target) == "RUNPOD_API_KEY"


def test_a_spread_is_one_time_a_distribution_a_list_or_a_file(tmp_path: Path) -> None:
    written(tmp_path, "# measured in May\n1.2s\n900ms  # the second\n\n", "measured.txt")
    settings = load_settings(
        written(
            tmp_path,
            "cold_start: {file: measured.txt}\nservice: {median: 1s, sigma: 0.5}\n"
            "revival: {duration: [1s, 2s]}\nidle_timeout: 7s\n",
        )
    )
    assert settings.cold_start == Empirical.model_validate({"values": ["1.2s", "900ms"], "file": "measured.txt"})
    assert settings.service == LogNormal.model_validate({"median": "1s", "sigma": 0.5})
    assert settings.revival is not None
    assert settings.revival.duration == Empirical.model_validate({"values": ["1s", "2s"]})
    assert load_settings(written(tmp_path, "service: 300ms")).service == Constant.model_validate(
        {"constant": "300ms"}
    )


def test_a_trace_is_read_into_the_scenario_which_then_needs_its_file_no_more(tmp_path: Path) -> None:
    trace = written(tmp_path, "0\n0.5\n0.5\n7 # late\n", "times.txt")
    text = "load: {arrivals: {file: times.txt, speed: 2}, stages: [{rate: 1/s, for: 15s}]}"
    scenario = load_scenario(written(tmp_path, text))
    assert isinstance(scenario.load, OpenLoad)
    assert isinstance(scenario.load.arrivals, Trace)
    assert scenario.load.arrivals.times == (0.0, 0.5, 0.5, 7.0)
    trace.unlink()
    assert Scenario.model_validate(scenario.resolved()) == scenario


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1\nlater\n", r':2: "later" is not a time; write seconds from the start'),
        ("-1\n", r':1: "-1" is not a time'),
        ("nan\n", r':1: "nan" is not a time'),
        ("# head\n2\n1\n", ":3: 1 comes after 2; sort the times"),
        ("# only this\n", ": holds no times; write one per line"),
    ],
)
def test_an_error_in_a_trace_names_the_files_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=r"times\.txt" + says):
        read_trace(written(tmp_path, text, "times.txt"))


def test_an_error_in_measured_times_names_the_files_line(tmp_path: Path) -> None:
    written(tmp_path, "1s\n2\n", "m.txt")
    with pytest.raises(ScenarioError, match=r'm\.txt:2: "2" is not a time with its unit; write it like "2s"'):
        load_settings(written(tmp_path, "service: {file: m.txt}"))


def test_a_file_that_is_not_there_is_named_with_the_line_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r'x\.yaml:2: service: there is no file "m\.txt" in'):
        load_settings(written(tmp_path, "idle_timeout: 1s\nservice: {file: m.txt}"))


@given(
    rate=st.floats(0.001, 99, allow_nan=False),
    duration=st.floats(0.001, 86_400),
    weights=st.lists(st.floats(0.001, 1000), min_size=2, max_size=2),
    share=st.floats(0, 1),
)
def test_any_scenario_reads_back_from_its_resolved_form(
    rate: float, duration: float, weights: list[float], share: float
) -> None:
    scenario = Scenario.model_validate(
        {
            "name": "x",
            "load": {"stages": [{"rate": f"{rate:.6f}/s to 1 per 3 s", "for": f"{duration:.9f}s"}]},
            "flows": {"run": {"weight": weights[0]}, "runsync": {"weight": weights[1], "wait": "7s"}},
            "endpoint": {"failure_rate": f"{share * 100:.7f} %"},
            "limits": {"run": "900 per 10 s, 20 at once"},
        }
    )
    again = Scenario.model_validate(msgspec.json.decode(msgspec.json.encode(scenario.resolved())))
    assert again == scenario
    assert again.hash() == scenario.hash()


def test_the_hash_passes_over_the_seed_and_what_is_under_test_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path, LOAD)
    plain = load_scenario(path).hash()
    assert load_scenario(path, seed=8, target="http://127.0.0.1:1/v2/x").hash() == plain
    assert load_scenario(path, ["endpoint.service=1s"]).hash() == plain
    for change in ("load.stages.0.rate=21/s", "flows.run.input=1", "job_timeout=9s"):
        assert load_scenario(path, [change]).hash() != plain
