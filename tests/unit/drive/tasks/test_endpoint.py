"""The jobs of tasks in virtual time, against the endpoint model."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import gevent
import numpy as np
import pytest
from gevent import Greenlet

from loadtest.drive.cluster.generator import GeneratorRun
from loadtest.drive.dispatcher import JobDispatcher
from loadtest.drive.job_sources import Workload
from loadtest.drive.tasks.endpoint import Endpoint
from loadtest.drive.tasks.jobs import Job
from loadtest.endpoint.endpoint import Endpoint as ServerModel
from loadtest.endpoint.settings import EndpointSettings
from loadtest.errors import ScenarioError
from loadtest.protocol.operations import Limit, Op
from loadtest.record.sample import Outcome, Sample
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import max_in_window
from tests.unit.flows.virtual import VirtualWire, ok

LOCUSTFILE = {"name": "tasks.py", "hash": "0"}
Task = Callable[[Endpoint], object]


class StopUser(Exception):
    """The exception by which Locust ends a user, which cannot be imported here, since that patches the process."""


class Users:
    """Users of one process, each of which calls a function with its endpoint again and again."""

    def __init__(
        self, users: int = 1, for_s: int = 20, limits: dict[Op, Limit] | None = None, settings: Any = (), **keys: Any
    ) -> None:
        whole = {"service": "1s", "workers": {"active": 8, "max": 8}, **dict(settings)}
        model = ServerModel(EndpointSettings.model_validate(whole), seed=1, start_at=0.0)
        self.wire = VirtualWire(model, limits=limits)
        load = {"model": "closed", "stages": [{"users": users, "for": f"{for_s}s"}], "locustfile": LOCUSTFILE}
        flows = {"run": {}, "runsync": {}, "stream": {}}
        scenario = Scenario.model_validate({"name": "x", "load": load, "flows": flows, **keys})
        self.rows: list[Sample] = []
        self.jobs = JobDispatcher(
            Workload(scenario, None, 0.0),
            self.wire.executor,
            self.wire.clock,
            (lambda ended: self.rows.extend(sample for sample, _ in ended),),
        )
        part = SimpleNamespace(jobs=self.jobs, scenario=scenario, executor=self.wire.executor, clock=self.wire.clock)
        self.endpoints = [Endpoint(cast("GeneratorRun", part), user, StopUser) for user in range(users)]

    def start(self, task: Task, repeatedly: bool = False) -> list[Greenlet[..., None]]:
        return [gevent.spawn(self._use, endpoint, task, repeatedly) for endpoint in self.endpoints]

    def _use(self, endpoint: Endpoint, task: Task, repeatedly: bool) -> None:
        try:
            task(endpoint)
            while repeatedly:
                task(endpoint)
        except StopUser:
            endpoint.close()

    def run(self, task: Task, repeatedly: bool = False, until: float = 1e6) -> list[Sample]:
        """Let each user call the task until the load is over; return the rows."""
        users = self.start(task, repeatedly)
        self.wire.run(until)
        self.jobs.end()
        self.wire.run(until)
        for user in users:
            if user.ready():
                user.get()
        self.jobs.publish()
        return self.rows


def test_task_sees_the_output_and_the_times_of_its_job_as_in_its_row() -> None:
    seen: list[Job] = []
    rows = Users().run(lambda endpoint: seen.append(endpoint.run({"prompt": "hello"})))
    (job,), (row,) = seen, rows
    assert (job.completed, job.ended, job.outcome, job.error) == (True, True, "completed", None)
    assert (job.delay_ms, job.execution_ms) == (row.delay_ms, row.execution_ms) == (0, 1000)
    assert job.end_to_end_ms is not None
    assert job.end_to_end_ms == pytest.approx(1000 * (row.finished_at or 0))
    assert (job.id, job.flow, job.http_status, job.worker_id) == (row.job_id, "run", 200, row.worker_id)
    assert job.output is not None
    assert repr(job) == f"<Job {job.id}: completed>"


def test_output_of_a_stream_is_the_list_of_its_chunks() -> None:
    chunks = {"count": 3, "first": "300ms", "gap": "30ms"}
    users, seen = Users(settings={"service": None, "chunks": chunks}), []
    (row,) = users.run(lambda endpoint: seen.append(endpoint.stream({})))
    (job,) = seen
    assert len(job.output) == row.chunks == 3
    assert job.first_chunk_ms == pytest.approx(300, abs=10)


def test_tasks_of_many_users_keep_within_the_limit_of_the_run() -> None:
    users = Users(40, 30, limits={Op.RUNSYNC: Limit(20, 10.0)}, settings={"service": "10ms"})
    rows = users.run(lambda endpoint: endpoint.runsync({}), repeatedly=True)
    sent_at = np.sort([row.sent_at for row in rows])
    assert len(rows) > 40
    assert max_in_window(sent_at, 10.0) <= 20
    assert {row.user for row in rows} == set(range(40))


def test_a_call_after_the_load_ends_the_task_even_if_that_catches_everything() -> None:
    stopped = []

    def stubborn(endpoint: Endpoint) -> None:
        try:
            endpoint.runsync({})
        except Exception as error:
            stopped.append(error)
            if len(stopped) > 5:
                raise

    rows = Users(for_s=5).run(stubborn, repeatedly=True)
    assert max(row.intended_at for row in rows) <= 5
    assert {type(each) for each in stopped} == {StopUser}


def test_job_that_is_not_waited_for_has_one_row_with_its_end() -> None:
    states: list[Any] = []

    def task(endpoint: Endpoint) -> None:
        job = endpoint.run({}, wait=False)
        states.append((job.ended, job.outcome, endpoint.status(job).state))
        states.append((endpoint.wait(job).completed, endpoint.wait(job) is job))

    (row,) = Users().run(task)
    assert states == [(False, "censored", "IN_PROGRESS"), (True, True)]
    assert (row.outcome, row.polls > 1) == (Outcome.COMPLETED, True)


def test_job_that_a_task_cancels_ends_as_cancelled() -> None:
    seen: list[Job] = []
    users = Users(settings={"workers": {"active": 0, "max": 1}, "service": "30s"})
    (row,) = users.run(lambda endpoint: seen.append(endpoint.cancel(endpoint.run({}, wait=False))))
    assert (row.outcome, seen[0].outcome, row.perhaps_accepted) == (Outcome.CANCELLED, "cancelled", False)
    assert [op for op, _, _ in users.wire.requests].count(Op.CANCEL) == 1


def test_job_that_a_user_leaves_behind_is_cancelled_and_recorded_when_the_user_stops() -> None:
    users = Users(settings={"service": "1000s"})
    (row,) = users.run(lambda endpoint: (endpoint.run({}, wait=False), endpoint.close()))
    assert row.outcome is Outcome.CENSORED
    assert users.jobs.canceller.confirmed == 1
    assert users.jobs.counters.in_flight == 0


def test_user_that_is_killed_in_the_middle_of_a_job_leaves_its_row() -> None:
    users = Users(settings={"service": "1000s"})
    (user,) = users.start(lambda endpoint: endpoint.run({}))
    users.wire.run(until=3.0)
    user.kill()
    users.wire.run(until=10.0)
    users.jobs.publish()
    assert [row.outcome for row in users.rows] == [Outcome.CENSORED]
    assert users.jobs.canceller.confirmed == 1


def test_status_of_an_id_or_of_a_job_that_has_ended_makes_no_row() -> None:
    seen: list[Job] = []

    def task(endpoint: Endpoint) -> None:
        job = endpoint.run({})
        assert job.id is not None
        seen.extend([job, endpoint.status(job.id), endpoint.status(job)])

    (row,) = Users().run(task)
    assert [each.state for each in seen] == [None, "COMPLETED", "COMPLETED"]
    assert [each.output for each in seen] == [seen[0].output] * 3
    assert row.polls == seen[0]._sample.polls
    with pytest.raises(ValueError, match="not the id of a job"):
        Users().endpoints[0].status("..")


def test_empty_output_is_no_error_unless_the_scenario_expects_one() -> None:
    def outcome_of(**keys: Any) -> str:
        users = Users(**keys)
        body = b'{"id":"a","status":"COMPLETED","delayTime":0,"executionTime":5,"output":null}'
        users.wire.misbehave = lambda step, now: ok(body)
        (row,) = users.run(lambda endpoint: endpoint.runsync({}))
        return row.outcome

    assert outcome_of() == "completed"
    assert outcome_of(flows={"runsync": {"expect": {"path": "output.text"}}}) == "wrong"


def test_ceiling_on_jobs_holds_for_tasks() -> None:
    users = Users(4, ceilings={"jobs": 10})
    users.jobs.allow(10, load_ended=False)
    assert len(users.run(lambda endpoint: endpoint.runsync({}), repeatedly=True)) == 10


def test_flow_that_the_scenario_does_not_have_and_input_that_is_too_large_are_named() -> None:
    endpoint = Users(flows={"run": {}}).endpoints[0]
    with pytest.raises(ScenarioError, match=r"flows\.runsync: the scenario has no such flow"):
        endpoint.runsync({})
    with pytest.raises(ScenarioError, match=r"run: the input makes 10\.5 MB, but /run takes at most 10"):
        endpoint.run("x" * 10_500_000)
