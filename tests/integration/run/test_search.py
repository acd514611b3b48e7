"""A search drives a live endpoint: its edges, its limits, its end by a signal; each probe is a run of its own."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.run.conftest import LATE_IS_SOUND, Finished, Started, read_journal, sending

SIXTY_A_SECOND = {"workers": {"active": 3, "max": 3}, "service": "50ms"}


def searching(at_most: str, **more: Any) -> dict[str, Any]:
    return {
        "load": {"arrivals": "constant", "stages": [{"rate": "52/s", "for": "2500ms"}]},
        "search": {"max_rate": at_most, "within": "50 %"},
        "gates": ["delay p95 < 200ms"],
        "endpoint": SIXTY_A_SECOND,
        **more,
    }


def found(out: Path) -> dict[str, Any]:
    return json.loads((out / "search.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.alone
def test_both_edges_are_confirmed_and_every_probe_is_a_run_of_its_own(run: Callable[..., Finished]) -> None:
    finished = run(searching("75/s"), "--seed", "3")
    result = found(finished.out)
    assert (finished.status, result["verdict"], result["ended"]) == (0, "pass", "endpoint")
    assert (result["highest_passing_per_s"], result["lowest_failing_per_s"]) == (52, 75)
    assert [each["outcome"] for each in result["probes"]] == ["passes", "fails", "passes", "passes", "fails", "fails"]
    assert [gate["gate"] for gate in result["broken"]] == ["delay p95 < 200ms"]
    runs = [Finished(0, finished.out / each["run"], "", "") for each in result["probes"]]
    assert all(each.is_complete() for each in runs)
    assert [each.run["seed"] for each in runs] == [3, 4, 5, 6, 7, 8]
    assert [each.run["scenario"]["load"]["stages"][0]["rate"] for each in runs] == [
        "52/s",
        "75/s",
        "52/s",
        "52/s",
        "75/s",
        "75/s",
    ]
    assert {each.run["scenario"]["search"] for each in runs} == {None}
    page = (finished.out / "search.html").read_text()
    assert all(f'href="{each["run"]}/report.html"' in page for each in result["probes"])
    assert "The gates hold up to 52/s and no longer at 75/s" in " ".join(finished.stdout.split())
    assert "probe 6: 75.0/s fails" in finished.stderr


def test_no_limit_is_passed_and_it_is_told_that_the_limit_ended_the_search(
    run: Callable[..., Finished], serve: Callable[..., Any]
) -> None:
    """The endpoint bears what is sent; a limit of 60/s does not let more be tried."""
    server = serve({"workers": {"active": 9, "max": 9}, "service": "50ms"})
    scenario = searching("400/s", limits={"run": "60 per 1s"}, ceilings={"jobs": 500}, **LATE_IS_SOUND)
    finished = run(scenario, "--target", server.url)
    server.stop()
    result = found(finished.out)
    assert (finished.status, result["ended"], result["highest_passing_per_s"]) == (0, "limit", 52)
    assert "The limit, not the endpoint, ends the search: at 73.5/s offers 73.5/s to /run" in result["reason"]
    sent = [each for each in result["probes"] if each["run"]]
    assert [each["rate_per_s"] for each in sent] == [52, 52, 52]
    journal = read_journal(server.journal)
    submitted_at = np.sort([each["at"] for each in journal.requests if each["op"] == "run"])
    assert len(submitted_at) == sum(each["jobs"] for each in sent)
    assert max(np.searchsorted(submitted_at, submitted_at + 1.0) - np.arange(len(submitted_at))) <= 60


def test_a_signal_ends_the_search_with_the_probe_and_what_was_found_stands(start: Callable[..., Started]) -> None:
    begun = start(searching("75/s", load={"stages": [{"rate": "20/s", "for": "30s"}]}))
    sending(begun.out / "probe-01")
    begun.signal(signal.SIGINT)
    finished = begun.finish(20)
    result = found(finished.out)
    assert (finished.status, result["verdict"], result["ended"]) == (130, "aborted", "stopped")
    assert [each["outcome"] for each in result["probes"]] == ["stopped"]
    assert Finished(0, finished.out / "probe-01", "", "").is_complete()
