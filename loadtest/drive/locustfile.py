"""What Locust is given: `locust -f loadtest/drive/locustfile.py --scenario scenarios/steady.yaml`."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from typing import Any

import gevent
from locust import events
from locust.env import Environment

from loadtest.drive.options import Plan, add_options, read_plan
from loadtest.drive.session import Session
from loadtest.drive.shape import StagesShape, prepare_user_classes
from loadtest.drive.users import JobUser, RunsyncUser, RunUser, StreamUser
from loadtest.errors import ExitCode, LoadtestError
from loadtest.record.run import Ending

__all__ = ["RunUser", "RunsyncUser", "StreamUser"]

events.init_command_line_parser.add_listener(add_options)


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Read the scenario, and hand Locust the users and the shape that it asks for."""
    assert environment.parsed_options is not None
    try:
        plan = read_plan(environment.parsed_options)
    except LoadtestError as fault:
        sys.stderr.write(f"loadtest: {fault}\n")
        raise SystemExit(fault.exit_code) from None
    quiet_locust()
    environment.user_classes = prepare_user_classes(plan.scenario)
    shape = StagesShape(plan)
    shape.runner = environment.runner
    environment.shape_class = shape
    watch(environment, plan, shape)


def watch(environment: Environment, plan: Plan, shape: StagesShape) -> None:
    """Tie a session to each start and stop of Locust's."""
    finishing: list[gevent.Greenlet[..., None]] = []

    def begin(**_: Any) -> None:
        finishing.clear()
        shape.session = session = Session(plan, environment)
        session.begin()
        if session.begun:
            JobUser.jobs = session.jobs

    def terminated() -> None:
        """Locust listens to SIGTERM only once a shape has ended; until then it would be death."""
        if shape.session is not None:
            shape.session.stop(Ending.TERMINATED)

    def faulted(exception: Exception, **_: Any) -> None:
        if shape.session is not None:
            shape.session.abort(LoadtestError(f"a fault of ours in a user: {exception!r}"))

    def finish(**_: Any) -> None:
        """Locust stops twice when a signal comes while it stops; the work is done once, and both wait for it."""
        if shape.session is not None and not finishing:
            finishing.append(gevent.spawn(conclude, shape.session, plan, environment))
        for greenlet in finishing:
            greenlet.get()

    environment.events.test_start.add_listener(begin)
    gevent.signal_handler(signal.SIGTERM, terminated)
    environment.events.user_error.add_listener(faulted)
    environment.events.test_stop.add_listener(finish)


def conclude(session: Session, plan: Plan, environment: Environment) -> None:
    """Finish a run, and let another process build its results, unless the one that started us will."""
    session.finish()
    if session.directory is None:
        sys.stderr.write(f"loadtest: {session.fault}\n")
        environment.process_exit_code = ExitCode.USAGE
    elif plan.progress_fd is None:
        report = [sys.executable, "-m", "loadtest", "report", str(session.directory.path)]
        environment.process_exit_code = subprocess.call(report)
    else:
        environment.process_exit_code = 0


def quiet_locust() -> None:
    """Locust warns of fast spawning, which idle users do not suffer from."""
    logging.getLogger("locust.runners").setLevel(logging.ERROR)
