"""The command as a user starts it: one line for a fault, its exit code, and an answer without delay."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "scenarios" / "smoke.yaml")
SECONDS_TO_HELP = 0.3


def loadtest(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.alone
def test_help_answers_at_once() -> None:
    times_s = []
    for _ in range(5):
        started = time.perf_counter()
        assert loadtest("--help").returncode == 0
        times_s.append(time.perf_counter() - started)
    assert min(times_s) < SECONDS_TO_HELP


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, loadtest.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    heavy = {"numpy", "pydantic", "ruamel.yaml", "rich", "locust", "gevent", "altair", "pyarrow"}
    assert heavy.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("check", "none.yaml"), "loadtest: none.yaml: no such file; check the path\n"),
        (
            ("check", SMOKE, "--set", "load.stages.0.rate=20"),
            'loadtest: --set load.stages.0.rate=20: "20" is not a rate with its unit; write it like "20/s"\n',
        ),
    ],
)
def test_an_error_of_the_user_is_one_line_and_exit_code_2(arguments: tuple[str, ...], line: str) -> None:
    done = loadtest(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(1)
        child.stdout.close()
        said = child.stderr.read()
    assert said == b""
