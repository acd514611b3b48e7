"""A master with several generators in virtual time: one schedule, shared limits, losses, late generators, clocks."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from loadtest.drive.cluster.membership import LEASE_S, LOST_AFTER_S
from loadtest.drive.metrics.counts import RunCounts
from loadtest.drive.metrics.families import Snapshot
from loadtest.errors import ExitCode
from loadtest.record.audit import audit
from loadtest.record.run import Ending, Progress
from loadtest.scenario.model import Scenario
from loadtest.scenario.telemetry import MetricsConfig
from loadtest.traffic.arrivals import max_in_window
from tests.unit.drive.cluster.virtual_cluster import BEGINS_AT, Cluster, Host

LIMIT = {"runsync": "400 per 2 s"}
"""A short window, since it has to pass before the share of a lost generator is given to others."""


def cluster(
    folder: Path,
    generators: int,
    rate: str = "30/s",
    duration: str = "20s",
    progress_fd: int | None = None,
    metrics: MetricsConfig | None = None,
    **keys: Any,
) -> Cluster:
    load = keys.pop("load", {"arrivals": "poisson", "stages": [{"rate": rate, "for": duration}]})
    limits = {
        **dict.fromkeys(("run", "status", "status-sync", "stream", "cancel", "purge-queue", "openai"), "400 per 2 s"),
        **LIMIT,
    }
    asked = {
        "name": "x",
        "load": load,
        "flows": {"runsync": {}},
        "limits": limits,
        "drain": {"within": "10s"},
        **keys,
    }
    made = Cluster(folder, Scenario.model_validate(asked), progress_fd=progress_fd, metrics=metrics)
    for number in range(generators):
        made.add(f"g{number}")
    return made


def assert_whole_schedule_sent_once(made: Cluster) -> list[dict[str, Any]]:
    rows = made.rows()
    schedule = made.scenario.schedule()
    assert schedule is not None
    assert sorted(row["seq"] for row in rows) == list(range(len(schedule)))
    assert len(made.submissions) == len(rows)
    return rows


def test_generators_send_one_schedule_together(tmp_path: Path) -> None:
    made = cluster(tmp_path, 3)
    made.run()
    run = made.directory.read_run()
    assert [(each.sent, each.recorded) for each in audit(made.directory)] == [
        (count, count) for _, count in sorted(Counter(name for _, name in made.submissions).items())
    ]
    rows = assert_whole_schedule_sent_once(made)
    assert Counter(row["process"] for row in rows).keys() == {0, 1, 2}
    assert {row["outcome"] for row in rows} == {"completed"}
    assert (run.ending, run.reason, run.lost) == (Ending.COMPLETE, "", [])
    assert run.load_started_at is not None
    assert run.ended_at == pytest.approx(run.load_started_at + 20, abs=1.0)
    assert repr(made.master) == "<Master of x: over, <Membership: g0 FINISHED, g1 FINISHED, g2 FINISHED>>"


def test_metrics_of_the_master_are_the_rows_of_all_generators_while_it_runs_and_at_the_end(tmp_path: Path) -> None:
    made = cluster(tmp_path, 3, metrics=MetricsConfig())
    halfway: list[Snapshot] = []
    made.at(10.0, lambda: halfway.append(made.master.metrics.snapshot()))
    made.run()
    rows, end = assert_whole_schedule_sent_once(made), made.master.metrics.snapshot()
    assert [(each.flow, each.outcome, each.jobs) for each in end.counts.jobs] == [("runsync", "completed", len(rows))]
    assert end.counts.requests["runsync"] == {200: len(rows)}
    assert (end.in_flight, end.limits_used) == (0, {})
    assert 0.3 * len(rows) < halfway[0].counts.jobs[0].jobs < 0.6 * len(rows)
    assert halfway[0].limits_used["runsync"] > 0


def test_metrics_keep_what_a_lost_generator_has_reported(tmp_path: Path) -> None:
    made = cluster(tmp_path, 3, duration="30s", metrics=MetricsConfig())
    made.at(10.25, made.hosts["g1"].kill)
    made.run()
    (jobs,) = made.master.metrics.snapshot().counts.jobs
    recorded = {each.process: each.recorded for each in audit(made.directory)}
    assert recorded[0] + recorded[2] + 0.8 * recorded[1] < jobs.jobs <= len(made.rows())


def test_generators_count_nothing_for_metrics_that_are_off(tmp_path: Path) -> None:
    made = cluster(tmp_path, 1, duration="3s")
    made.run()
    assert made.master.metrics.snapshot().counts == RunCounts()


def test_every_time_is_in_the_clock_of_the_master_whatever_the_clocks_of_the_hosts(tmp_path: Path) -> None:
    made = cluster(tmp_path, 0)
    made.add("slow", offset_s=-75.0)
    made.add("fast", offset_s=3600.0)
    made.run()
    offsets = [each.clock_offset_s for each in made.directory.read_run().processes]
    assert offsets == pytest.approx([-75.0, 3600.0])
    sent_at = sorted(row["sent_at"] for row in assert_whole_schedule_sent_once(made))
    assert sent_at == pytest.approx([at for at, _ in sorted(made.submissions)], abs=1e-6)


def test_the_others_send_the_schedule_of_a_killed_generator_and_its_jobs_are_missing_by_count(tmp_path: Path) -> None:
    made = cluster(tmp_path, 3, duration="30s")
    made.at(10.25, made.hosts["g1"].kill)
    made.run()
    run = made.directory.read_run()
    assert run.lost == [1]
    missing = {each.process: each.sent - each.recorded for each in audit(made.directory)}
    assert missing[0] == missing[2] == 0
    assert 0 <= missing[1] <= 30 / 3 * 0.5 + 5, "at most what it sent since its last heartbeat"
    rows = made.rows()
    assert len(made.submissions) - len(rows) == missing[1]
    assert max(Counter(row["seq"] for row in rows).values()) == 1
    assert run.load_started_at is not None
    # Its arrivals are reassigned once it is lost, from a time at which it can have sent nothing for certain.
    again_at = BEGINS_AT + 10.25 + LOST_AFTER_S + LEASE_S + 2.0
    later = {row["seq"] for row in rows if row["intended_at"] > again_at}
    schedule = made.scenario.schedule()
    assert schedule is not None
    assert later == set(np.flatnonzero(schedule.at_s + run.load_started_at > again_at))
    assert len(later) > 250


@pytest.mark.parametrize("interrupt", [Host.cut, Host.suspend])
def test_a_generator_that_is_away_for_a_while_sends_nothing_that_others_have_sent(
    tmp_path: Path, interrupt: Any
) -> None:
    made = cluster(tmp_path, 2, duration="40s")
    interrupt(made.hosts["g0"], BEGINS_AT + 8.0, BEGINS_AT + 16.0)
    made.run()
    rows = assert_whole_schedule_sent_once(made)
    run = made.directory.read_run()
    assert (run.lost, run.ending) == ([0], Ending.COMPLETE)
    late = [row["process"] for row in rows if row["intended_at"] > BEGINS_AT + 30]
    assert set(late) == {0, 1}, "the generator that returned has a part again"


def test_a_generator_without_its_master_stops_when_its_lease_ends(tmp_path: Path) -> None:
    made = cluster(tmp_path, 2, duration="60s")
    for host in made.hosts.values():
        host.cut(BEGINS_AT + 10.0, float("inf"))
    made.run(within_s=200.0)
    assert BEGINS_AT + 10.0 < max(at for at, _ in made.submissions) < BEGINS_AT + 10.0 + LEASE_S
    run = made.directory.read_run()
    assert run.lost == [0, 1]
    assert run.ending is not None, "the master has given up generators that do not return"
    assert len(made.rows()) == len(made.submissions), "the samples are on disk all the same"


def test_a_late_generator_gets_a_part_of_the_schedule(tmp_path: Path) -> None:
    made = cluster(tmp_path, 1, duration="30s")
    made.at(6.0, lambda: made.join("late"))
    made.run()
    rows = assert_whole_schedule_sent_once(made)
    first = min(row["intended_at"] for row in rows if row["process"] == 1)
    assert BEGINS_AT + 6.0 + 2.0 < first < BEGINS_AT + 6.0 + 2.0 + LEASE_S + 3.0, "a window, and the delay, later"
    after = Counter(row["process"] for row in rows if row["intended_at"] > BEGINS_AT + 16.0)
    assert after[0] == pytest.approx(after[1], rel=0.2)


def test_samples_on_other_disks_are_copied_although_the_link_is_cut_for_a_while(tmp_path: Path) -> None:
    made = cluster(tmp_path, 0, duration="30s")
    for number in range(2):
        host = made.add(f"g{number}", own_disk=tmp_path / f"own{number}")
        host.cut(BEGINS_AT + 8.0, BEGINS_AT + 20.0)
    made.run()
    assert sorted(made.directory.read_run().lost) == [0, 1]
    for number in range(2):
        name = f"samples-{number}.arrow"
        own, copied = (path / "shards" / name for path in (tmp_path / f"own{number}", made.directory.path))
        assert own.read_bytes() == copied.read_bytes()
    assert {each.process: each.sent - each.recorded for each in audit(made.directory)} == {0: 0, 1: 0}
    rows = made.rows()
    assert max(Counter(row["seq"] for row in rows).values()) == 1
    assert len(made.submissions) == len(rows)
    assert {row["process"] for row in rows if row["intended_at"] > BEGINS_AT + 30} == {0, 1}


def test_all_generators_together_stay_within_the_limit(tmp_path: Path) -> None:
    load = {"model": "closed", "stages": [{"users": 60, "for": "12s"}]}
    made = cluster(tmp_path, 2, load=load, limits={"runsync": "300 per 3 s"})
    made.at(5.0, lambda: made.join("late"))
    made.run()
    submitted_at = np.sort([at for at, _ in made.submissions])
    assert 300 * 3 / 3.15 <= max_in_window(submitted_at, 3.0) <= 300
    assert {name for _, name in made.submissions} >= {"g0", "g1"}


CLOSED = {"model": "closed", "stages": [{"users": 12, "for": "30s"}]}


@pytest.mark.parametrize("load", [None, CLOSED])
@pytest.mark.parametrize("change", [None, "late", "killed", "away"])
def test_generators_use_a_ceiling_on_jobs_together_whatever_becomes_of_one(
    tmp_path: Path, load: dict[str, Any] | None, change: str | None
) -> None:
    made = cluster(tmp_path, 3, duration="30s", ceilings={"jobs": 300}, limits={"runsync": "60 per 2 s"})
    if load is not None:
        made = cluster(tmp_path / "closed", 3, load=load, ceilings={"jobs": 300}, limits={"runsync": "60 per 2 s"})
    if change == "late":
        made.at(4.0, lambda: made.join("late"))
    elif change == "killed":
        made.at(4.0, made.hosts["g1"].kill)
    elif change == "away":
        made.hosts["g1"].suspend(BEGINS_AT + 4.0, BEGINS_AT + 6.0)
    made.run()
    run = made.directory.read_run()
    unused = 100 if change == "killed" else 0
    assert 300 - unused <= len(made.submissions) <= 300
    assert run.ending is Ending.ABORTED
    assert run.reason.startswith("ceilings.jobs: 300 jobs have been submitted")
    assert run.reason.endswith("by a process that was lost") is (change == "killed")
    if change != "killed":
        assert {row["outcome"] for row in made.rows()} == {"completed"}, "jobs that were sent are waited for"


def test_the_cost_of_all_generators_together_ends_the_load(tmp_path: Path) -> None:
    made = cluster(tmp_path, 2, duration="30s", price=1.0, ceilings={"cost": 10.0})
    made.at(3.0, made.hosts["g1"].kill)
    made.run()
    run = made.directory.read_run()
    assert 9.0 < 0.05 * len(made.submissions) <= 10.0 + 0.05 * 30
    assert run.reason.startswith("ceilings.cost: 10.")
    assert run.reason.endswith(" of 10 US dollars are spent")
    assert {row["outcome"] for row in made.rows() if row["process"] == 0} == {"completed"}


def test_a_generator_that_connects_while_the_run_begins_gets_a_part_of_the_schedule(tmp_path: Path) -> None:
    made = cluster(tmp_path, 1, duration="30s")
    made.at(0.1, lambda: made.master.on_generator_connected(made.add("late").name))
    made.run()
    assert Counter(row["process"] for row in assert_whole_schedule_sent_once(made)).keys() == {0, 1}


@pytest.mark.parametrize("at_s", [0.1, 0.5, 7.3])
def test_no_job_begins_once_the_run_has_been_asked_to_end(tmp_path: Path, at_s: float) -> None:
    made = cluster(tmp_path, 2, limits={"runsync": "10 per 2 s"})
    made.at(at_s, lambda: made.master.stop(Ending.TERMINATED))
    made.run()
    run = made.directory.read_run()
    assert run.ending is Ending.TERMINATED
    assert run.ended_at is not None
    sent_after = [at for at, _ in made.submissions if at > BEGINS_AT + at_s + made.delay_s]
    assert sent_after == [], "jobs that waited for the limit do not go out"
    assert len(made.rows()) == len(made.submissions)
    assert (len(made.submissions) > 0) is (at_s > 1)


def test_a_reader_of_progress_that_has_stopped_stops_neither_the_load_nor_later_lines(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    full = b"x" * 4096
    try:
        while os.write(writer, full):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)
    made = cluster(tmp_path, 2, progress_fd=writer)
    with os.fdopen(reader, "rb") as lines:
        made.at(12.0, lambda: os.read(reader, 1 << 20))
        made.run()
        os.close(writer)
        assert_whole_schedule_sent_once(made)
        shown = [msgspec.json.decode(line, type=Progress) for line in lines]
    assert made.directory.read_run().ending is Ending.COMPLETE
    assert shown[0].elapsed_s > 10.0, "earlier lines are dropped, later ones are whole"
    assert len(shown) > 10


def test_the_drift_of_a_clock_is_noted_and_a_steady_one_has_none(tmp_path: Path) -> None:
    made = cluster(tmp_path, 0)
    for name in ("steady", "moving"):
        made.add(name, offset_s=5.0)
    made.at(9.0, lambda: made.hosts["moving"].clock.step(-0.5))
    made.run()
    drifts = {each.process: each.clock_drift_s for each in made.directory.read_run().processes}
    assert drifts[0] == 0.0
    assert drifts[1] == pytest.approx(-0.5, abs=2 * made.delay_s)


def test_a_run_whose_directory_is_removed_or_renamed_ends_with_a_code_that_says_so(tmp_path: Path) -> None:
    made = cluster(tmp_path, 2)
    made.at(3.0, lambda: made.directory.path.rename(tmp_path / "elsewhere"))
    made.run()
    assert max(at for at, _ in made.submissions) < BEGINS_AT + 5.0
    assert "was removed or renamed while the run went on" in str(made.master.error)
    assert made.master.error is not None
    assert made.master.error.exit_code == ExitCode.ABORTED
