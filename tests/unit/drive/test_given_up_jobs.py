"""Jobs that are given up, in virtual time: each is cancelled then and counted, whatever the reason."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import gevent
import pytest
from gevent import Greenlet
from msgspec.json import encode

from loadtest.drive.cluster.generator import build_limiters
from loadtest.drive.dispatcher import ANSWER_GRACE_S, JobDispatcher
from loadtest.drive.executor import FlowExecutor
from loadtest.drive.job_sources import Workload
from loadtest.flows.steps import Response
from loadtest.protocol.operations import Op
from loadtest.record.sample import Outcome, Sample
from loadtest.scenario.abort import StopKind
from loadtest.scenario.model import Scenario
from tests.unit.drive.virtual_clock import VirtualClock
from tests.unit.flows.virtual import RequestCounts

STARTS_AT = 1000.0
NEVER = 1e9


class Endpoint:
    """An endpoint that accepts every job and finishes none; `answer` may answer a request otherwise."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.accepted: dict[str, float] = {}
        self.cancelled: dict[str, float] = {}
        self.paths: list[str] = []
        self.stalled_until = 0.0
        self.answer: Callable[[str, str], Response | None] = lambda op, job_id: None

    def send(
        self,
        method: str,
        path: str,
        body: bytes,
        long_poll_s: float,
        deadline: float,
        may_send: Callable[[float], bool] = lambda at: True,
    ) -> Response:
        sent_at = self.clock.now()
        assert may_send(sent_at)
        self.clock.sleep_until(self.stalled_until)
        self.clock.sleep(0.01)
        self.paths.append(path)
        op, _, job_id = path.partition("?")[0].strip("/").partition("/")
        odd = self.answer(op, job_id)
        if odd is not None:
            return Response(odd.status, odd.body, sent_at, self.clock.now(), odd.retry_after_s)
        if op in (Op.RUN, Op.RUNSYNC):
            job_id = f"job-{len(self.accepted)}"
            self.accepted[job_id] = self.clock.now()
            self.clock.sleep(long_poll_s)
        if op == Op.CANCEL:
            self.cancelled[job_id] = self.clock.now()
        state = "CANCELLED" if op == Op.CANCEL else "IN_PROGRESS"
        return Response(200, encode({"id": job_id, "status": state}), sent_at, self.clock.now())


class Process:
    """One generator's jobs with their users, as far as they do not need a master."""

    def __init__(self, users: int = 60, **keys: Any) -> None:
        load = {"arrivals": "constant", "stages": [{"rate": "10/s", "for": "4s"}]}
        scenario = Scenario.model_validate({"name": "x", "load": load, "flows": {"run": {}}, **keys})
        self.clock = VirtualClock(STARTS_AT - 1.0)
        self.endpoint = Endpoint(self.clock)
        self._rows: list[Sample] = []
        self.cancels: list[tuple[Sample, float]] = []
        executor = FlowExecutor(self.clock, self.endpoint.send, build_limiters(scenario, self.clock), RequestCounts())
        work = Workload(scenario, scenario.schedule(), STARTS_AT)
        sinks = (lambda ended: self._rows.extend(sample for sample, _ in ended),)
        self.jobs = JobDispatcher(
            work, executor, self.clock, sinks, on_cancelled=lambda *row: self.cancels.append(row)
        )
        self._users = [gevent.spawn(self._use, self.jobs.register_user()) for _ in range(users)]

    @property
    def rows(self) -> list[Sample]:
        self.jobs.publish()
        return self._rows

    def _use(self, user: int) -> None:
        while self.jobs.run_next(user) or self.jobs.wait_for_change():
            pass

    def stop(self, within_s: float = NEVER, stall_s: float = 30.0) -> None:
        """End the load as Locust does, and cancel the unfinished jobs."""
        self.jobs.finished.set()
        gevent.killall(self._users)
        finishing: Greenlet[..., None] = gevent.spawn(self.jobs.canceller.finish, within_s, stall_s)
        self.clock.run()
        finishing.get(block=False)

    def end(self) -> None:
        """End the load as a signal does: users are stopped once the last submissions have their responses."""
        self.jobs.allow(None, load_ended=True)
        self.jobs.end()

        def stop_users() -> None:
            self.jobs.wait_for_answers()
            gevent.killall(self._users)
            self.jobs.canceller.finish(NEVER, 30.0)

        ended: Greenlet[..., None] = gevent.spawn(stop_users)
        self.clock.run()
        ended.get(block=False)

    def assert_accounted(self) -> None:
        """Assert that each accepted job is in the rows, and was seen final, or is cancelled, or counted as left."""
        ids = {row.job_id for row in self.rows} - {None}
        unknown = self.endpoint.accepted.keys() - ids
        assert len(unknown) <= self.jobs.perhaps_accepted
        left = {row.job_id for row in self.rows if row.given_up} - self.endpoint.cancelled.keys()
        assert len(left) <= self.jobs.canceller.pending
        assert {row.job_id for row, _ in self.cancels} <= self.endpoint.cancelled.keys()
        assert self.jobs.canceller.confirmed == len(self.cancels)
        assert len({row.job_id for row, _ in self.cancels}) == len(self.cancels)


