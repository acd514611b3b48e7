"""The jobs of one process in virtual time, against a target that is a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import numpy as np
import pytest
from gevent import Greenlet

from loadtest.drive.dispatcher import BATCH, BATCH_CHUNKS, JobDispatcher, JobSink
from loadtest.drive.executor import FlowExecutor
from loadtest.drive.http.connection import MaySend
from loadtest.drive.job_sources import SPARE_USERS, Workload
from loadtest.drive.limiter import OperationLimiter
from loadtest.errors import RecordingError
from loadtest.flows.steps import SEND_AGAIN, Response
from loadtest.protocol.operations import Op
from loadtest.record.directory import RunDirectory
from loadtest.record.recorder import Recorder
from loadtest.record.sample import ChunkSeen, Outcome, Sample
from loadtest.scenario.abort import StopKind
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import draw_schedule, max_in_window
from loadtest.traffic.limit_shares import WHOLE, Share
from loadtest.traffic.settings import ClosedLoad, OpenLoad
from tests.unit.drive.virtual_clock import VirtualClock
from tests.unit.flows.virtual import RequestCounts

STARTS_AT = 1000.0
SERVICE_S = 0.5
TEN_PER_S = {"arrivals": "constant", "stages": [{"rate": "10/s", "for": "20s"}]}
THREE_USERS = {"model": "closed", "think": "1s", "stages": [{"users": 3, "for": "10s"}]}


@dataclass
class Process:
    """A dispatcher with its users; the target completes each job `service_s(now)` after it was sent."""

    clock: VirtualClock
    load: dict[str, Any]
    share: Share = WHOLE
    service_s: Callable[[float], float] = lambda now: SERVICE_S
    keys: dict[str, Any] = field(default_factory=dict)
    sinks: tuple[JobSink, ...] = ()
    starts_at: float = STARTS_AT

    def __post_init__(self) -> None:
        flows = self.keys.pop("flows", {"runsync": {}})
        scenario = Scenario.model_validate({"name": "x", "load": self.load, "flows": flows, **self.keys})
        load = scenario.load
        self.schedule = draw_schedule(load, {"runsync": 1.0}, 1) if isinstance(load, OpenLoad) else None
        spaced = isinstance(load, ClosedLoad)
        self.limiters = {op: OperationLimiter(scenario.limit(op), self.clock, spaced, self.share) for op in Op}
        executor = FlowExecutor(self.clock, self._send, self.limiters, RequestCounts())
        work = Workload(scenario, self.schedule, self.starts_at, self.share)
        self._ended: list[Sample] = []
        sinks = (lambda ended: self._ended.extend(sample for sample, _ in ended), *self.sinks)
        self.jobs = JobDispatcher(work, executor, self.clock, sinks)

    @property
    def samples(self) -> list[Sample]:
        self.jobs.publish()
        return self._ended

    def _send(
        self, method: str, path: str, body: bytes, long_poll_s: float, deadline: float, may_send: MaySend
    ) -> Response:
        sent_at = self.clock.now()
        if not may_send(sent_at):
            return SEND_AGAIN
        self.clock.sleep(self.service_s(sent_at))
        body = b'{"id":"a","status":"COMPLETED","delayTime":0,"executionTime":500}'
        return Response(200, body, sent_at, self.clock.now())

    def start_users(self, count: int) -> list[Greenlet[..., None]]:
        return [gevent.spawn(self._use, self.jobs.register_user()) for _ in range(count)]

    def _use(self, user: int) -> None:
        while self.jobs.run_next(user) or self.jobs.wait_for_change():
            self.clock.sleep(self.jobs.think_time_s())

    def intended_s(self) -> list[float]:
        return sorted(sample.intended_at - STARTS_AT for sample in self.samples)

    def sent_s(self) -> list[float]:
        return sorted(sample.sent_at - STARTS_AT for sample in self.samples if sample.sent_at is not None)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(STARTS_AT - 1.0)


def test_open_model_sends_each_arrival_when_it_is_due(clock: VirtualClock) -> None:
    process = Process(clock, TEN_PER_S)
    process.start_users(20)
    clock.run()
    assert process.schedule is not None
    assert process.intended_s() == pytest.approx(process.schedule.at_s)
    assert process.sent_s() == process.intended_s()
    assert {sample.outcome for sample in process.samples} == {Outcome.COMPLETED}
    assert process.jobs.all_done()


def test_stalled_target_shows_as_send_lag_and_changes_no_intended_start(clock: VirtualClock) -> None:
    process = Process(clock, TEN_PER_S, service_s=lambda now: 5.0 if now < STARTS_AT + 1 else 0.01)
    process.start_users(5)
    clock.run()
    assert process.schedule is not None
    assert process.intended_s() == pytest.approx(process.schedule.at_s)
    lags_s = np.subtract(process.sent_s(), process.intended_s())
    assert lags_s[:5] == pytest.approx(0.0)
    assert lags_s.max() == pytest.approx(4.5, abs=0.2)
    assert lags_s[-1] == pytest.approx(0.0, abs=1e-6)


def test_open_model_needs_users_for_what_is_in_flight_and_soon_due(clock: VirtualClock) -> None:
    process = Process(clock, TEN_PER_S, service_s=lambda now: 60.0)
    process.start_users(8)
    clock.run(until=STARTS_AT + 5.0)
    in_flight, due_soon_and_waiting = 8, 30 + 42
    assert process.jobs.counters.in_flight == in_flight
    assert process.jobs.needed_users() == pytest.approx(in_flight + due_soon_and_waiting + SPARE_USERS, abs=2)
    assert process.jobs.recent_offered(5.0) == 50


def test_users_begin_as_many_jobs_as_they_are_allowed_and_wait_for_more(clock: VirtualClock) -> None:
    load = {"model": "closed", "stages": [{"users": 3, "for": "10s"}]}
    process = Process(clock, load, keys={"ceilings": {"jobs": 9}})
    process.start_users(3)
    clock.run(until=STARTS_AT + 2.0)
    assert process.samples == [], "nothing before the master has allowed it"
    process.jobs.allow(4, load_ended=False)
    clock.run(until=STARTS_AT + 4.0)
    assert len(process.samples) == 4
    process.jobs.allow(2, load_ended=False)
    process.jobs.allow(5, load_ended=False)
    clock.run()
    assert len(process.samples) == 5


@pytest.mark.parametrize("load", [TEN_PER_S, THREE_USERS])
def test_no_job_begins_once_the_load_has_ended_and_those_that_were_sent_go_on(
    clock: VirtualClock, load: dict[str, Any]
) -> None:
    process = Process(clock, load, service_s=lambda now: 5.0, keys={"limits": {"runsync": "2 per 1 s"}})
    process.start_users(3)
    clock.run(until=STARTS_AT + 1.0)
    assert process.jobs.counters.in_flight > 0
    process.jobs.allow(None, load_ended=True)
    assert not process.jobs.all_done()
    clock.run()
    assert max(process.sent_s()) <= 1.0, "jobs that waited for the limit do not go out"
    assert {sample.outcome for sample in process.samples} == {Outcome.COMPLETED}
    assert process.jobs.all_done()


def test_jobs_ceiling_ends_the_load(clock: VirtualClock) -> None:
    process = Process(clock, {**TEN_PER_S, "stages": [{"rate": "10/s", "for": "2s"}]}, keys={"ceilings": {"jobs": 7}})
    users = process.start_users(5)
    clock.run()
    assert len(process.samples) == 7
    assert process.schedule is not None
    assert process.jobs.ends_at == STARTS_AT + process.schedule.at_s[7], "when the first arrival over it is due"
    assert process.jobs.all_done()
    assert not any(user.ready() for user in users)
    process.jobs.finished.set()
    clock.settle()
    assert all(user.ready() for user in users)


@pytest.mark.parametrize("load", [TEN_PER_S, {**THREE_USERS, "think": "0s"}], ids=["open", "closed"])
def test_no_window_holds_more_submissions_than_the_limit(load: dict[str, Any], clock: VirtualClock) -> None:
    process = Process(clock, load, keys={"limits": {"runsync": "6 per 2 s"}}, service_s=lambda now: 0.01)
    process.start_users(20)
    clock.run()
    sent_s = np.array(process.sent_s())
    assert max_in_window(sent_s, 2.0) <= 6
    assert len(sent_s) == (200 if load is TEN_PER_S else pytest.approx(10 * 6 / 2.1, abs=2))


def test_reassigned_arrivals_are_sent_once_by_their_new_process(clock: VirtualClock) -> None:
    first, second = (Process(clock, TEN_PER_S, Share(rank, 2)) for rank in range(2))
    for process in (first, second):
        process.start_users(12)
    clock.run(until=STARTS_AT + 5.0)
    first.jobs.reassign(STARTS_AT + 7.0, WHOLE)
    second.jobs.reassign(STARTS_AT + 7.0, Share(0, 0))
    clock.run()
    by_seq = sorted((sample.seq, sample.intended_at) for sample in first.samples + second.samples)
    assert [seq for seq, _ in by_seq] == list(range(200))
    assert max(sample.intended_at for sample in second.samples) < STARTS_AT + 7.0
    assert first.sent_s() == first.intended_s()


def test_idle_users_send_what_is_reassigned_near_the_end_when_it_is_due(clock: VirtualClock) -> None:
    process = Process(clock, TEN_PER_S, Share(0, 2), service_s=lambda now: 60.0)
    process.start_users(150)
    clock.run(until=STARTS_AT + 8.0)
    process.jobs.reassign(STARTS_AT + 12.0, WHOLE)
    clock.run()
    due_s = [number / 10 for number in range(200) if number % 2 == 0 or number >= 120]
    assert process.intended_s() == pytest.approx(due_s)
    assert process.sent_s() == process.intended_s()
    assert process.jobs.all_done()


def test_closed_user_without_work_goes_on_when_it_gets_the_work_of_another(clock: VirtualClock) -> None:
    process = Process(clock, {**THREE_USERS, "stages": [{"users": "6 to 0", "for": "10s"}]}, share=Share(1, 2))
    process.start_users(3)
    clock.run(until=STARTS_AT + 8.0)
    # Its last user, the second of all, works until the ramp falls to 1.5 users; the first of all, to 0.5.
    assert max(process.intended_s()) <= 7.5
    process.jobs.set_share(WHOLE)
    clock.run()
    assert 8.0 <= max(process.intended_s()) < 9.2


def test_closed_users_send_after_their_last_job_and_think_time(clock: VirtualClock) -> None:
    process = Process(clock, THREE_USERS, keys={"limits": {"runsync": "1000 per 1 s"}})
    process.start_users(3)
    clock.run()
    cycle_s = SERVICE_S + 1.0
    rounds = [cycle_s * number for number in range(7)]
    assert process.intended_s() == pytest.approx(sorted(rounds * 3), abs=0.01)
    assert process.jobs.needed_users() == 0
    assert process.jobs.recent_offered(5.0) is None


def test_closed_user_begins_when_the_ramp_reaches_it(clock: VirtualClock) -> None:
    process = Process(clock, {**THREE_USERS, "stages": [{"users": "0 to 4", "for": "8s"}, {"users": 4, "for": "8s"}]})
    users = process.start_users(4)
    clock.run(until=STARTS_AT + 3.4)
    # User n works from the moment at which the stage has n + 1/2 users: at 1, 3, 5 and 7 s.
    assert [at for at in process.intended_s() if at in (1.0, 3.0)] == [1.0]
    assert process.jobs.counters.in_flight == 1
    clock.run()
    assert not any(user.ready() for user in users)
    process.jobs.finished.set()
    clock.settle()
    assert all(user.ready() for user in users)
    assert max(process.intended_s()) < 16.0


def test_closed_user_without_a_share_waits_for_one(clock: VirtualClock) -> None:
    process = Process(clock, THREE_USERS, share=Share(0, 0))
    process.start_users(3)
    clock.run(until=STARTS_AT + 4.0)
    assert process.samples == []
    process.jobs.set_share(WHOLE)
    for limiter in process.limiters.values():
        limiter.set_share(WHOLE)
    clock.run()
    assert process.intended_s()[0] == pytest.approx(4.0)


def test_jobs_are_published_in_full_batches_and_the_rest_when_asked_for(clock: VirtualClock) -> None:
    sizes: list[int] = []
    hundred_per_s = {"arrivals": "constant", "stages": [{"rate": "100/s", "for": "12s"}]}
    process = Process(clock, hundred_per_s, sinks=(lambda ended: sizes.append(len(ended)),))
    process.start_users(100)
    clock.run()
    assert sizes == [BATCH, BATCH]
    assert process.jobs.counters.ended == 2 * BATCH
    process.jobs.publish()
    assert sizes == [BATCH, BATCH, 1200 - 2 * BATCH]
    assert sorted(sample.seq for sample in process.samples) == list(range(1200))


def test_jobs_with_many_chunks_are_published_in_smaller_batches(clock: VirtualClock) -> None:
    sizes: list[int] = []
    process = Process(clock, TEN_PER_S, sinks=(lambda ended: sizes.append(len(ended)),))
    for seq in range(5):
        process.jobs._end(Sample(seq, "openai", STARTS_AT), [ChunkSeen(STARTS_AT, 1)] * (BATCH_CHUNKS // 2))
    assert sizes == [2, 2]


def test_abort_gates_see_the_chunks_of_each_job(clock: VirtualClock) -> None:
    keys = {"flows": {"openai": {"input": {"messages": []}}}, "abort": {"gates": ["itl max < 80ms"]}}
    process = Process(clock, TEN_PER_S, keys=keys)
    for gap_s, stops in ((0.02, False), (0.09, True)):
        chunks = [ChunkSeen(STARTS_AT, 1), ChunkSeen(STARTS_AT + gap_s, 1)]
        sample = Sample(0, "openai", STARTS_AT, outcome=Outcome.COMPLETED, finished_at=STARTS_AT + 1)
        process.jobs._end(sample, chunks)
        process.jobs.stops.evaluate(STARTS_AT + 1)
        assert (process.jobs.stops.reason is not None) is stops


def test_killed_user_leaves_its_job_unfinished_and_published(clock: VirtualClock) -> None:
    process = Process(clock, TEN_PER_S, service_s=lambda now: 60.0)
    [user] = process.start_users(1)
    clock.run(until=STARTS_AT + 2.0)
    assert repr(process.jobs) == "<JobDispatcher x: 1 in flight, 0 ended>"
    process.jobs.finished.set()
    user.kill()
    assert [sample.outcome for sample in process.samples] == [Outcome.CENSORED]
    assert (process.jobs.perhaps_accepted, process.jobs.canceller.pending) == (1, 0)
    assert repr(process.jobs) == "<JobDispatcher x: 0 in flight, 1 ended>"


def test_input_that_cannot_be_built_stops_the_run(clock: VirtualClock) -> None:
    source = "def make(seq, rng):\n    raise ValueError('no input')\n"
    inputs = {"function": "inputs.py:make", "source": source}
    process = Process(clock, TEN_PER_S, keys={"flows": {"runsync": {"inputs": inputs}}})
    process.start_users(1)
    clock.run(until=STARTS_AT + 1.0)
    assert process.samples == []
    reason = process.jobs.stops.reason
    assert reason is not None
    assert reason.kind is StopKind.INPUTS
    assert "no input" in reason.detail


def test_live_counters_advance_while_the_recorder_fails(clock: VirtualClock, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    recorder = Recorder(directory)
    process = Process(clock, TEN_PER_S, sinks=(recorder.record,))
    (tmp_path / "run" / "shards").rename(tmp_path / "elsewhere")
    process.start_users(20)
    clock.run()
    process.jobs.publish()
    with pytest.raises(RecordingError):
        recorder.flush(clock.now())
    assert (process.jobs.counters.ended, process.jobs.counters.not_completed) == (200, 0)
