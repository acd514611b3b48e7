"""The page of a capacity plan: it shows the content of `capacity.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import altair as alt
import msgspec
import numpy as np
import pytest

from loadtest.capacity.backtest.backtest import BacktestResult, FigureCheck
from loadtest.capacity.calibration.calibrate import calibrate
from loadtest.capacity.calibration.measurements import MissingMeasurement
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.planning.objective import ObjectiveStatus
from loadtest.capacity.planning.optimizer import Alternatives, Problem
from loadtest.capacity.planning.plan import BacktestReport, Plan, RejectedOption, encode_plan, plan
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.capacity.simulation.workload import fixed
from loadtest.endpoint.settings import QueueDelay, RequestCount
from loadtest.report.capacity_text import error_text, sensitivity_text, vendor_text
from loadtest.report.pages.capacity import backtest_html, capacity_html
from loadtest.report.pages.glossary import PLAN_TERMS, TERMS
from loadtest.scenario.gates import parse_gate
from tests.unit.analyze.rows import scenario
from tests.unit.capacity.made import bursts, flexible, measured_run
from tests.unit.report.page import Page

CALIBRATION, WORK = calibrate([measured_run(flexible(), bursts(60))])
SMALL_BUDGET = SimulationBudget(4, 800)


DELAY = FigureCheck("delay_p95_ms", Estimate(900.0, 700.0, 1100.0), 1250.0, -0.28, False)
WORKERS = FigureCheck("worker_s", Estimate(300.0, 290.0, 310.0), None, None, None)
CHECK = BacktestResult("other", "burst", fixed(4), 120.0, 321, 199, (DELAY, WORKERS), ("A note of the check.",))


def planned(slo: str = "delay p95 < 2s", price: float | None = 0.001, **options: Any) -> Plan:
    question = Problem(parse_gate(slo), WORK, price, SimulationBudget(2, 200), SMALL_BUDGET)
    return plan(question, CALIBRATION, 2.0, **options)


@pytest.fixture(scope="module")
def made() -> tuple[Plan, Page, str]:
    found = planned(alternatives=Alternatives((RequestCount(request_count=1),), (5.0, 60.0), 8))
    left_out = (RejectedOption(QueueDelay(queue_delay="9s"), 30.0, "not met up to 8 workers"),)
    found = msgspec.structs.replace(found, checks=(CHECK,), left_out=left_out)
    source = capacity_html(found)
    return found, Page(source), source


def numbers(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers(each)
    elif isinstance(value, int | float):
        yield str(value)


def test_every_figure_on_the_page_is_in_the_file(made: tuple[Plan, Page, str]) -> None:
    found, page, _ = made
    written = set(numbers(json.loads(encode_plan(found)))) | {""}
    shown = [value for figures in page.figures.values() for value in figures]
    assert len(shown) > 100
    assert [value for value in shown if value not in written] == []


def test_key_figures_and_settings_are_those_of_the_plan(made: tuple[Plan, Page, str]) -> None:
    found, page, _ = made
    answer = found.answer.prediction
    assert answer.utilisation is not None
    assert answer.cost_per_hour is not None
    assert found.answer.observed is not None
    shown = page.figures["Key figures"]
    mains = (
        found.answer.observed.value,
        answer.utilisation.value,
        found.highest_rate_per_s,
        answer.cost_per_hour.value,
    )
    assert all(str(value) in shown for value in mains)
    rows = [row[:2] for row in page.rows["settings"] if row]
    reported = (found.one_fewer, found.answer, found.cliff.less, found.cliff.more)
    expected = [
        [str(each.prediction.setting.max_workers), str(each.prediction.rate_per_s)] for each in reported if each
    ]
    assert rows[-4:] == expected
    options = [row[:2] for row in page.rows["options"] if row]
    settings = [each.prediction.setting for each in found.options]
    assert options == [[str(each.idle_timeout_s), str(each.max_workers)] for each in settings]
    assert page.rows["calibration"][1][0] == str(found.calibration.execution_ms.n)


def test_initializing_workers_are_apart_and_what_is_assumed_is_said(made: tuple[Plan, Page, str]) -> None:
    found, page, _ = made
    prediction = found.answer.prediction
    assert prediction.billed_workers is not None
    assert prediction.initializing_workers is not None
    shown = [str(each.value) for each in (prediction.billed_workers, prediction.initializing_workers)]
    assert page.figures["billing"] == shown
    assert "assumed to be billed" in page.text
    assert "With request count, the idle timeout is an assumption" in page.text
    assert "An account may have 5 workers at first" in page.text
    small = planned(named=fixed(5))
    assert not any("account" in each or "request count" in each for each in small.leaves_out)


def test_measured_figures_are_next_to_their_prediction_on_either_page(made: tuple[Plan, Page, str]) -> None:
    _, planned_page, source = made
    assert "not met up to 8 workers" in planned_page.text
    checked = backtest_html(BacktestReport(CALIBRATION, (CHECK,)))
    for page in (planned_page, Page(checked)):
        assert page.rows["backtest"][1:] == [
            ["900.0", "700.0", "1100.0", "1250.0", "-0.28"],
            ["300.0", "290.0", "310.0", ""],
        ]
        assert page.figures["backtest"][:3] == ["321", "120.0", "199"]
        assert "other: 4 active workers; 321 jobs in 2 min, 199 replicas. A note of the check." in page.text
    assert Page(checked).outside == []
    assert "worker time" in source


def test_error_of_a_delay_of_zero_is_a_time() -> None:
    nothing = FigureCheck("delay_p50_ms", Estimate(2.0, 0.0, 37.0), 0.0, None, True)
    assert [error_text(each) for each in (nothing, DELAY, WORKERS)] == ["+2.00 ms", "−28 %", "–"]
    page = Page(backtest_html(BacktestReport(CALIBRATION, (msgspec.structs.replace(CHECK, figures=(nothing,)),))))
    assert page.rows["backtest"][1] == ["2.0", "0.0", "37.0", "0.0", "2.0"]


def test_page_is_one_file_without_requests_with_legal_charts(made: tuple[Plan, Page, str]) -> None:
    found, page, source = made
    assert page.outside == []
    assert len(page.ids) == len(set(page.ids))
    assert set(page.links) <= {*page.ids}
    assert {f"def-{key}" for key in PLAN_TERMS.keys() - TERMS.keys() - {"dispatch"}} <= set(page.links)
    charts = json.loads(page.scripts["specs"])
    assert list(charts) == ["slo-workers", "slo-rate", "cost-workers", "cost-rate"]
    for chart in charts.values():
        alt.LayerChart.validate(chart)
    assert all(label.endswith(".") for label in page.labels)
    assert "default-src 'none'" in source
    assert found.leaves_out[0] in page.text


def test_plan_without_a_price_has_no_costs_and_names_missing_measurements() -> None:
    missing = MissingMeasurement("revival time", "some scenario")
    found = msgspec.structs.replace(planned(price=None), slo="cold starts < 5 %", limit=0.05)
    calibration = msgspec.structs.replace(found.calibration, missing=(missing,), notes=("A note.",))
    page = Page(capacity_html(msgspec.structs.replace(found, calibration=calibration)))
    assert "$" not in page.text
    assert list(json.loads(page.scripts["specs"])) == ["slo-workers", "slo-rate"]
    assert "revival time; to measure it: some scenario" in page.text
    assert "A note." in page.text


def test_named_workers_that_never_settle_have_no_figure() -> None:
    found = planned(named=fixed(1))
    page = Page(capacity_html(found))
    assert found.answer.observed is None
    assert "never settles" in page.text
    assert "1 active worker does not meet" in page.text


def test_workers_that_keep_up_only_with_the_observed_mean_get_a_warning() -> None:
    found = planned(named=fixed(4))
    most = found.answer.prediction.setting.max_workers
    full_ms = most / found.rate_per_s * 1000
    for longest_ms, warned in ((full_ms * 0.99, False), (full_ms, True)):
        mean = Estimate(300.0, 200.0, longest_ms)
        calibration = msgspec.structs.replace(found.calibration, execution_mean_ms=mean)
        text = sensitivity_text(msgspec.structs.replace(found, calibration=calibration))
        assert ("then their queue never settles" in text) is warned


def test_vendors_own_example_needs_more_than_its_rule_and_the_page_says_why() -> None:
    """6 per minute of 30 s each, exponential, on the rule's 3 workers: offered 3 Erlangs, as much as they can do."""
    parts = -np.log1p(-(np.arange(400) + 0.5) / 400)
    at_s = np.cumsum(np.random.default_rng(1).exponential(10.0, 400)).tolist()
    whole_ms = np.round(parts / parts.mean() * 30_000).astype(int)
    whole_ms[-1] += 400 * 30_000 - whole_ms.sum()
    run = measured_run(scenario(endpoint={"workers": {"active": 9, "max": 9}, "service": "30s"}), at_s)
    jobs = replace(run.jobs, execution_ms=whole_ms.astype(float))
    calibration, work = calibrate([replace(run, jobs=jobs)])
    assert work.service.mean_s() == pytest.approx(30.0)
    slo = parse_gate("delay p95 < 4s")
    question = Problem(slo, work, 0.00031, SimulationBudget(3, 600), SimulationBudget(4, 1500))
    found = plan(question, calibration, 0.1)
    assert found.analytic.vendor_workers == 3
    assert found.answer.prediction.setting.active > 3
    assert (found.curves.vendor.observed, found.curves.vendor.standing) == (None, ObjectiveStatus.NOT_MET)
    assert "gives 3" in vendor_text(found, slo)
    assert "the queue never settles" in vendor_text(found, slo)
    page = Page(capacity_html(found))
    assert vendor_text(found, slo) in page.text
    assert page.rows["settings"][1][0] == "3"
