"""The refusals of `loadtest run` before it starts anything."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from loadtest.commands import run as runs
from loadtest.commands.driver import Driver
from loadtest.commands.run import RunRequest, run, scenario_of
from loadtest.errors import ExitCode, RunDirectoryError, UsageError
from loadtest.record.directory import create_run
from loadtest.record.run import Ending, ProcessInfo


class NeverBegun:
    """A driver that fails the test if the run begins."""


SMOKE = Path(__file__).parents[3] / "scenarios" / "smoke.yaml"


@pytest.mark.parametrize("out", ["taken", "taken/inside", "x" * 300])
def test_a_directory_that_cannot_be_made_is_one_line_of_usage_error(tmp_path: Path, out: str) -> None:
    (tmp_path / "taken").write_text("")
    request = RunRequest(SMOKE, out=tmp_path / out)
    with pytest.raises(RunDirectoryError, match=r"^[^\n]*; name another with --out$") as refused:
        run(request, scenario_of(request), cast(Driver, NeverBegun()))
    assert refused.value.exit_code is ExitCode.USAGE
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("bind", ["127.0.0.1:abc", "127.0.0.1:0", "::1:x", "203.0.113.7", "[::1", "no such host"])
def test_an_address_on_which_it_cannot_listen_is_one_line_of_usage_error(tmp_path: Path, bind: str) -> None:
    request = RunRequest(SMOKE, out=tmp_path / "out", expect_workers=1, bind=bind)
    with pytest.raises(UsageError, match=r"^--bind: [^\n]*$") as refused:
        run(request, scenario_of(request), cast(Driver, NeverBegun()))
    assert refused.value.exit_code is ExitCode.USAGE
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"bind": "127.0.0.1:abc"}, {"processes": 2, "expect_workers": 1}])
def test_options_that_would_have_no_effect_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    request = RunRequest(SMOKE, out=tmp_path / "out", **options)
    with pytest.raises(UsageError, match=r"^--(bind|processes): [^\n]*$"):
        run(request, scenario_of(request), cast(Driver, NeverBegun()))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "ending"), [(signal.SIGINT, Ending.INTERRUPTED), (signal.SIGQUIT, Ending.TERMINATED)]
)
def test_run_whose_master_was_killed_at_a_second_signal_says_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, ending: Ending
) -> None:
    request = RunRequest(SMOKE, out=tmp_path / "out")
    scenario = scenario_of(request)
    directory = create_run(scenario, request.out, "loadtest run")
    directory.write_run(msgspec.structs.replace(directory.read_run(), processes=[ProcessInfo(0, 1, "here")]))

    @contextmanager
    def killed(*_: object) -> Iterator[list[bytes]]:
        yield []

    (directory.scratch / "temporary").mkdir()
    monkeypatch.setattr(runs, "_begin", killed)
    driver = cast(Driver, SimpleNamespace(process=SimpleNamespace(wait=lambda: -signal.SIGKILL)))
    ended = runs._drive(request, scenario, directory, ("127.0.0.1", 1), None, driver, [number])
    assert (ended.stopped_by, directory.read_run().ending) == (number, ending)
    assert ended.summary.reason == f"The run was {ending} before its load had ended."
    assert not (tmp_path / "out" / "shards").exists()


@pytest.mark.parametrize("proxy", ["socks5://me:SECRET@one.invalid:1080", "https://me:SECRET@one.invalid:3128"])
def test_proxy_that_is_not_spoken_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("RUNPOD_API_KEY", "key")
    overrides = ["price=0.1", "ceilings.jobs=10", "ceilings.cost=1"]
    request = RunRequest(SMOKE, target="https://api.example.invalid/v2/x", overrides=overrides)
    with pytest.raises(UsageError, match="HTTPS_PROXY names no HTTP proxy") as refused:
        scenario_of(request)
    assert "SECRET" not in str(refused.value)


def test_white_space_around_the_key_is_noted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOADTEST_API_KEY", " SECRET\n")
    scenario_of(RunRequest(SMOKE))
    noted = capfd.readouterr().err
    assert noted == "note: the key in LOADTEST_API_KEY has white space around it, which is left out\n"
