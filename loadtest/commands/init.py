"""`loadtest init`: the files of a first load test, filled in by one job if you ask for it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadtest.commands.starter import SCENARIO, Ci, Kind, Measured, Start, ci_file, ignored, scenario_text
from loadtest.errors import RunAborted, UsageError, reason_and_remedy
from loadtest.record.sample import Outcome
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.target import is_loopback

TEST_INPUT = "test_input.json"
"""The file next to a handler that the vendor's SDK reads its input from."""
PROBE = (
    "load={stages: [{rate: 1/s, for: 1s}], arrivals: constant}",
    "gates=[]",
    "job_timeout=10min",
    "drain.within=10min",
)
"""The changes that make a run of one job out of the starter."""
EXAMPLE_INPUT = '{"prompt": "hello"}'
EXAMPLE_PRICE = 0.00031
Ask = Callable[[str, str], str]
"""Asks the user a question with a default, and returns the answer."""


@dataclass(frozen=True)
class InitRequest:
    """The options of `loadtest init`."""

    directory: Path = Path()
    target: str | None = None
    input: str | None = None
    price: float | None = None
    probe: bool = False
    ci: Ci = Ci.GITHUB
    force: bool = False


def init(request: InitRequest, ask: Ask | None, show: Callable[[str], None]) -> None:
    """Write the files into the directory, and show each; without a target, ask for it.

    Raises UsageError for a target or an input that cannot be, or a file that exists or cannot be written, and
    RunAborted if the probe job did not complete.
    """
    path = request.directory / SCENARIO
    if path.exists() and not request.force:
        raise UsageError(f"{path}: exists already; name another directory, or write over it with --force")
    request = _answered(request, ask)
    start = _start(request)
    _write(path, scenario_text(start), show)
    load_scenario(path)
    _write_others(request, start, path, show)
    if request.probe:
        start = replace(start, measured=_probed(path, start, show))
        _write(path, scenario_text(start), show)
        load_scenario(path)
    show(f"next   loadtest check {path}   shows what it would send")
    show(f"       loadtest run {path}   runs it")


def _answered(request: InitRequest, ask: Ask | None) -> InitRequest:
    """Return the request with the answers of the user to what it lacks; one with a target lacks nothing."""
    if request.target is not None:
        return request
    if ask is None:
        raise UsageError('there is no terminal to ask on; add --target with "embedded", a handler\'s file, or a URL')
    target = ask("What do you test? An endpoint's URL, a handler's file, or embedded", "embedded").strip()
    kind = _kind(target)
    answered = replace(request, target=target)
    if kind is not Kind.EMBEDDED and request.input is None:
        answered = replace(answered, input=ask("Input of a job, as JSON", _default_input(kind, target)))
    if kind is Kind.URL and not is_loopback(target) and request.price is None:
        answered = replace(answered, price=_number(ask("US dollars per worker-second", str(EXAMPLE_PRICE))))
    if kind is not Kind.EMBEDDED and not request.probe:
        wanted = ask("Send one job now, to fill in times and rate? yes or no", "no")
        answered = replace(answered, probe=wanted.strip().lower() in ("y", "yes"))
    return answered


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f'"{text}" is not a price; write US dollars per worker-second, like {EXAMPLE_PRICE}'
        ) from None


def _kind(target: str) -> Kind:
    if target == Kind.EMBEDDED:
        return Kind.EMBEDDED
    if target.startswith(("http://", "https://")):
        return Kind.URL
    if Path(target).is_file():
        return Kind.HANDLER
    raise UsageError(f"--target {target}: no such file; name a handler's file, an endpoint's URL, or \"embedded\"")


def _default_input(kind: Kind, target: str) -> str:
    """Return the input in the file that the vendor's SDK tests a handler with, if there is one."""
    path = Path(target).parent / TEST_INPUT
    if kind is Kind.HANDLER and path.is_file():
        content = _json(path.read_text(), str(path))
        if isinstance(content, dict) and "input" in content:
            return json.dumps(content["input"])
    return EXAMPLE_INPUT


def _json(text: str, label: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{label}: not JSON: {error}; write it like {EXAMPLE_INPUT}") from None


def _start(request: InitRequest) -> Start:
    named = request.target or Kind.EMBEDDED
    kind = _kind(named)
    text = _default_input(kind, named) if request.input is None else request.input
    target = os.path.relpath(named, request.directory) if kind is Kind.HANDLER else named
    price = EXAMPLE_PRICE if request.price is None else request.price
    return Start(kind, "" if kind is Kind.EMBEDDED else target, _json(text, "--input"), price)


def _write_others(request: InitRequest, start: Start, scenario: Path, show: Callable[[str], None]) -> None:
    git = request.directory / ".gitignore"
    if (text := ignored(git.read_text() if git.exists() else "")) is not None:
        _write(git, text, show)
    if request.ci is Ci.NONE:
        return
    top = _repository(request.directory)
    name, content = ci_file(request.ci, scenario.resolve().relative_to(top), start)
    path = request.directory / os.path.relpath(top / name, request.directory.resolve())
    if path.exists() and not request.force:
        show(f"kept   {path}, which exists already")
    else:
        _write(path, content, show)


def _repository(directory: Path) -> Path:
    """Return the top of the Git repository that holds a directory, or the directory if none does."""
    whole = directory.resolve()
    return next((each for each in (whole, *whole.parents) if (each / ".git").exists()), whole)


def _write(path: Path, text: str, show: Callable[[str], None]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {reason_and_remedy(error)}") from None
    show(f"wrote  {path}")


def _probed(path: Path, start: Start, show: Callable[[str], None]) -> Measured:
    """Send one job as the scenario would, and return its times. Raises RunAborted if it did not complete."""
    # Slow to import, and needed only here.
    from loadtest.commands.driver import Driver
    from loadtest.commands.run import RunRequest, drive, scenario_of

    ceilings = ["ceilings.jobs=1"] if start.kind is Kind.URL else []
    with tempfile.TemporaryDirectory() as folder, Driver() as driver:
        request = RunRequest(path, overrides=[*PROBE, *ceilings])
        ended = drive(request, scenario_of(request), Path(folder, "probe"), driver)
        rows = ended.directory.table("samples").to_pylist()
    if ended.error is not None:
        raise ended.error
    job: dict[str, Any] = rows[0] if rows else {"outcome": "not sent", "error": None}
    if job["outcome"] != Outcome.COMPLETED:
        reason = f": {job['error']}" if job["error"] else ""
        raise RunAborted(f"the probe job: {job['outcome']}{reason}; set input and target in {path}, or repeat init")
    end_to_end_s = job["finished_at"] - job["sent_at"]
    delay_s, execution_s = ((job[name] or 0) / 1000 for name in ("delay_ms", "execution_ms"))
    show(f"probe  {delay_s * 1000:.0f} ms delay, {execution_s * 1000:.0f} ms execution, {end_to_end_s:.1f} s in all")
    return Measured(delay_s, execution_s or end_to_end_s, end_to_end_s)
