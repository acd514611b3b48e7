"""The command as a user starts it: one line for an error, its exit code, and an answer without delay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
        timeout=60,
        check=False,
    )


def test_help_answers_at_once() -> None:
    """The time is that of the processor, since other tests run at the same time; help waits for nothing else."""
    times_s = []
    for _ in range(5):
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "loadtest", "--help"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
        )
        _, status, usage = os.wait4(process, 0)
        assert status == 0
        times_s.append(usage.ru_utime + usage.ru_stime)
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
def test_error_of_the_user_is_one_line_and_exit_code_2(arguments: tuple[str, ...], line: str) -> None:
    done = loadtest(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_reader_that_closes_the_pipe_gets_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(1)
        child.stdout.close()
        stderr = child.stderr.read()
    assert stderr == b""


@pytest.mark.parametrize(
    "shell",
    [
        "{gate} > /dev/full",
        "{gate} > /dev/full 2> /dev/full",
        "{gate} >&-",
        "PYTHONIOENCODING=ascii {gate}",
        "PYTHONIOENCODING=latin-1 {gate}",
    ],
)
def test_verdict_is_the_exit_code_whatever_happens_to_the_terminal(shell: str, tmp_path: Path) -> None:
    run = shutil.copytree(ROOT / "tests" / "data" / "recorded" / "a", tmp_path / "run")
    (run / "gate.xml").unlink(missing_ok=True)
    (run / "gate.xml").mkdir()  # so that it cannot be written
    gate = f"{sys.executable} -m loadtest gate {run}"
    done = subprocess.run(shell.format(gate=gate), shell=True, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert done.returncode == 4, done.stderr
    assert b"Traceback" not in done.stderr


def test_printed_result_that_is_lost_is_not_success() -> None:
    command = f"{sys.executable} -m loadtest schema > /dev/full"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "loadtest: standard output: cannot be written: No space left on device; free some space\n",
    )


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (
            "ZeroDivisionError('key')",
            70,
            "loadtest: internal error: ZeroDivisionError at <string>:1; please",
        ),
        ("OSError(28, 'full')", 70, "loadtest: internal error: OSError at <string>:1; please report it"),
        ("KeyboardInterrupt()", 130, ""),
    ],
)
def test_unexpected_exception_is_an_internal_error_and_never_a_failed_gate(raised: str, code: int, said: str) -> None:
    command = f"@cli.app.command()\ndef broken():\n    raise {raised}\ncli.main()"
    script = f"import sys; from loadtest import cli; sys.argv = ['loadtest', 'broken']; exec({command!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert said in done.stderr.replace(":3;", ":1;")
