"""Bad input: one line that says what and where, exit 2, and nothing left behind."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.run.conftest import Finished, steady

GOOD = "load:\n  stages:\n    - rate: 5/s\n      for: 2s\n"
CASES = {
    "bad YAML": ("load: [", ":1"),
    "unknown key": (GOOD + "      ratee: 4/s\n", 'unknown key "ratee"'),
    "missing unit": (GOOD.replace("5/s", "5"), '"5" is not a rate with its unit'),
    "missing unit of time": (GOOD.replace("2s", "2"), "write it like"),
    "negative rate": (GOOD.replace("5/s", "-5/s"), "negative"),
    "above the limit": (GOOD.replace("5/s", "500/s"), "1000 per 10 s"),
    "no load": ("seed: 3\n", "load"),
}


def assert_refused(finished: Finished, *words: str) -> None:
    assert finished.status == 2, finished.stderr
    lines = finished.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("loadtest: ")
    for word in words:
        assert word in lines[0]
    assert not finished.out.exists()
    assert finished.stdout == ""


@pytest.mark.parametrize("case", CASES)
def test_a_scenario_that_does_not_hold(run: Callable[..., Finished], case: str) -> None:
    text, words = CASES[case]
    assert_refused(run(text), words, "scenario0.yaml")


def test_both_numbers_are_named_when_the_limit_would_be_passed(run: Callable[..., Finished]) -> None:
    assert_refused(run(steady("500/s")), "500/s", "1000 per 10 s")


def test_a_key_variable_that_is_not_set(run: Callable[..., Finished]) -> None:
    target = {"url": "http://127.0.0.1:9/v2/x", "key_variable": "LOADTEST_TEST_NO_SUCH_KEY"}
    assert_refused(run(steady(target=target)), "LOADTEST_TEST_NO_SUCH_KEY")


def test_a_remote_target_without_its_key(run: Callable[..., Finished]) -> None:
    scenario = steady(target="https://api.example.invalid/v2/x", price=0.1, ceilings={"jobs": 10, "cost": 1})
    assert_refused(run(scenario, env={"RUNPOD_API_KEY": ""}), "RUNPOD_API_KEY")


def test_no_such_scenario(command: Callable[..., Any], tmp_path: Path) -> None:
    ended = command("run", str(tmp_path / "nothing.yaml"))
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "nothing.yaml" in ended.stderr


def test_a_directory_that_is_there_already(run: Callable[..., Finished], tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "precious").write_text("kept")
    finished = run(steady(), "--out", str(taken))
    assert finished.status == 2
    assert "--out" in finished.stderr
    assert (taken / "precious").read_text() == "kept"


def test_a_port_that_is_taken(command: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = command("serve", "--port", str(taken.getsockname()[1]))
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "--port" in ended.stderr
