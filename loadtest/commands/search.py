"""`loadtest run` of a scenario with a search: one probe after another, each a run in a directory of its own."""

from __future__ import annotations

import os
import signal
import ssl
import time
from pathlib import Path
from types import FrameType

import msgspec
from rich.console import Console

from loadtest.analyze.summary import Verdict
from loadtest.capacity.breakpoint.backlog import backlog_of
from loadtest.capacity.breakpoint.bisection import Bounds, Probe, ProbeOutcome, SearchEnd, next_step, outcome_of
from loadtest.capacity.breakpoint.result import BreakpointResult, ProbeResult, measured_search, stopped, with_backlog
from loadtest.commands.driver import Driver
from loadtest.commands.read_run import read_run
from loadtest.commands.run import RunRequest, drive, on_signals
from loadtest.errors import InternalError, RecordingError, RunAborted, UsageError
from loadtest.flows.health import EndpointHealth
from loadtest.flows.steps import NO_RESPONSE, Response
from loadtest.process import SIGNAL_EXIT_CODES, exit_at_signals
from loadtest.protocol.operations import OPERATIONS, Op, authorization
from loadtest.record.atomic_file import readable_json, reserve_space, write_atomic
from loadtest.record.directory import make_results_directory
from loadtest.report.pages.search import search_html
from loadtest.report.summary_text import cause_texts
from loadtest.report.terminal.search import print_probe, print_search
from loadtest.scenario.environment import api_key, proxy_for
from loadtest.scenario.model import Ceilings, Scenario
from loadtest.scenario.preview import blocking_reason, first_rate, scaled_to
from loadtest.scenario.target import RemoteTarget
from loadtest.traffic.rate_limit import MARGIN_S

MAX_HEALTH_BYTES = 10**6


def unfinished_jobs(url: str, key: str) -> int:
    """Return the number of jobs that wait or run at an endpoint. Raises RunAborted if it does not report them.

    The request takes the way of the load: the same proxy, and the same certificates trusted.
    """
    # Slow to import, and needed only by a search of an endpoint that stays.
    import httpx

    operation, proxy = OPERATIONS[Op.HEALTH], proxy_for(url)
    named = None if proxy is None else httpx.Proxy(f"http://{proxy}", headers=proxy.headers)

    def send(timeout_s: float) -> Response:
        tls, until = ssl.create_default_context(), time.monotonic() + timeout_s
        try:
            with httpx.Client(proxy=named, verify=tls, trust_env=False, timeout=timeout_s) as client:
                headers = {b"Authorization": authorization(key).encode("latin-1")}
                with client.stream(operation.method, url + operation.path, headers=headers) as answer:
                    body = b""
                    for part in answer.iter_bytes():
                        body += part
                        if len(body) > MAX_HEALTH_BYTES or time.monotonic() > until:
                            error = "the health answer is endless: too large, or too slow"
                            return msgspec.structs.replace(NO_RESPONSE, error=error)
        except httpx.HTTPError as error:
            through = "" if proxy is None else f" (through the proxy {proxy})"
            return msgspec.structs.replace(NO_RESPONSE, error=f"{error}{through}")
        return msgspec.structs.replace(NO_RESPONSE, status=answer.status_code, body=body)

    return EndpointHealth(url, send).unfinished_jobs()


FILE, PAGE = "search.json", "search.html"
POLL_INTERVAL_S = 1.0


def search(request: RunRequest, scenario: Scenario) -> int:
    """Run a scenario as often as its search takes; return the exit code.

    Raises UsageError or RunDirectoryError before anything is sent or made.
    """
    if request.expect_workers:
        raise UsageError("--expect-workers: workers leave after one run, a search takes many; use --processes")
    return BreakpointSearch(request, scenario, make_results_directory(scenario, request.out)).search()


