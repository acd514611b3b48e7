"""The endpoint as a task sees it: each call is one more job of the run, within the limits of all."""

from __future__ import annotations

from functools import partial
from typing import Any

import gevent

from loadtest.drive.cluster.generator import GeneratorRun
from loadtest.drive.job_sources import Job as DueJob
from loadtest.drive.tasks.jobs import Job, OutputKeeper
from loadtest.errors import ScenarioError
from loadtest.flows.job_flow import poll_until_final
from loadtest.flows.steps import Flow as Steps
from loadtest.flows.steps import Send
from loadtest.flows.submissions import checked_submission
from loadtest.flows.task_steps import cancel_and_follow, poll_once, submit_only
from loadtest.protocol.client_messages import is_usable_id
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.sample import Sample
from loadtest.scenario.flows import FlowName
from loadtest.scenario.model import Flow


class Endpoint:
    """The endpoint of a user's tasks; a call returns once its job has ended, or the job timeout is over.

    When the load is over, or the user is to stop, a call ends the task instead, by raising `stop`.
    """

    def __init__(self, part: GeneratorRun, user: int, stop: type[Exception]) -> None:
        self._jobs = part.jobs
        self._scenario = part.scenario
        self._executor = part.executor
        self._clock = part.clock
        self._user = user
        self._stop_user = stop
        self._open: dict[Job, None] = {}

    def __repr__(self) -> str:
        return f"<Endpoint of user {self._user}: {len(self._open)} jobs not ended>"

    def run(self, job_input: Any = None, *, wait: bool = True) -> Job:
        """Submit a job by /run and poll its status until it has ended; without `wait`, return once it is accepted."""
        return self._submit("run", job_input, self._flow("run"), wait)

    def runsync(self, job_input: Any = None, *, wait_s: float | None = None) -> Job:
        """Submit a job by /runsync, whose response may be held for `wait_s`, and poll its status if that is over."""
        flow = self._flow("runsync")
        return self._submit("runsync", job_input, flow if wait_s is None else _changed(flow, wait=wait_s))

    def stream(self, job_input: Any = None) -> Job:
        """Submit a job by /run and read its chunks from /stream; its output is the list of theirs."""
        return self._submit("stream", job_input, self._flow("stream"))

    def openai(self, body: dict[str, Any], *, route: str | None = None, stream: bool | None = None) -> Job:
        """Send a body to the OpenAI route; the output is the answer as one document, also if it was streamed."""
        asked = {key: value for key, value in (("route", route), ("stream", stream)) if value is not None}
        flow = self._flow("openai")
        return self._submit("openai", body, _changed(flow, **asked) if asked else flow)

    def status(self, job: Job | str) -> Job:
        """Ask once for the status of a job and return the job.

        Of a job that has ended, or of an id, the answer is a job of its own, which has no row in the run.
        """
        asked = self._followed(job)
        driven, polls = asked._driven, asked._polls
        assert driven is not None
        assert polls is not None
        states: list[str] = []
        self._drive(asked, poll_once(driven, polls, states))
        asked._state = states[-1] if states else asked._state
        return asked

    def wait(self, job: Job) -> Job:
        """Poll the status of a job until it has ended, or its job timeout is over; return the job."""
        if job in self._open:
            assert job._driven is not None
            self._drive(job, poll_until_final(job._driven, at_once=True), to_the_end=True)
        return job

    def cancel(self, job: Job | str) -> Job:
        """Cancel a job, see how the endpoint ends it, and return it: its outcome is "cancelled" if it did as asked.

        Of a job that has ended, or of an id, the answer is a job of its own, which has no row in the run.
        """
        asked = self._followed(job)
        assert asked._driven is not None
        self._drive(asked, cancel_and_follow(asked._driven), to_the_end=True)
        return asked

    def close(self) -> None:
        """Give up the jobs that have not ended, so that they are cancelled and recorded."""
        for job in list(self._open):
            self._close(job)

    def _flow(self, name: FlowName) -> Flow:
        flow = self._scenario.flows.get(name)
        if flow is None:
            raise ScenarioError(f"flows.{name}: the scenario has no such flow; add flows: {{{name}: {{}}}}")
        return flow

    def _submit(self, name: FlowName, job_input: Any, flow: Flow, wait: bool = True) -> Job:
        due = self._admitted(name, checked_submission(self._scenario, name, job_input, flow))
        keeper = OutputKeeper(self._jobs.check_of(name))
        job = Job(due.sample, keeper)
        self._open[job] = None
        try:
            self._jobs.follow(due, job._chunks_seen, partial(self._steps, job, due, wait))
        except BaseException:
            self._close(job)
            raise
        if wait or job.ended or job.id is None:
            self._close(job)
        if due.sample.sent_at is None:  # the load ended before it could go out
            self._stop()
        return job

    def _steps(self, job: Job, due: DueJob, wait: bool, acquired_at: float) -> Steps:
        job._driven = self._jobs.driven(due, acquired_at, job._keeper)
        job._polls = job._driven.history()
        if not wait:
            return submit_only(job._driven)
        return self._jobs.steps(due, job._chunks_seen, acquired_at, job._keeper)

    def _admitted(self, name: FlowName, submission: Send) -> DueJob:
        """Return a job once the stages let this user work and the limits give way; end the task if they never do."""
        while True:
            job = self._jobs.admit(self._user, (name, submission))
            if job is not None:
                return job
            if self._jobs.load_is_over:
                self.close()
            if not self._jobs.wait_for_change():
                self._stop()

    def _stop(self) -> None:
        gevent.sleep(0)  # a task that goes on all the same must not keep the others from running
        raise self._stop_user

    def _drive(self, job: Job, steps: Steps, to_the_end: bool = False) -> None:
        try:
            self._executor.run(steps, job._sample)
        finally:
            if job in self._open and (to_the_end or job.ended):
                self._close(job)

    def _close(self, job: Job) -> None:
        self._open.pop(job, None)
        job._keeper.settle(job._sample)
        self._jobs.close(job._sample, job._chunks_seen)

    def _followed(self, job: Job | str) -> Job:
        """Return an open job of this user; for any other, one that can be driven and is not recorded."""
        if isinstance(job, Job) and job in self._open:
            return job
        job_id = job if isinstance(job, str) else job.id
        if job_id is None or not is_usable_id(job_id):
            raise ValueError(f"{job_id!r} is not the id of a job; the endpoint gives one to each that it accepts")
        now = self._clock.now()
        sample = Sample(-1, "run", now, job_id=job_id, sent_at=now, accepted_at=now)
        other = Job(sample, OutputKeeper(None))
        asked = Send(Op.STATUS, OPERATIONS[Op.STATUS].path)
        other._driven = self._jobs.driven(DueJob(sample, asked), now, other._keeper)
        other._polls = other._driven.history()
        return other


def _changed(flow: Flow, **changes: Any) -> Flow:
    """Return a flow with other settings. Raises ValidationError if one is not valid."""
    return Flow.model_validate({**flow.model_dump(by_alias=True), **changes})