def polls_answer(status: int, body: bytes = b"") -> Callable[[str, str], Response | None]:
    return lambda op, job_id: Response(status, body, 0, 0) if op == Op.STATUS else None


@pytest.mark.parametrize("odd", [502, 401, 0, 200], ids=["502", "401", "unreachable", "no job"])
def test_job_is_cancelled_at_the_moment_it_is_given_up(odd: int) -> None:
    process = Process(flows={"run": {"polling": {"give_up_after": "5s"}}})
    process.endpoint.answer = polls_answer(odd)
    process.clock.run(STARTS_AT + 20.0)
    assert len(process.endpoint.cancelled) == len(process.rows) == 40
    delays = [process.endpoint.cancelled[str(row.job_id)] - (row.finished_at or 0.0) for row in process.rows]
    assert max(delays) < 0.05
    assert {row.given_up for row in process.rows} == {True}
    process.assert_accounted()


def test_job_whose_timeout_is_over_is_cancelled_then() -> None:
    process = Process(job_timeout="3s")
    process.clock.run(STARTS_AT + 10.0)
    assert {row.outcome for row in process.rows} == {Outcome.CENSORED}
    late = [process.endpoint.cancelled[str(row.job_id)] - row.intended_at for row in process.rows]
    assert min(late) == pytest.approx(3.01)
    assert max(late) < 3.1
    process.assert_accounted()


def test_no_user_waits_for_a_cancel_and_the_limit_holds() -> None:
    process = Process(job_timeout="500ms", limits={"cancel": "10 per 10 s, 2 at once"})
    process.clock.run(STARTS_AT + 6.0)
    assert [row.sent_at for row in process.rows] == pytest.approx([row.intended_at for row in process.rows])
    assert process.jobs.all_done()
    assert (len(process.rows), len(process.endpoint.cancelled)) == (40, 10)
    process.stop()
    assert len(process.endpoint.cancelled) == 40
    assert process.clock.now() == pytest.approx(STARTS_AT + 31.0, abs=1.0), "three more windows, and no longer"
    assert repr(process.jobs.canceller) == "<Canceller: 40 cancelled, 0 not>"
    process.assert_accounted()


def test_jobs_unfinished_at_the_end_are_cancelled_however_many_they_are() -> None:
    load = {"arrivals": "constant", "stages": [{"rate": "100/s", "for": "4s"}]}
    process = Process(users=450, load=load)
    process.clock.run(STARTS_AT + 5.0)
    assert process.rows == []
    process.stop()
    assert len(process.endpoint.cancelled) == len(process.rows) == 400
    assert process.clock.now() - STARTS_AT == pytest.approx(35.0, abs=0.6), "100 each 10 s"
    process.assert_accounted()


