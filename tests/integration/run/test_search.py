"""A search drives a live endpoint: its edges, its limits, its end by a signal; each probe is a run of its own."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np

from tests.integration.conftest import Serve
from tests.integration.run.conftest import LATE_IS_SOUND, Finished, Run, Start, journal_of, open_load, sending

FIFTY_A_SECOND = {"workers": {"active": 3, "max": 3}, "service": "60ms"}


def searching(rate: str, max_rate: str, duration: str = "1500ms", **more: Any) -> dict[str, Any]:
    return {
        **open_load(rate, duration, arrivals="constant", **LATE_IS_SOUND),
        "search": {"max_rate": max_rate, "within": "50 %"},
        "gates": ["delay p90 < 300ms"],
        "endpoint": FIFTY_A_SECOND,
        **more,
    }


def found(out: Path) -> dict[str, Any]:
    return json.loads((out / "search.json").read_text())  # type: ignore[no-any-return]


def test_both_edges_are_confirmed_and_every_probe_is_a_run_of_its_own(run: Run) -> None:
    """A probe whose queue is too busy to be judged is repeated for longer."""
    search = {"max_rate": "62/s", "within": "40 %"}
    finished = run(searching("45/s", "62/s", "2500ms", search=search), "--seed", "3")
    result = found(finished.out)
    assert (finished.status, result["verdict"], result["ended"]) == (0, "pass", "endpoint")
    assert (result["highest_passing_per_s"], result["lowest_failing_per_s"]) == (45, 62)
    judged = [each for each in result["probes"] if each["outcome"] != "cannot tell"]
    outcomes = {rate: {each["outcome"] for each in judged if round(each["rate_per_s"]) == rate} for rate in (45, 62)}
    assert outcomes == {45: {"passes"}, 62: {"fails"}}
    assert all(sum(round(each["rate_per_s"]) == rate for each in judged) >= 2 for rate in (45, 62))
    assert [gate["gate"] for gate in result["broken"]] == ["delay p90 < 300ms"]
    runs = [Finished(0, finished.out / each["run"], "", "") for each in result["probes"]]
    assert all(each.is_complete() for each in runs)
    assert [each.run["seed"] for each in runs] == list(range(3, 3 + len(runs)))
    assert {each.run["scenario"]["search"] for each in runs} == {None}
    page = (finished.out / "search.html").read_text()
    assert all(f'href="{each["run"]}/report.html"' in page for each in result["probes"])
    assert "The gates hold up to 45/s and no longer at 62/s" in " ".join(finished.stdout.split())
    assert "62.0/s fails" in finished.stderr


def test_no_limit_is_exceeded_and_the_limit_is_named_as_the_end_of_the_search(run: Run, serve: Serve) -> None:
    """The endpoint could take more; a limit of 60/s lets no more be tried."""
    server = serve({"workers": {"active": 9, "max": 9}, "service": "50ms"})
    scenario = searching("52/s", "400/s", limits={"run": "60 per 1s"}, ceilings={"jobs": 500})
    finished = run(scenario, "--target", server.url)
    journal, result = journal_of(server), found(finished.out)
    assert (finished.status, result["ended"], result["highest_passing_per_s"]) == (0, "limit", 52)
    assert "73.5/s to /run" in result["reason"]
    sent = [each for each in result["probes"] if each["run"]]
    # A probe that a busy machine leaves undecided is repeated.
    assert {each["rate_per_s"] for each in sent} == {52}
    assert 3 <= len(sent) <= 5
    submitted_at = np.sort([each["at"] for each in journal.requests if each["op"] == "run"])
    assert len(submitted_at) == sum(each["jobs"] for each in sent)
    assert max(np.searchsorted(submitted_at, submitted_at + 1.0) - np.arange(len(submitted_at))) <= 60


def test_signal_ends_the_search_with_its_probe_and_keeps_the_result_so_far(start: Start) -> None:
    begun = start(searching("40/s", "75/s", "30s"))
    sending(begun.out / "probe-01")
    begun.process.send_signal(signal.SIGINT)
    finished = begun.finish()
    result = found(finished.out)
    assert (finished.status, result["verdict"], result["ended"]) == (130, "aborted", "stopped")
    assert [each["outcome"] for each in result["probes"]] == ["stopped"]
    assert Finished(0, finished.out / "probe-01", "", "").is_complete()
