"""What Locust is given: `locust -f loadtest/drive/locustfile.py --scenario scenarios/steady.yaml`."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

from locust import events
from locust.env import Environment

from loadtest.drive.options import Plan, add_options, read_plan
from loadtest.drive.session import Session
from loadtest.drive.shape import StagesShape, prepare_user_classes
from loadtest.drive.users import JobUser, RunsyncUser, RunUser, StreamUser
from loadtest.errors import LoadtestError
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

    def begin(**_: Any) -> None:
        session = Session(plan, environment)
        shape.session = session
        session.begin()
        if session.begun:
            JobUser.jobs = session.jobs

    def terminated(**_: Any) -> None:
        if shape.session is not None and shape.session.ending is None:
            shape.session.ending = Ending.TERMINATED

    def faulted(exception: Exception, **_: Any) -> None:
        if shape.session is not None:
            shape.session.abort(LoadtestError(f"a fault of ours in a user: {exception!r}"))

    def finish(**_: Any) -> None:
        session, shape.session = shape.session, None
        if session is None:
            return
        session.finish()
        if session.directory is None:
            sys.stderr.write(f"loadtest: {session.fault}\n")
            environment.process_exit_code = session.fault.exit_code if session.fault is not None else 1
        elif plan.progress_fd is None:
            report = [sys.executable, "-m", "loadtest", "report", str(session.directory.path)]
            environment.process_exit_code = subprocess.call(report)
        else:
            environment.process_exit_code = 0

    environment.events.test_start.add_listener(begin)
    environment.events.quitting.add_listener(terminated)
    environment.events.user_error.add_listener(faulted)
    environment.events.test_stop.add_listener(finish)


def quiet_locust() -> None:
    """Locust warns of fast spawning, which idle users do not suffer from."""
    logging.getLogger("locust.runners").setLevel(logging.ERROR)