@pytest.mark.parametrize(("within_s", "ended_s"), [(2.0, 6.0), (NEVER, 35.0)])
def test_cancelling_ends_when_time_is_up_or_the_endpoint_does_not_do_it(within_s: float, ended_s: float) -> None:
    process = Process()
    process.clock.run(STARTS_AT + 4.0)
    process.endpoint.answer = lambda op, job_id: Response(503, b"", 0, 0) if op == Op.CANCEL else None
    process.stop(within_s)
    assert process.clock.now() - STARTS_AT <= ended_s
    assert (process.jobs.canceller.pending, process.cancels) == (40, [])
    process.assert_accounted()


def test_cancels_that_failed_are_tried_again_at_the_end() -> None:
    process = Process(job_timeout="1s")
    process.endpoint.answer = lambda op, job_id: Response(503, b"", 0, 0) if op == Op.CANCEL else None
    process.clock.run(STARTS_AT + 120.0)
    assert process.jobs.canceller.pending == 40
    process.endpoint.answer = lambda op, job_id: None
    process.stop()
    assert len(process.cancels) == 40
    process.assert_accounted()


def test_runsync_asks_for_a_wait_that_ends_before_the_drain() -> None:
    process = Process(flows={"runsync": {}}, drain={"within": "10s"})
    process.clock.run(STARTS_AT + 4.0 + 10.0)
    assert all(path.startswith("/runsync?wait=") for path in process.endpoint.paths if "runsync" in path)
    assert len(process.endpoint.accepted) == 40
    process.stop()
    assert {row.job_id for row in process.rows} == process.endpoint.accepted.keys()
    assert process.endpoint.cancelled.keys() == process.endpoint.accepted.keys()
    assert process.jobs.perhaps_accepted == 0
    process.assert_accounted()


def test_runsync_waits_as_the_scenario_says_while_the_end_is_far() -> None:
    load = {"arrivals": "constant", "stages": [{"rate": "1/s", "for": "200s"}]}
    process = Process(users=140, flows={"runsync": {}}, load=load)
    process.clock.run(STARTS_AT + 130.0)
    asked = [path for path in process.endpoint.paths if "runsync" in path]
    assert set(asked) == {"/runsync"}
    assert len(asked) >= 130


def test_abort_rule_counts_jobs_that_are_given_up() -> None:
    process = Process(job_timeout="500ms", abort={"errors": "10 %", "over": "5s", "jobs": 10})
    process.clock.run(STARTS_AT + 2.0)
    assert process.jobs.stops.reason is not None
    assert process.jobs.stops.reason.kind is StopKind.ABORT_ERRORS


def test_jobs_that_the_end_of_the_run_cuts_off_are_no_errors_of_the_endpoint() -> None:
    process = Process(abort={"errors": "10 %", "over": "5s", "jobs": 10, "gates": ["errors < 1 %"]})
    process.clock.run(STARTS_AT + 4.0)
    process.stop()
    assert len(process.rows) == 40
    process.jobs.stops.evaluate(process.clock.now())
    assert process.jobs.stops.reason is None


def test_jobs_that_are_due_during_a_stall_at_the_end_are_sent() -> None:
    process = Process()
    process.clock.run(STARTS_AT + 3.0)
    # The process does not run for two seconds, in which the last ten jobs become due and the load ends.
    process.clock._now = STARTS_AT + 5.0
    assert not process.jobs.all_done()
    process.clock.run(STARTS_AT + 5.1)
    assert process.jobs.counters.in_flight == 40
    process.stop()
    assert len(process.rows) == 40


