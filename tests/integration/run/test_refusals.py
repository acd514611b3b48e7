"""Bad input: one line that says what and where, exit code 2, and nothing left behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.integration.run.conftest import Command, Finished, Run, open_load

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
    (line,) = finished.stderr.splitlines()
    assert line.startswith("loadtest: ")
    for word in words:
        assert word in line
    assert finished.stdout == ""


@pytest.mark.parametrize("case", CASES)
def test_invalid_scenario_is_refused(run: Run, case: str) -> None:
    text, words = CASES[case]
    finished = run(text)
    assert_refused(finished, words, "scenario0.yaml")
    assert not finished.out.exists()


def test_rate_above_the_limit_is_refused_with_both_numbers(run: Run) -> None:
    assert_refused(run(open_load("500/s", "6s")), "500/s", "1000 per 10 s")


def test_key_variable_that_is_not_set_is_refused(run: Run) -> None:
    target = {"url": "http://127.0.0.1:9/v2/x", "key_variable": "LOADTEST_TEST_NO_SUCH_KEY"}
    assert_refused(run(open_load("30/s", "6s", target=target)), "LOADTEST_TEST_NO_SUCH_KEY")


def test_remote_target_without_its_key_is_refused(run: Run) -> None:
    remote = {"target": "https://api.example.invalid/v2/x", "price": 0.1, "ceilings": {"jobs": 10, "cost": 1}}
    assert_refused(run(open_load("5/s", "1s", **remote), env={"RUNPOD_API_KEY": ""}), "RUNPOD_API_KEY")


def test_unknown_gate_is_refused(run: Run) -> None:
    finished = run(open_load("5/s", "1s", gates=["dealy p95 < 2s"]))
    assert_refused(finished, 'gates[0]: "dealy p95"', 'write "delay p95 < 2s"')
    assert not finished.out.exists()


def test_handler_that_does_not_exist_is_refused(run: Run) -> None:
    assert_refused(run(open_load("5/s", "1s", target={"handler": "no.py"})), 'there is no file "no.py"')


def test_directory_that_exists_already_is_refused_and_kept(run: Run, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "precious").write_text("kept")
    assert_refused(run(open_load("5/s", "1s"), "--out", str(taken)), "--out")
    assert (taken / "precious").read_text() == "kept"


def test_port_in_use_is_refused(command: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert_refused(command("serve", "--port", str(taken.getsockname()[1])), "--port")


def test_directory_without_a_run_is_refused(command: Command, tmp_path: Path) -> None:
    assert_refused(command("gate", str(tmp_path)), "run.json")


def test_comparison_of_one_run_is_refused(command: Command, tmp_path: Path) -> None:
    assert_refused(command("compare", str(tmp_path)))
