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

from loadtest.drive.cluster import messages
from loadtest.drive.cluster.generator import Generator
from loadtest.drive.cluster.master import Master, as_loadtest_error
from loadtest.drive.cluster.membership import ABANDON_AFTER_S
from loadtest.drive.cluster.messages import subscribe
from loadtest.drive.options import RunConfig, add_options, read_config
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
    runners.HEARTBEAT_LIVENESS = math.ceil(ABANDON_AFTER_S)
    generator = None if isinstance(environment.runner, MasterRunner) else Generator(environment)
    if generator is not None:
        environment.events.test_stopping.add_listener(lambda **_: generator.release_users())
    if isinstance(environment.runner, WorkerRunner):
        set_up_generator(environment, generator)
        return
    assert environment.parsed_options is not None
    try:
        plan = read_config(environment.parsed_options)
    except LoadtestError as error:
        sys.stderr.write(f"loadtest: {error}\n")
        raise SystemExit(error.exit_code) from None
    environment.user_classes = [user_class(plan.scenario)]
    shape = StagesShape(plan)
    shape.runner = environment.runner
    environment.shape_class = shape
    set_up_master(environment, plan, shape, generator)


def set_up_generator(environment: Environment, generator: Generator | None) -> None:
    """A process that only sends finishes its part when Locust, or its own end, stops its users."""
    assert environment.runner is not None
    assert generator is not None
    environment.process_exit_code = 0
    finishing = RunOnce(generator.finish)
    environment.events.test_start.add_listener(lambda **_: finishing.reset())
    environment.events.test_stop.add_listener(lambda **_: finishing())
    environment.events.quit.add_listener(lambda **_: close_master_link(environment.runner))
    gevent.signal_handler(signal.SIGTERM, environment.runner.quit)


def close_master_link(runner: Any) -> None:
    """What could not be told to a lead that has died is not waited for at the end of this process."""
    runner.client.close(linger=LINGER_MS)


def set_up_master(environment: Environment, plan: RunConfig, shape: StagesShape, generator: Generator | None) -> None:
    """Tie a run to each start and stop of Locust's."""
    assert environment.runner is not None

    def begin(**_: Any) -> None:
        finishing.reset()
        master = Master(plan, environment)
        shape.attach(master)
        try:
            master.begin()
        except Exception as error:
            # Locust puts it in its log, and would wait for ever for a run that never is on.
            master.abort(as_loadtest_error(error))
            raise

    def conclude() -> None:
        master = shape.master
        if master is not None:
            if generator is not None:
                generator.finish()
            master.finish()
            environment.process_exit_code = build_results(master, plan)
            shape.attach(None)

    def hear(name: str, message: Any) -> None:
        if shape.master is not None:
            shape.master.on_message(name, message)

    def on_connected(client_id: str, **_: Any) -> None:
        if shape.master is not None:
            shape.master.on_generator_connected(client_id)

    def terminated() -> None:
        """Locust listens to SIGTERM only once a shape has ended; until then it would be death."""
        if shape.master is not None:
            shape.master.stop(Ending.TERMINATED)

    def faulted(exception: Exception, **_: Any) -> None:
        if shape.master is not None:
            shape.master.abort(LoadtestError(f"a fault of ours in a user: {exception!r}"))

    finishing = RunOnce(conclude)
    subscribe(environment.runner, messages.TO_MASTER, hear)
    environment.events.worker_connect.add_listener(on_connected)
    environment.events.test_start.add_listener(begin)
    environment.events.user_error.add_listener(faulted)
    environment.events.test_stop.add_listener(lambda **_: finishing())
    gevent.signal_handler(signal.SIGTERM, terminated)


class RunOnce:
    """Something to be done once, though Locust asks twice when a signal comes while it stops; all wait for it."""

    def __init__(self, work: Any) -> None:
        self._work = work
        self._doing: gevent.Greenlet[..., None] | None = None

    def __call__(self) -> None:
        """Do it, or wait until it is done."""
        if self._doing is None:
            self._doing = gevent.spawn(self._work)
        self._doing.get()

    def reset(self) -> None:
        """It may be done once more."""
        self._doing = None


def build_results(master: Master, plan: RunConfig) -> int:
    """Let another process build the results, unless the one that started us will; the exit code of this one."""
    if master.run_log is None or master.run_log.close_error is not None:
        error = master.error if master.run_log is None else master.run_log.close_error
        sys.stderr.write(f"loadtest: {error}\n")
        return error.exit_code if error is not None else ExitCode.USAGE
    if plan.progress_fd is not None:
        return 0
    return subprocess.call([sys.executable, "-m", "loadtest", "report", str(master.run_log.directory.path)])
