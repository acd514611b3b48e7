"""Worker-seconds from what the health said, counted by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest

from loadtest.analyze.jobs import LoadWindow
from loadtest.analyze.workers import UP_BEFORE_SCHEMA_3, worker_uptime
from loadtest.record.sample import HEALTH

WINDOW = LoadWindow(100.0, 120.0)


def health(*rows: tuple[float, int | None, int, int]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"at": at, "initializing": starting, "idle": idle, "running": running}
            for at, starting, idle, running in rows
        ],
        HEALTH,
    )


def worker_s(known: pa.Table) -> float:
    found = worker_uptime(known, WINDOW)
    assert found is not None
    return found.worker_s


def test_workers_that_start_or_run_count_and_stopped_ones_do_not() -> None:
    known = health(*((100.0 + each, 1, 2, 3) for each in range(21)))
    assert worker_s(known) == pytest.approx(4 * 20)


def test_workers_scaled_down_on_the_live_service_count_for_nothing() -> None:
    """Two workers pinned up for half of the time; then the service reports both as idle and bills nothing."""
    known = health(*((100.0 + each, 0, 0 if each < 10 else 2, 2 if each < 10 else 0) for each in range(21)))
    assert worker_s(known) == pytest.approx(2 * 9.5)


def test_idle_workers_of_the_embedded_endpoint_count_in_runs_of_an_older_schema() -> None:
    known = health(*((100.0 + each, 1, 2, 3) for each in range(21)))
    found = worker_uptime(known, WINDOW, UP_BEFORE_SCHEMA_3)
    assert found is not None
    assert found.worker_s == pytest.approx(6 * 20)


def test_a_change_between_two_askings_counts_for_half_of_that_time() -> None:
    known = health(*((100.5 + each, 0, 0, 1 if each < 10 else 3) for each in range(20)))
    assert worker_s(known) == pytest.approx(1 * 9.5 + 2 * 1 + 3 * 9.5)


def test_probes_outside_the_load_do_not_count() -> None:
    known = health(*((90.0 + each, 0, 0, 100 if each < 10 or each > 30 else 1) for each in range(41)))
    assert worker_s(known) == pytest.approx(20)


@pytest.mark.parametrize(
    "known",
    [
        health(),
        health(*((100.0 + 3 * each, 0, 0, 1) for each in range(7))),
        health(*((100.0 + each, 0, 0, 1) for each in range(15))),
        health(*((100.0 + each, None, 0, 1) for each in range(21))),
    ],
    ids=["none", "seldom", "a gap at the end", "starting is not told"],
)
def test_too_little_is_no_number(known: pa.Table) -> None:
    assert worker_uptime(known, WINDOW) is None
