"""A probe is the scenario's load at another rate; a limit or a ceiling keeps it from being sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtest.report.terminal.preview import preview_lines
from loadtest.scenario.loading.feasibility import find_issues
from loadtest.scenario.loading.load import format_path, load_scenario
from loadtest.scenario.model import Scenario
from loadtest.scenario.preview import blocking_reason, first_rate, preview, scaled_to

BREAKPOINT = Path(__file__).parents[3] / "scenarios" / "breakpoint.yaml"


def scenario(**more: Any) -> Scenario:
    stages = [{"rate": "5/s to 20/s", "for": "2s"}, {"rate": "20/s", "for": "10s"}]
    asked = {
        "name": "x",
        "load": {"arrivals": "constant", "stages": stages},
        "search": {"max_rate": "500/s"},
        "gates": ["delay p95 < 2s"],
    }
    return Scenario.model_validate(asked | more)


def test_a_probe_scales_all_rates_so_that_the_highest_is_its_own() -> None:
    assert first_rate(scenario()) == 20
    probe = scaled_to(scenario(), 33.3, 2, 7)
    rates = [(stage.rate.start, stage.rate.end, stage.duration) for stage in probe.load.stages]  # type: ignore[union-attr]
    assert rates == [(8.325, 33.3, 4), (33.3, 33.3, 20)]
    assert (probe.seed, probe.search) == (7, None)
    assert probe.hash() == scaled_to(scenario(search={"max_rate": "90/s"}), 33.3, 2, 8).hash()


def test_a_probe_travels_as_json_without_a_change() -> None:
    probe = scaled_to(load_scenario(BREAKPOINT, ["ceilings.jobs=5000"]), 47.6, 2, 4)
    sent = msgspec.json.decode(msgspec.json.encode(probe.resolved()))
    assert Scenario.model_validate(sent) == probe


def test_no_probe_is_sent_once_the_cost_ceiling_is_spent() -> None:
    probe = scaled_to(scenario(price=0.01), 20.0, 1, 1)
    spent = probe.model_copy(update={"ceilings": probe.ceilings.model_copy(update={"cost": -0.1})})
    assert blocking_reason(spent) == "ceilings.cost is spent"


@pytest.mark.parametrize(
    ("more", "rate_per_s", "why"),
    [
        ({}, 99.0, None),
        ({}, 101.0, "offers 101/s to /run, the limit is 1000 per 10 s (100/s)"),
        ({"load": {"stages": [{"rate": "20/s", "for": "60s"}]}}, 99.0, "jobs fall into the fullest 10s of /run"),
        ({"ceilings": {"jobs": 500}}, 60.0, "it would submit 675 jobs, ceilings.jobs leaves 500"),
        ({"price": 0.01, "ceilings": {"cost": 1}}, 60.0, "US dollars, ceilings.cost leaves 1"),
    ],
)
def test_a_probe_above_a_limit_or_ceiling_is_not_sent(
    more: dict[str, Any], rate_per_s: float, why: str | None
) -> None:
    message = blocking_reason(scaled_to(scenario(**more), rate_per_s, 1, 1))
    assert (message is None) == (why is None)
    assert why is None or (message is not None and why in message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"gates": []}, "search: a search needs an objective; add gates"),
        ({"search": {"max_rate": "10/s"}}, "search.max_rate: 10/s is less than the load's own 20/s"),
        ({"load": {"model": "closed", "stages": [{"users": 3, "for": "5s"}]}}, "search: a search changes the rates"),
        (
            {"load": {"arrivals": {"times": [1, 2]}, "stages": [{"rate": "1/s", "for": "9s"}]}},
            "search: a search changes the rates",
        ),
    ],
)
def test_a_scenario_that_cannot_be_searched_is_refused(more: dict[str, Any], message: str) -> None:
    issue = next(find_issues(scenario(**more)))
    assert message in f"{format_path(issue.path)}: {issue.text}"


def test_check_shows_how_far_a_search_goes_and_which_limit_ends_it() -> None:
    text = " ".join(" ".join(preview_lines(preview(scenario()), {})).split())
    assert "others up to 500/s until a gate fails, to within 5 %: about 14 probes" in text
    assert "it does not reach 500/s: offers 500/s to /run" in text