class BreakpointSearch:
    """A search in a directory made for it: the results of its probes, and the signal that ended it, if one did."""

    def __init__(self, request: RunRequest, scenario: Scenario, path: Path) -> None:
        assert scenario.search is not None
        self._request = request
        self._scenario = scenario
        self._path = path
        self._reserve = path / ".reserve"
        self._bounds = Bounds(first_rate(scenario), scenario.search.max_rate, scenario.search.within)
        self._empty_within_s = scenario.search.empty_timeout
        self._probes: list[ProbeResult] = []
        self._left = scenario.ceilings
        self._caught: list[signal.Signals] = []

    def search(self) -> int:
        """Probe until the edges are known or the search is stopped, write its files, and return the exit code."""
        self._begin()
        progress = Console(stderr=True)
        write_error = ""
        while True:
            step = next_step(self._bounds, [each.tried for each in self._probes])
            if write_error or not isinstance(step, Probe):
                break
            self._probes.append(self._run_probe(step))
            print_probe(len(self._probes), self._probes[-1], progress)
            write_error = self._save()
        end = step if isinstance(step, SearchEnd) else stopped(self._probes)
        found = measured_search(self._scenario, end, self._probes, write_error)
        self._write_result(found)
        return SIGNAL_EXIT_CODES[self._caught[0]] if self._caught else found.verdict.exit_code

    def _begin(self) -> None:
        self._note_signals()
        try:
            reserve_space(self._reserve)
        except RecordingError:
            self._path.rmdir()
            raise

    def _save(self) -> str:
        """Write the result up to now, in case this process is killed; return why that failed, or an empty text."""
        content = readable_json(measured_search(self._scenario, stopped(self._probes), self._probes))
        try:
            write_atomic(self._path / FILE, content)
            reserve_space(self._reserve, content)
        except RecordingError as error:
            return str(error)
        return ""

    def _write_result(self, found: BreakpointResult) -> None:
        """Write the result, in the space reserved for it, and its page. Raises RecordingError if the disk is full."""
        self._reserve.unlink(missing_ok=True)
        try:
            write_atomic(self._path / FILE, readable_json(found))
            write_atomic(self._path / PAGE, search_html(found).encode())
            exit_at_signals()  # there may be nobody who reads what is printed now
        except RecordingError:
            print_search(found, self._path / FILE, Console())
            raise
        print_search(found, self._path / PAGE, Console())

    def _run_probe(self, step: Probe) -> ProbeResult:
        """Run a probe; return its result, or why it was not sent."""
        number = len(self._probes) + 1
        probe = scaled_to(self._scenario, step.rate_per_s, step.stretch, self._scenario.seed + number - 1)
        probe = probe.model_copy(update={"ceilings": self._left})
        bare = ProbeResult(step.rate_per_s, ProbeOutcome.STOPPED, "", step.stretch)
        if (why := blocking_reason(probe)) is not None:
            return msgspec.structs.replace(bare, outcome=ProbeOutcome.REFUSED, reason=why)
        try:
            self._wait_until_empty()
            return self._send(bare, probe, self._path / f"probe-{number:02}")
        except (RunAborted, InternalError) as error:
            return msgspec.structs.replace(bare, reason=str(error))

    def _send(self, bare: ProbeResult, probe: Scenario, path: Path) -> ProbeResult:
        if self._caught:
            return msgspec.structs.replace(bare, reason=f"{self._caught[0].name} was caught.")
        try:
            with Driver() as driver:
                ended = drive(self._request, probe, path, driver)
        except RecordingError as error:
            return msgspec.structs.replace(bare, reason=str(error))
        finally:
            self._note_signals()
        if ended.stopped_by is not None:
            self._caught.append(ended.stopped_by)
        summary = ended.summary
        run = ended.directory.read_run()
        self._left = _remaining_ceilings(self._left, summary.jobs["submitted"], run.spent or 0.0)
        bare = msgspec.structs.replace(
            bare,
            run=path.name,
            jobs=summary.jobs["submitted"],
            achieved_per_s=summary.arrivals.achieved_per_s,
            gates=summary.gates,
        )
        if self._caught or ended.error is not None:
            return msgspec.structs.replace(bare, reason=str(ended.error or summary.reason))
        reason = " ".join([summary.reason, *cause_texts(summary)[:1]])
        outcome = outcome_of(summary, run.stop)
        if outcome is ProbeOutcome.PASSES and summary.verdict is not Verdict.PASS:
            reason = f"Only rates are too low, and more load may reach them. {reason}"
        judged = msgspec.structs.replace(bare, outcome=outcome, reason=reason)
        return with_backlog(judged, backlog_of(read_run(ended.directory, ())), self._bounds.within)

    def _wait_until_empty(self) -> None:
        """Wait until an endpoint that outlives its probes has no unfinished jobs. Raises RunAborted on timeout."""
        target = self._scenario.target
        if not isinstance(target, RemoteTarget) or not any(each.run for each in self._probes):
            return
        limit = self._scenario.limit(Op.HEALTH)
        # The probes ask for the health as well: a window between theirs and these keeps the limit.
        window_s = 0.0 if limit is None else limit.per_s + MARGIN_S
        interval_s = max(POLL_INTERVAL_S, 0.0 if limit is None else window_s / limit.requests)
        time.sleep(window_s)
        key, by = api_key(self._scenario, os.environ), time.monotonic() + self._empty_within_s
        while (left := unfinished_jobs(target.url, key)) and not self._caught:
            if time.monotonic() > by:
                raise RunAborted(
                    f"target: {target.url} has {left} unfinished jobs {self._empty_within_s:g} s after a probe; "
                    "a search needs an endpoint to itself, or a longer search.empty_timeout"
                )
            time.sleep(interval_s)
        time.sleep(window_s)

    def _note_signals(self) -> None:
        """Let a signal end the search; while a probe runs, it is forwarded to it instead."""

        def note(number: int, _frame: FrameType | None) -> None:
            self._caught.append(signal.Signals(number))

        on_signals(note)


def _remaining_ceilings(ceilings: Ceilings, submitted: int, spent: float) -> Ceilings:
    """Return what a run leaves of the ceilings, which hold for all probes together."""
    jobs = None if ceilings.jobs is None else ceilings.jobs - submitted
    cost = None if ceilings.cost is None else ceilings.cost - spent
    return ceilings.model_copy(update={"jobs": jobs, "cost": cost})
