"""What Locust is given: `locust -f loadtest/drive/locustfile.py --scenario scenarios/steady.yaml`."""

from __future__ import annotations

import logging
import math
import signal
import subprocess
import sys
from typing import Any

import gevent
from locust import events, runners
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.drive import messages
from loadtest.drive.crew import GIVEN_UP_AFTER_S
from loadtest.drive.hand import Hand
from loadtest.drive.lead import Lead, as_fault
from loadtest.drive.messages import listen
from loadtest.drive.options import Plan, add_options, read_plan
from loadtest.drive.shape import StagesShape
from loadtest.drive.users import MixedUser, RunsyncUser, RunUser, StreamUser, user_class
from loadtest.errors import ExitCode, LoadtestError
from loadtest.record.run import Ending

__all__ = ["MixedUser", "RunUser", "RunsyncUser", "StreamUser"]

LINGER_MS = 1000

events.init_command_line_parser.add_listener(add_options)


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Make this process a lead, a hand, or, where it has no others, both."""
    logging.getLogger("locust.runners").setLevel(logging.ERROR)
    # Locust ends a run whose workers are all out of reach for 3 s; ours waits for a link that comes back.
    runners.HEARTBEAT_LIVENESS = math.ceil(GIVEN_UP_AFTER_S)
    hand = None if isinstance(environment.runner, MasterRunner) else Hand(environment)
    if hand is not None:
        environment.events.test_stopping.add_listener(lambda **_: hand.let_go())
    if isinstance(environment.runner, WorkerRunner):
        follow(environment, hand)
        return
    assert environment.parsed_options is not None
    try:
        plan = read_plan(environment.parsed_options)
    except LoadtestError as fault:
        sys.stderr.write(f"loadtest: {fault}\n")
        raise SystemExit(fault.exit_code) from None
    environment.user_classes = [user_class(plan.scenario)]
    shape = StagesShape(plan)
    shape.runner = environment.runner
    environment.shape_class = shape
    take_the_lead(environment, plan, shape, hand)


def follow(environment: Environment, hand: Hand | None) -> None:
    """A process that only sends finishes its part when Locust, or its own end, stops its users."""
    assert environment.runner is not None
    assert hand is not None
    environment.process_exit_code = 0
    finishing = Once(hand.finish)
    environment.events.test_start.add_listener(lambda **_: finishing.again())
    environment.events.test_stop.add_listener(lambda **_: finishing())
    environment.events.quit.add_listener(lambda **_: let_go_of_the_lead(environment.runner))
    gevent.signal_handler(signal.SIGTERM, environment.runner.quit)


def let_go_of_the_lead(runner: Any) -> None:
    """What could not be told to a lead that has died is not waited for at the end of this process."""
    runner.client.close(linger=LINGER_MS)


def take_the_lead(environment: Environment, plan: Plan, shape: StagesShape, hand: Hand | None) -> None:
    """Tie a run to each start and stop of Locust's."""
    assert environment.runner is not None

    def begin(**_: Any) -> None:
        finishing.again()
        lead = Lead(plan, environment)
        shape.lead_by(lead)
        try:
            lead.begin()
        except Exception as fault:
            # Locust puts it in its log, and would wait for ever for a run that never is on.
            lead.abort(as_fault(fault))
            raise

    def conclude() -> None:
        lead = shape.lead
        if lead is not None:
            if hand is not None:
                hand.finish()
            lead.finish()
            environment.process_exit_code = results_of(lead, plan)
            shape.lead_by(None)

    def hear(name: str, message: Any) -> None:
        if shape.lead is not None:
            shape.lead.hear(name, message)

    def joined(client_id: str, **_: Any) -> None:
        if shape.lead is not None:
            shape.lead.joined(client_id)

    def terminated() -> None:
        """Locust listens to SIGTERM only once a shape has ended; until then it would be death."""
        if shape.lead is not None:
            shape.lead.stop(Ending.TERMINATED)

    def faulted(exception: Exception, **_: Any) -> None:
        if shape.lead is not None:
            shape.lead.abort(LoadtestError(f"a fault of ours in a user: {exception!r}"))

    finishing = Once(conclude)
    listen(environment.runner, messages.TO_LEAD, hear)
    environment.events.worker_connect.add_listener(joined)
    environment.events.test_start.add_listener(begin)
    environment.events.user_error.add_listener(faulted)
    environment.events.test_stop.add_listener(lambda **_: finishing())
    gevent.signal_handler(signal.SIGTERM, terminated)


class Once:
    """Something to be done once, though Locust asks twice when a signal comes while it stops; all wait for it."""

    def __init__(self, work: Any) -> None:
        self._work = work
        self._doing: gevent.Greenlet[..., None] | None = None

    def __call__(self) -> None:
        """Do it, or wait until it is done."""
        if self._doing is None:
            self._doing = gevent.spawn(self._work)
        self._doing.get()

    def again(self) -> None:
        """It may be done once more."""
        self._doing = None


def results_of(lead: Lead, plan: Plan) -> int:
    """Let another process build the results, unless the one that started us will; the exit code of this one."""
    if lead.books is None or lead.books.unrecorded is not None:
        fault = lead.fault if lead.books is None else lead.books.unrecorded
        sys.stderr.write(f"loadtest: {fault}\n")
        return fault.exit_code if fault is not None else ExitCode.USAGE
    if plan.progress_fd is not None:
        return 0
    return subprocess.call([sys.executable, "-m", "loadtest", "report", str(lead.books.directory.path)])
