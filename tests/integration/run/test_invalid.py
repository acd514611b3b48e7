"""An invalid run ends with 3, and names its cause first, then what followed from it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.run.conftest import Finished, Started, sending, steady

SLOW = {"workers": {"active": 100, "max": 100}, "service": "100ms"}
FAST = {"workers": {"active": 60, "max": 60}, "service": "10ms"}


def constant(rate: str, duration: str, **more: Any) -> dict[str, Any]:
    """Jobs at even gaps, each of which is one request."""
    load = {"arrivals": "constant", "stages": [{"rate": rate, "for": duration}], **more.pop("load", {})}
    return {"load": load, "flows": {"runsync": {}}, "drain": {"within": "5s"}, **more}


def failing(finished: Finished) -> list[str]:
    return [check["name"] for check in finished.summary["validity"]["checks"] if not check["ok"]]


def assert_invalid(finished: Finished, reason: str) -> None:
    """Assert the word, the code and the reason, which is also in the first line of the terminal."""
    said = " ".join(finished.stdout.split())
    assert (finished.status, finished.summary["verdict"]) == (3, "invalid"), said
    assert finished.summary["validity"]["valid"] is False
    reported = f"The measurement is not valid: {reason}"
    assert re.match(reported, finished.summary["reason"]), finished.summary["reason"]
    assert re.match(f"INVALID {reported}", said), said
    assert finished.is_complete()


@pytest.mark.alone
def test_rate_that_was_not_achieved_is_named_next_to_the_offered_one(
    run: Callable[..., Finished],
) -> None:
    limits = {"runsync": "2000 per 10 s, 12 at once"}
    finished = run({**constant("200/s", "3s", limits=limits), "endpoint": SLOW, "gates": ["execution p50 < 5s"]})
    rates = r"200/s was offered and 1[012]\d/s achieved, with no more than 12 at once \(limits.runsync\): "
    assert_invalid(finished, rf"{rates}3\d\d of 600 due jobs were sent; the minimum is 99 %\.")
    arrivals = finished.summary["arrivals"]
    assert arrivals["offered_per_s"] == 200
    assert 100 < arrivals["achieved_per_s"] < 130  # 12 each 100 ms, and 12 more at once at the start
    assert [gate["verdict"] for gate in finished.summary["gates"]] == ["pass"], "a gate that holds does not help"


@pytest.mark.alone
def test_a_ramp_that_never_comes_to_its_rate_is_invalid_whatever_its_gates_say(
    run: Callable[..., Finished],
) -> None:
    stages = [{"name": "up", "rate": "1/s to 120/s", "for": "3s"}, {"name": "steady", "rate": "120/s", "for": "1s"}]
    load = {"stages": stages, "max_in_flight": 6}
    finished = run({**constant("", "", load=load), "endpoint": SLOW, "gates": ["execution p50 < 5s during steady"]})
    reason = (
        r"Stage 1 \(up\), a ramp to 120/s, never came to it: at its end 1\d\d/s was offered and [56]\d/s achieved"
    )
    assert_invalid(finished, reason)
    assert {"stages reached", "load delivered", "rate achieved"} <= set(failing(finished))


def test_ramp_that_a_ceiling_ends_is_aborted_and_not_valid(run: Callable[..., Finished]) -> None:
    load = {"stages": [{"rate": "1/s to 160/s", "for": "8s"}]}
    scenario = {**constant("", "", load=load, ceilings={"jobs": 60}), "endpoint": FAST}
    finished = run({**scenario, "gates": ["execution p50 < 5s"]})
    assert (finished.status, finished.summary["verdict"]) == (5, "aborted")
    assert finished.summary["reason"] == "The run was aborted: ceilings.jobs: 60 jobs have been submitted."
    assert {"run complete", "stages reached"} <= set(failing(finished))
    said = " ".join(finished.stdout.split())
    assert re.search(r"Load was offered for [23][.\d]* s of the 8 s that the stages last, so what they were to", said)


@pytest.mark.alone
def test_generator_that_halts_now_and_then_is_invalid(start: Callable[..., Started]) -> None:
    begun = start({**constant("50/s", "4s"), "endpoint": FAST})
    sending(begun)
    driver = psutil.Process(begun.process.pid).children()[0]
    for _ in range(12):
        driver.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        driver.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    finished = begun.finish()
    assert_invalid(
        finished, r"Jobs were sent within \d+\.\d ms \(p9\d\) of their intended start; the limit is 25 ms\."
    )
    assert finished.summary["flows"]["runsync"]["execution_ms"]["p50"] == pytest.approx(10, abs=3)


@contextmanager
def starved(driver: psutil.Process) -> Iterator[None]:
    """Meanwhile a process has only what two others, which take all they can get, leave of one core."""
    core = min(os.sched_getaffinity(0))
    loop = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(2)]
    driver.cpu_affinity([core])
    os.sched_setscheduler(driver.pid, os.SCHED_IDLE, os.sched_param(0))
    autogroup = Path(f"/proc/{driver.pid}/autogroup")
    if autogroup.exists():  # the system shares a core out between sessions first
        autogroup.write_text("19")
    try:
        yield
    finally:
        for each in busy:
            each.kill()
            each.wait()


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="who waits for a core is told by Linux alone")
def test_a_generator_without_the_processor_that_it_needs_is_invalid(start: Callable[..., Started]) -> None:
    begun = start({**constant("150/s", "11s"), "endpoint": FAST})
    sending(begun)
    with starved(psutil.Process(begun.process.pid).children()[0]):
        time.sleep(9.5)
    finished = begun.finish()
    assert_invalid(finished, r"Process 0 used, or waited for, (9\d|10\d) % of a core in its busiest 5 s; ")
    assert "send lag" in failing(finished)


def test_no_job_never_passes(run: Callable[..., Finished]) -> None:
    finished = run({**steady("0.01/s", "1s"), "endpoint": FAST})
    assert_invalid(finished, r"No job was submitted\.")
    assert finished.summary["jobs"]["submitted"] == 0


@pytest.mark.alone
def test_twenty_jobs_have_no_p99_and_the_number_needed_is_reported(run: Callable[..., Finished]) -> None:
    finished = run({**constant("10/s", "2s"), "endpoint": FAST})
    assert finished.status == 0
    times = finished.summary["flows"]["runsync"]["end_to_end_ms"]
    assert (times["n"], times["p95"], times["p99"]) == (20, None, None)
    assert times["p50"] > 0
    assert "p95 needs 72" in finished.stdout
    assert "needs 368 jobs" in (finished.out / "report.html").read_text()
