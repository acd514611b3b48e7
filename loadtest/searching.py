"""`loadtest run` of a scenario with a search: probe after probe, each an ordinary run in a directory of its own."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType

import msgspec
from rich.console import Console

from loadtest.analyze.summary import Summary
from loadtest.capacity.measured import MeasuredSearch, ProbeResult, measured_search, stopped_after
from loadtest.capacity.probing import Bounds, Found, Outcome, Probe, next_step, outcome_of
from loadtest.errors import Aborted, RecordingError, UsageError
from loadtest.health import unfinished_jobs
from loadtest.record.whole import set_aside, write_whole
from loadtest.report.search import print_probe, print_search
from loadtest.report.search_page import search_html
from loadtest.scenario.key import key_of
from loadtest.scenario.model import Ceilings, Scenario
from loadtest.scenario.probes import at_rate, changes, first_rate, obstacle
from loadtest.scenario.target import RemoteTarget
from loadtest.supervise import SIGNAL_ENDINGS, RunRequest, drive, free_directory

FILE, PAGE = "search.json", "search.html"
ASK_EVERY_S = 1.0


def search(request: RunRequest, scenario: Scenario) -> int:
    """Run a scenario as often as its search takes; the contract's exit code.

    Raises UsageError or RunDirectoryError before anything is sent or made.
    """
    if request.expect_workers:
        raise UsageError("--expect-workers: workers leave after one run, a search takes many; use --processes")
    return Searching(request, scenario, free_directory(request, scenario)).search()


class Searching:
    """A search as it goes on: what the probes came to, and the signal that asked for its end, if one did."""

    def __init__(self, request: RunRequest, scenario: Scenario, path: Path) -> None:
        assert scenario.search is not None
        self._request = request
        self._scenario = scenario
        self._path = path
        self._reserve = path / ".reserve"
        self._bounds = Bounds(first_rate(scenario), scenario.search.at_most, scenario.search.within)
        self._empty_within_s = scenario.search.empty_within
        self._probes: list[ProbeResult] = []
        self._left = scenario.ceilings
        self._caught: list[signal.Signals] = []

    def search(self) -> int:
        """Probe until the edges are known or something ends the search, and leave its files; the exit code."""
        self._begin()
        progress = Console(stderr=True)
        unkept = ""
        while isinstance(step := self._next(), Probe) and not unkept:
            self._probes.append(self._probed(step))
            print_probe(len(self._probes), self._probes[-1], progress)
            unkept = self._unkept()
        end = step if isinstance(step, Found) else stopped_after(self._probes)
        found = measured_search(self._scenario, end, self._probes, unkept)
        self._tell(found)
        return SIGNAL_ENDINGS[self._caught[0]] if self._caught else found.verdict.exit_code

    def _begin(self) -> None:
        self._note_signals()
        self._path.mkdir(parents=True)
        try:
            set_aside(self._reserve)
        except RecordingError:
            self._path.rmdir()
            raise

    def _next(self) -> Probe | Found:
        return next_step(self._bounds, [each.tried for each in self._probes])

    def _unkept(self) -> str:
        """Keep what the probes so far came to, whatever may end this process; why it could not be kept, if so."""
        content = _encoded(measured_search(self._scenario, stopped_after(self._probes), self._probes))
        try:
            write_whole(self._path / FILE, content)
            set_aside(self._reserve, content)
        except RecordingError as fault:
            return str(fault)
        return ""

    def _tell(self, found: MeasuredSearch) -> None:
        """Leave the result, with the room that was set aside, and its page; RecordingError where the disk refuses."""
        self._reserve.unlink(missing_ok=True)
        try:
            write_whole(self._path / FILE, _encoded(found))
            write_whole(self._path / PAGE, search_html(found).encode())
        except RecordingError:
            print_search(found, self._path / FILE, Console())
            raise
        print_search(found, self._path / PAGE, Console())

    def _probed(self, step: Probe) -> ProbeResult:
        """What a probe came to, or why it was not sent."""
        number = len(self._probes) + 1
        probe = at_rate(self._scenario, step.rate_per_s, step.stretch, self._scenario.seed + number - 1)
        probe = probe.model_copy(update={"ceilings": self._left})
        bare = ProbeResult(step.rate_per_s, Outcome.STOPPED, "", step.stretch)
        if (why := obstacle(probe)) is not None:
            return msgspec.structs.replace(bare, outcome=Outcome.REFUSED, reason=why)
        try:
            self._wait_until_empty()
            return self._sent(bare, probe, self._path / f"probe-{number:02}")
        except Aborted as fault:
            return msgspec.structs.replace(bare, reason=str(fault))

    def _sent(self, bare: ProbeResult, probe: Scenario, path: Path) -> ProbeResult:
        if self._caught:
            return msgspec.structs.replace(bare, reason=f"{self._caught[0].name} was caught.")
        overrides = [*self._request.overrides, *changes(probe)]
        try:
            ended = drive(replace(self._request, seed=probe.seed, overrides=overrides), probe, path)
        except RecordingError as fault:
            return msgspec.structs.replace(bare, reason=str(fault))
        finally:
            self._note_signals()
        if ended.caught is not None:
            self._caught.append(ended.caught)
        summary = ended.summary
        if summary is None:
            return msgspec.structs.replace(bare, reason=f"{self._caught[0].name} was caught.")
        self._left = _left(self._left, summary, self._scenario.price)
        stopped = bool(self._caught) or ended.fault is not None
        return msgspec.structs.replace(
            bare,
            outcome=Outcome.STOPPED if stopped else outcome_of(summary, ended.directory.read_run().reason or ""),
            reason=summary.reason if ended.fault is None else str(ended.fault),
            run=path.name,
            jobs=summary.jobs["submitted"],
            achieved_per_s=summary.arrivals.achieved_per_s,
            gates=summary.gates,
        )

    def _wait_until_empty(self) -> None:
        """After a probe of an endpoint that stays, wait until none of its jobs is unfinished; else Aborted."""
        target = self._scenario.target
        if not isinstance(target, RemoteTarget) or not any(each.run for each in self._probes):
            return
        key, by = key_of(self._scenario, os.environ), time.monotonic() + self._empty_within_s
        while (left := unfinished_jobs(target.url, key)) and not self._caught:
            if time.monotonic() > by:
                raise Aborted(
                    f"target: {target.url} has {left} unfinished jobs {self._empty_within_s:g} s after a probe; "
                    "a search needs an endpoint to itself, or a longer search.empty_within"
                )
            time.sleep(ASK_EVERY_S)

    def _note_signals(self) -> None:
        """Between probes a signal ends the search; while one is driven it is passed on."""

        def note(number: int, _frame: FrameType | None) -> None:
            self._caught.append(signal.Signals(number))

        for number in SIGNAL_ENDINGS:
            signal.signal(number, note)


def _encoded(found: MeasuredSearch) -> bytes:
    return msgspec.json.format(msgspec.json.encode(found), indent=2)


def _left(ceilings: Ceilings, summary: Summary, price: float | None) -> Ceilings:
    """What a run leaves of the ceilings, which hold for all probes together."""
    jobs, cost = ceilings.jobs, ceilings.cost
    if jobs is not None:
        jobs -= summary.jobs["submitted"]
    if cost is not None and summary.cost is not None and price is not None:
        cost -= summary.cost.billed_s * price
    return ceilings.model_copy(update={"jobs": jobs, "cost": cost})
