"""An invalid run ends with 3, and names its cause first, then what followed from it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.conftest import Serve
from tests.integration.run.conftest import LATE_IS_SOUND, Finished, Run, Start, open_load, sending

SLOW = {"workers": {"active": 100, "max": 100}, "service": "100ms"}
FAST = {"workers": {"active": 60, "max": 60}, "service": "10ms"}
LATE_IS_NOT_JUDGED = {"validity": {"send_lag": "30s", "cpu": "100 %"}}


def constant(rate: str, duration: str, **more: Any) -> dict[str, Any]:
    """Return a scenario of jobs at even gaps, each a single request."""
    return open_load(rate, duration, arrivals="constant", flows={"runsync": {}}, drain={"within": "5s"}, **more)


def ramp(*stages: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return a scenario of these stages, each job a single request."""
    return {"load": {"arrivals": "constant", "stages": list(stages)}, "flows": {"runsync": {}}, **more}


def failing(finished: Finished) -> list[str]:
    return [check["name"] for check in finished.summary["validity"]["checks"] if not check["ok"]]


def assert_invalid(finished: Finished, cause: str) -> None:
    """The verdict, the exit code and the cause, which is in the first line of the terminal too."""
    terminal = " ".join(finished.stdout.split())
    reason = finished.summary["reason"]
    assert (finished.status, finished.summary["verdict"]) == (3, "invalid"), terminal
    assert finished.summary["validity"]["valid"] is False
    assert re.match(cause, reason.partition("not valid: ")[2]), reason
    assert terminal.startswith(f"INVALID {reason[:60]}"), terminal
    assert finished.is_complete()


def test_rate_that_was_not_achieved_is_invalid_and_named_next_to_the_rate_offered(run: Run, serve: Serve) -> None:
    limits = {"runsync": "2000 per 10 s, 12 at once"}
    scenario = constant("200/s", "3s", limits=limits, **LATE_IS_NOT_JUDGED)
    finished = run({**scenario, "gates": ["execution p50 < 5s"]}, "--target", serve(SLOW).url)
    assert_invalid(
        finished, r"200/s was offered and 1?\d\d/s achieved, .* 12 at once \(limits.runsync\): \d\d\d of 600 "
    )
    arrivals = finished.summary["arrivals"]
    assert arrivals["offered_per_s"] == 200
    assert 40 < arrivals["achieved_per_s"] < 130  # 12 each 100 ms at most, and 12 more at once at the start
    assert finished.summary["gates"][0]["verdict"] == "pass", "a gate that holds does not help"


def test_ramp_that_never_reaches_its_rate_is_invalid_whatever_its_gates_say(run: Run, serve: Serve) -> None:
    stages = {"name": "up", "rate": "1/s to 120/s", "for": "3s"}, {"name": "steady", "rate": "120/s", "for": "1s"}
    scenario = ramp(*stages, gates=["execution p50 < 5s during steady"], **LATE_IS_NOT_JUDGED)
    scenario["load"]["max_in_flight"] = 6
    finished = run(scenario, "--target", serve(SLOW).url)
    assert_invalid(finished, r"Stage 1 \(up\), a ramp to 120/s, .* 1\d\d/s was offered and \d\d/s achieved")
    assert {"stages reached", "load delivered", "rate achieved"} <= set(failing(finished))


def test_ramp_that_a_ceiling_ends_is_aborted_and_not_valid(run: Run, serve: Serve) -> None:
    scenario = ramp({"rate": "1/s to 160/s", "for": "8s"}, ceilings={"jobs": 60})
    finished = run({**scenario, "gates": ["execution p50 < 5s"]}, "--target", serve(FAST).url)
    assert (finished.status, finished.summary["verdict"]) == (5, "aborted")
    assert "ceilings.jobs: 60 jobs" in finished.summary["reason"]
    assert {"run complete", "stages reached"} <= set(failing(finished))
    assert re.search(r"Load was offered for [2-7][.\d]* s of the 8 s", " ".join(finished.stdout.split()))


def test_generator_that_is_suspended_now_and_then_is_invalid(start: Start, serve: Serve) -> None:
    begun = start(constant("50/s", "4s", validity={"cpu": "100 %"}), "--target", serve(FAST).url)
    sending(begun)
    (master,) = begun.children()
    for _ in range(12):
        master.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        master.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    finished = begun.finish()
    assert_invalid(
        finished, r"Jobs were sent within \d+\.?\d* m?s \(p9\d\) of their intended start; the limit is 25 ms"
    )
    assert finished.summary["flows"]["runsync"]["execution_ms"]["p50"] < 50


@contextmanager
def starved(process: psutil.Process) -> Iterator[None]:
    """Leave to a process only the time that two busy processes do not use of one core."""
    core = min(os.sched_getaffinity(0))
    loop = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(2)]
    process.cpu_affinity([core])
    os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
    autogroup = Path(f"/proc/{process.pid}/autogroup")
    if autogroup.exists():  # the system shares a core out between sessions first
        autogroup.write_text("19")
    try:
        yield
    finally:
        for each in busy:
            each.kill()
            each.wait()


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who waits for a core")
def test_generator_without_the_processor_time_that_it_needs_is_invalid(start: Start) -> None:
    begun = start(constant("150/s", "7s", endpoint=FAST, validity={"cpu": "60 %"}))
    sending(begun)
    with starved(begun.children()[0]):
        time.sleep(6)
    finished = begun.finish()
    assert_invalid(finished, r"Process 0 used, or waited for, ([6-9]\d|10\d) % of a core in its busiest 5 s; ")
    assert "send lag" in failing(finished)


def test_run_without_a_job_never_passes(run: Run, serve: Serve) -> None:
    finished = run(open_load("0.01/s", "1s"), "--target", serve(FAST).url)
    assert_invalid(finished, r"No job was submitted\.")
    assert finished.summary["jobs"]["submitted"] == 0


def test_twenty_jobs_have_no_p99_and_the_report_names_the_number_needed(run: Run, serve: Serve) -> None:
    finished = run(constant("20/s", "1s", **LATE_IS_SOUND), "--target", serve(FAST).url)
    assert finished.status == 0
    times = finished.summary["flows"]["runsync"]["end_to_end_ms"]
    assert (times["n"], times["p95"], times["p99"]) == (20, None, None)
    assert times["p50"] > 0
    assert "p95 needs 72" in finished.stdout
    assert "needs 368 jobs" in (finished.out / "report.html").read_text()