def random_faults(process: Process, rng: Random) -> Callable[[str, str], Response | None]:
    """Return answers of which a part is odd, for every operation; a submission may be accepted and not answered."""
    often = rng.choice([0.05, 0.3, 0.8])

    def answer(op: str, job_id: str) -> Response | None:
        if rng.random() > often:
            done = {"id": job_id, "status": "COMPLETED", "delayTime": 1, "executionTime": 2}
            return Response(200, encode(done), 0, 0) if op == Op.STATUS and rng.random() < 0.3 else None
        status = rng.choice([0, 200, 301, 401, 404, 409, 429, 500, 502, 503])
        body = rng.choice([b"", b"null", b"<html>", b'{"status": "WARMING_UP"}', b'{"id": "", "status": "IN_QUEUE"}'])
        if op in (Op.RUN, Op.RUNSYNC) and status in (0, 200, 500, 502):
            process.endpoint.accepted[f"unknown-{len(process.endpoint.accepted)}"] = process.clock.now()
        return Response(status, body, 0, 0)

    return answer


@pytest.mark.parametrize("seed", range(60))
def test_every_accepted_job_is_accounted_for_whatever_the_endpoint_answers(seed: int) -> None:
    rng = Random(seed)
    flow: dict[str, Any] = {"polling": {"every": "500ms", "give_up_after": f"{rng.choice([2, 30])}s"}}
    process = Process(
        flows={rng.choice(["run", "runsync"]): flow}, job_timeout=f"{rng.choice([3, 60])}s", drain={"within": "8s"}
    )
    process.endpoint.answer = random_faults(process, rng)
    process.clock.run(STARTS_AT + rng.uniform(0.5, 15.0))
    if rng.random() < 0.5:
        process.endpoint.answer = lambda op, job_id: None
    process.stop()
    process.assert_accounted()
    rows = [row.seq for row in process.rows]
    assert len(rows) == len(set(rows))


RUNSYNC = {"flows": {"runsync": {"wait": "60s"}}, "drain": {"within": "60s"}}


def held(process: Process, hold_s: float) -> Callable[[str, str], Response | None]:
    """Answer each /runsync with its job's id after `hold_s`, although a wait of 60 s was asked for."""

    def answer(op: str, job_id: str) -> Response | None:
        if op != Op.RUNSYNC:
            return None
        job_id = f"job-{len(process.endpoint.accepted)}"
        process.endpoint.accepted[job_id] = process.clock.now()
        process.clock.sleep(hold_s)
        return Response(200, encode({"id": job_id, "status": "IN_PROGRESS"}), 0, 0)

    return answer


def test_the_ids_of_jobs_in_flight_are_read_and_cancelled_if_the_run_ends_early() -> None:
    process = Process(**RUNSYNC)
    process.endpoint.answer = held(process, ANSWER_GRACE_S - 1.0)
    process.clock.run(STARTS_AT + 1.95)
    process.end()
    assert process.jobs.perhaps_accepted == 0
    assert process.endpoint.cancelled.keys() == process.endpoint.accepted.keys()
    assert len(process.rows) == 20
    process.assert_accounted()


def test_a_response_that_comes_later_is_not_waited_for_and_its_job_is_counted_as_perhaps_accepted() -> None:
    process = Process(**RUNSYNC)
    process.endpoint.answer = held(process, 60.0)
    process.clock.run(STARTS_AT + 1.95)
    process.end()
    assert process.jobs.perhaps_accepted == len(process.endpoint.accepted) == len(process.rows) == 20
    assert {row.outcome for row in process.rows} == {Outcome.CENSORED}


def test_no_refused_job_is_submitted_again_once_the_run_has_ended() -> None:
    process = Process()
    process.endpoint.answer = lambda op, job_id: Response(503, b"", 0, 0) if op == Op.RUN else None
    process.clock.run(STARTS_AT + 1.95)
    sent = len(process.endpoint.paths)
    process.end()
    assert len(process.endpoint.paths) == sent
    assert process.jobs.perhaps_accepted == 0


def test_a_run_that_ends_with_its_drain_waits_for_no_response() -> None:
    process = Process(drain={"within": "2s"})
    process.endpoint.stalled_until = STARTS_AT + 1000.0
    process.clock.run(STARTS_AT + 6.0)
    process.jobs.end()
    process.clock.run(STARTS_AT + 6.1)
    assert process.jobs._answered.is_set()
