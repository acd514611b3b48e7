"""What Locust's command line makes of a locustfile: its scenario, or a refusal."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadtest.drive.options import task_config
from loadtest.drive.tasks.options import own_locustfile, refuse_other_tasks, task_scenario
from loadtest.drive.tasks.users import UserNumbers, count_task_error
from loadtest.errors import LoadtestError, UsageError
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import ClosedLoad, Locustfile, OpenLoad

LOCUSTFILE = Locustfile(name="tasks.py", hash="0")
URL = "http://127.0.0.1:8000/v2/local"
CLOSED = "load: {model: closed, think: 1s, stages: [{users: 3, for: 9s}]}\n"


class EndpointUser:
    """Takes the place of that of Locust, which cannot be imported here, since it patches the process."""


class Own(EndpointUser):
    pass


class Other:
    pass


def parsed(**given: Any) -> Namespace:
    plain = {"num_users": None, "spawn_rate": None, "run_time": None, "target": "", "host": None, "scenario": ""}
    plain |= {
        "set": [],
        "seed": "",
        "key_variable": "",
        "exit_code_on_error": 1,
        "out": "",
        "master": False,
        "metrics": "",
    }
    return Namespace(**plain | given)


def scenario_of(*hosts: str, **given: Any) -> Scenario:
    return task_scenario(parsed(**given), hosts, LOCUSTFILE)


def stages_of(scenario: Scenario) -> list[tuple[float, float, float]]:
    assert isinstance(scenario.load, ClosedLoad)
    return [(each.users.start, each.users.end, each.duration) for each in scenario.load.stages]


def test_users_spawn_rate_and_run_time_are_the_stages_without_a_scenario_file() -> None:
    scenario = scenario_of(num_users=10, spawn_rate=4.0, run_time=60, target=URL, set=["gates=[errors < 1 %]"])
    assert stages_of(scenario) == [(0, 10, 2.5), (10, 10, 57.5)]
    assert (scenario.name, scenario.target_name, len(scenario.gates)) == ("tasks", URL, 1)
    assert set(scenario.flows) == {"run", "runsync", "stream", "openai"}
    assert stages_of(scenario_of(num_users=10, spawn_rate=10.0, run_time=5, target=URL)) == [(10, 10, 5)]
    assert stages_of(scenario_of(run_time=5, host=URL)) == [(1, 1, 5)]
    assert Scenario.model_validate(scenario.resolved()) == scenario


def test_stages_of_a_scenario_are_used_unless_the_options_say_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(CLOSED + "flows: {run: {polling: {every: 50ms}}}\n")
    assert stages_of(scenario_of(scenario=str(path))) == [(3, 3, 9)]
    changed = scenario_of(scenario=str(path), num_users=2, spawn_rate=2.0, run_time=4, target=URL)
    assert (stages_of(changed), changed.target_name) == ([(2, 2, 4)], URL)
    assert changed.flows["run"].polling.every == 0.05
    assert "stream" in changed.flows
    assert "stream" not in scenario_of(scenario=str(path)).flows  # the embedded endpoint streams nothing


def test_target_and_key_come_from_options_or_the_class() -> None:
    elsewhere = "https://example.com/v2/id"
    given = {"run_time": 5, "set": ["price=0.001", "ceilings={jobs: 10, cost: 1}"], "key_variable": "MY_KEY"}
    target = scenario_of(elsewhere, **given).target
    assert (target.url, target.key_variable) == ("https://example.com/v2/id", "MY_KEY")  # type: ignore[union-attr]
    assert scenario_of(elsewhere, run_time=5, target=URL).target_name == URL


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "--target: is not given"),
        ({"target": URL}, "--run-time: no load is given"),
        ({"target": URL, "num_users": 5}, "--run-time: is not given"),
        ({"target": URL, "num_users": 9, "run_time": 5}, "--spawn-rate: 9 users at 1/s take 9 s, longer than"),
        ({"target": URL, "run_time": 5, "stop_timeout": 3}, "--stop-timeout: has no effect"),
        ({"target": URL, "run_time": 5, "class_picker": True}, "--class-picker: has no effect"),
        ({"target": URL, "run_time": 5, "reset_stats": True}, "--reset-stats: has no effect"),
        ({"target": URL, "run_time": 5, "enable_rebalancing": True}, "--enable-rebalancing: has no effect"),
        ({"target": URL, "run_time": 5, "exit_code_on_error": 0}, "--exit-code-on-error: the verdict"),
        ({"target": "https://example.com/v2/id", "run_time": 5}, "add price"),
        ({"target": URL, "run_time": 5, "set": ["gates=[delay p95 < 2s of webhook]"]}, "needs jobs of webhook"),
        ({"target": URL, "run_time": 5, "seed": "x"}, '--seed: "x" is not a whole number'),
    ],
)
def test_options_that_describe_no_run_are_refused_by_name(given: dict[str, Any], text: str) -> None:
    with pytest.raises(LoadtestError) as refused:
        scenario_of(**given)
    assert text in str(refused.value)


def test_open_load_of_a_scenario_is_refused_and_a_locustfile_in_one_is(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("load: {stages: [{rate: 1/s, for: 5s}]}\n")
    with pytest.raises(LoadtestError, match=r"the load of .*x\.yaml is open"):
        scenario_of(scenario=str(path))
    assert isinstance(load_scenario(path).load, OpenLoad)
    path.write_text(CLOSED.replace("think: 1s", "locustfile: {name: a.py, hash: '0'}"))
    with pytest.raises(LoadtestError, match=r"load\.locustfile: Locust writes it"):
        load_scenario(path)


def test_runs_of_other_tasks_have_another_hash_and_a_copied_file_has_not() -> None:
    def hash_of(name: str, content: str) -> str:
        options = parsed(run_time=5, target=URL)
        return task_scenario(options, (), Locustfile(name=name, hash=content)).hash()

    assert hash_of("a.py", "1") == hash_of("b.py", "1") != hash_of("a.py", "2")


def test_locust_itself_does_not_end_the_run() -> None:
    options = parsed(run_time=5, target=URL)
    config = task_config(options, task_scenario(options, (), LOCUSTFILE))
    assert (options.run_time, config.processes) == (None, 1)


def locustfile_of(*classes: type, shape: object = None) -> Locustfile | None:
    known: Any = SimpleNamespace(user_classes=list(classes), shape_class=shape, parsed_locustfiles=[__file__])
    return own_locustfile(known, EndpointUser)


def test_other_user_classes_and_load_shapes_are_refused_by_name() -> None:
    class Steps:
        pass

    found = locustfile_of(Own)
    assert found is not None
    assert found.name == "test_options.py"
    assert locustfile_of(Other) is None
    with pytest.raises(UsageError, match="Other: not an EndpointUser"):
        locustfile_of(Own, Other)
    with pytest.raises(UsageError, match="Steps: a load shape has no effect"):
        locustfile_of(Own, shape=Steps())


def test_worker_without_the_tasks_of_the_run_is_refused() -> None:
    tasks = scenario_of(run_time=5, target=URL)
    plain = Scenario.model_validate({"name": "x", "load": {"stages": [{"rate": "1/s", "for": "1s"}]}})
    refuse_other_tasks(tasks, LOCUSTFILE)
    refuse_other_tasks(plain, None)
    for scenario, own, text in [
        (tasks, None, "locust -f tasks.py --worker"),
        (tasks, Locustfile(name="tasks.py", hash="1"), "another tasks.py than the master"),
        (plain, LOCUSTFILE, "loadtest worker"),
    ]:
        with pytest.raises(UsageError, match=text):
            refuse_other_tasks(scenario, own)


def test_numbers_mix_the_classes_that_locust_starts_one_after_the_other() -> None:
    a, b = (type(name, (), {}) for name in "AB")
    users: list[Any] = [a(), a(), a(), a(), b(), b()]
    drawn = iter(range(10))
    numbers = UserNumbers(lambda: next(drawn))
    for user in users:
        numbers.register(user)
    by_number = sorted(users, key=numbers.number_of)
    assert "".join(type(user).__name__ for user in by_number) == "ABAABA"
    late: Any = b()
    numbers.register(late)
    assert numbers.number_of(late) == 6


def test_exception_of_a_task_is_counted_by_its_place_in_the_locustfile_without_its_text() -> None:
    errors: Counter[str] = Counter()
    try:
        int("secret")
    except ValueError as error:
        line = error.__traceback__.tb_lineno  # type: ignore[union-attr]
        count_task_error(errors, error, [__file__])
        count_task_error(errors, error, ["elsewhere.py"])
    assert errors == {f"ValueError at test_options.py:{line}": 2}
