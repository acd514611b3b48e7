"""The file that Locust loads: `locust -f loadtest/drive/locustfile.py --scenario scenarios/steady.yaml`."""

from __future__ import annotations

import logging
import math
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import gevent
import msgspec
import psutil
from locust import events, runners
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.analyze.summary import Verdict
from loadtest.drive.cluster import messages
from loadtest.drive.cluster.generator import Generator, GeneratorRun, tune_garbage_collection
from loadtest.drive.cluster.master import Master, as_loadtest_error
from loadtest.drive.cluster.membership import ABANDON_AFTER_S
from loadtest.drive.cluster.target import open_target
from loadtest.drive.locust_process import LocustLink, build_generator
from loadtest.drive.options import RunConfig, add_options, read_config, task_config
from loadtest.drive.shape import StagesShape
from loadtest.drive.tasks.endpoint_user import EndpointUser
from loadtest.drive.tasks.options import own_locustfile, task_scenario
from loadtest.drive.tasks.users import count_task_error
from loadtest.drive.timer import GeventClock
from loadtest.drive.users import AnyUser, MixedUser, RunsyncUser, RunUser, StreamUser, user_class
from loadtest.errors import ExitCode, InternalError, LoadtestError, internal_error
from loadtest.process import SIGNAL_EXIT_CODES, DroppingStream, ending_signals, raise_limit
from loadtest.record.arrow import ignore_pandas
from loadtest.record.run import Ending
from loadtest.traffic.settings import Locustfile

__all__ = ["EndpointUser", "MixedUser", "RunUser", "RunsyncUser", "StreamUser"]

LINGER_MS = 1000
ENDED_BY_SIGNAL: dict[Ending | None, ExitCode] = {
    Ending.INTERRUPTED: ExitCode.SIGINT,
    Ending.TERMINATED: ExitCode.SIGTERM,
}


class Result(msgspec.Struct):
    """The part of `summary.json` that gives the exit code."""

    verdict: Verdict


events.init_command_line_parser.add_listener(add_options)


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Make this process the master, a generator, or both if it has no others; end it if that cannot be done."""
    try:
        set_up(environment)
    except Exception as error:  # noqa: BLE001, since Locust would log it, and go on without users
        if not isinstance(error, LoadtestError):
            sys.stderr.write("".join(traceback.format_exception(error)))
        error = as_loadtest_error(error)
        sys.stderr.write(f"loadtest: {error}\n")
        end_workers(environment)
        raise SystemExit(error.exit_code) from None


def end_workers(environment: Environment) -> None:
    """End the workers that Locust has forked for a master that cannot run: they would wait for it for minutes."""
    if isinstance(environment.runner, MasterRunner):
        for child in psutil.Process().children():
            child.terminate()


def set_up(environment: Environment) -> None:
    """Tie this process to Locust. Raises LoadtestError if the options describe no run."""
    assert environment.runner is not None
    assert environment.parsed_options is not None
    logging.getLogger("locust.runners").setLevel(logging.ERROR)
    let_logs_drop_lines()
    raise_limit()
    ignore_pandas()
    # Locust ends a run if it has not heard of any worker for 3 s; a broken link may be repaired.
    runners.HEARTBEAT_LIVENESS = math.ceil(ABANDON_AFTER_S)
    link = LocustLink(environment.runner)
    clock = GeventClock(counts_suspension=not link.alone or isinstance(environment.runner, WorkerRunner))
    # Locust measures its ticks, and the silence of its master, by the wall clock, which can step.
    runners.time = SimpleNamespace(**vars(time) | {"time": clock.now})  # type: ignore[assignment, attr-defined]
    locustfile = own_locustfile(environment, EndpointUser)
    generator = None
    if not isinstance(environment.runner, MasterRunner):
        generator = set_up_generator(environment, link, clock, locustfile)
    if isinstance(environment.runner, WorkerRunner):
        assert generator is not None
        set_up_worker(environment, environment.runner, generator)
        return
    parsed = environment.parsed_options
    if locustfile is not None:
        hosts = [each.host for each in environment.user_classes]
        config = task_config(parsed, task_scenario(parsed, hosts, locustfile))
    else:
        config = read_config(parsed)
        environment.user_classes = [user_class(config.scenario)]
    shape = StagesShape(config)
    shape.runner = environment.runner
    environment.shape_class = shape
    set_up_master(environment, config, clock, link, shape, generator)


def let_logs_drop_lines() -> None:
    """Let no log line wait for a reader that has stopped, since the load would wait as well."""
    for name in ("", "locust", "locust.stats_logger"):
        for handler in logging.getLogger(name).handlers:
            if type(handler) is logging.StreamHandler and not isinstance(handler.stream, DroppingStream):
                handler.setStream(DroppingStream(handler.stream))


def set_up_generator(
    environment: Environment, link: LocustLink, clock: GeventClock, locustfile: Locustfile | None
) -> Generator:
    """Return the generator of this process, whose users begin with its run and end with the test."""
    assert environment.runner is not None

    def begin(run: GeneratorRun) -> None:
        tune_garbage_collection()
        if locustfile is None:
            environment.user_classes = [user_class(run.scenario)]
        AnyUser.jobs = run.jobs
        EndpointUser.begin(run)
        AnyUser.run_started.set()

    def end_load(**_: Any) -> None:
        AnyUser.run_started.clear()
        generator.end_load()

    def build(start: messages.StartRun) -> GeneratorRun:
        return build_generator(start, environment, link, clock, locustfile)

    generator = Generator(clock, link, build, begin, environment.runner.stop)

    def on_user_error(exception: Exception, **_: Any) -> None:
        if locustfile is not None:
            count_task_error(EndpointUser.part.task_errors, exception, environment.parsed_locustfiles or [])
            return
        link.send(messages.RunFailed(str(internal_error(exception)), internal=True))

    link.subscribe(messages.TO_GENERATOR, generator.on_message)
    environment.events.user_error.add_listener(on_user_error)
    environment.events.test_stopping.add_listener(end_load)
    return generator


def set_up_worker(environment: Environment, runner: WorkerRunner, generator: Generator) -> None:
    """Let a process that only sends finish its part when its users are stopped."""

    def close_link(**_: Any) -> None:
        """Close the connection; what a master that has died did not receive is not waited for."""
        runner.client.close(linger=LINGER_MS)

    environment.process_exit_code = 0
    at_test_stop(environment, generator.finish)
    environment.events.quitting.add_listener(lambda **_: runner.stop())
    environment.events.quit.add_listener(close_link)
    for number in ending_signals():
        gevent.signal_handler(number, runner.quit)


def set_up_master(
    environment: Environment,
    config: RunConfig,
    clock: GeventClock,
    link: LocustLink,
    shape: StagesShape,
    generator: Generator | None,
) -> None:
    """Tie a run to each test that Locust starts and stops."""

    def begin(**_: Any) -> None:
        master = Master(config, clock, link, partial(open_target, fds=config.endpoint_fds))
        shape.attach(master)
        try:
            master.begin()
        except Exception as error:
            # Locust would log it, and wait for ever for a run that never begins.
            master.abort(as_loadtest_error(error))
            raise

    def finish() -> None:
        master = shape.master
        if master is not None:
            ended_at = clock.now()
            try:
                if generator is not None:
                    generator.finish()
            finally:
                master.finish(ended_at)
            environment.process_exit_code = build_results(master, config)
            shape.attach(None)

    def with_master(work: Callable[..., object]) -> Callable[..., None]:
        """Return a listener that does this with the master, while there is one."""

        def listener(*args: Any, **named: Any) -> None:
            if shape.master is not None:
                work(shape.master, *args, **named)

        return listener

    at_test_stop(environment, finish)
    link.subscribe(messages.TO_MASTER, with_master(Master.on_message))
    environment.events.worker_connect.add_listener(
        with_master(lambda master, client_id, **_: master.on_generator_connected(client_id))
    )
    environment.events.test_start.add_listener(begin)
    handle_signals(environment, shape)


def handle_signals(environment: Environment, shape: StagesShape) -> None:
    """End the run at a signal, and before it begins, while workers are waited for, the process.

    Locust itself handles none of them then, and SIGTERM only once the shape has ended. Its web page ends with Ctrl-C.
    """
    runner, options = environment.runner, environment.parsed_options
    assert runner is not None
    assert options is not None
    began: list[bool] = []
    environment.events.test_start.add_listener(lambda **_: began.append(True))

    def end(number: signal.Signals) -> None:
        if shape.master is not None:
            shape.master.stop(Ending.INTERRUPTED if number is signal.SIGINT else Ending.TERMINATED)
        elif options.headless and not began:
            runner.quit()
            main = gevent.get_hub().parent
            assert main is not None
            gevent.kill(main, SystemExit(SIGNAL_EXIT_CODES[number]))

    for number in ending_signals():
        if options.headless or number is not signal.SIGINT:
            gevent.signal_handler(number, end, number)


def at_test_stop(environment: Environment, work: Callable[[], None]) -> None:
    """Do this once at the end of each test; if a signal makes Locust stop the test again, it waits for the same.

    Locust quits only after it: to Locust, a test is stopped while its jobs are still being cancelled.
    """
    pending = gevent.Greenlet(work)

    def on_start(**_: Any) -> None:
        nonlocal pending
        pending = gevent.Greenlet(work)

    def on_stop(**_: Any) -> None:
        pending.start()
        pending.get()

    def on_quitting(**_: Any) -> None:
        if pending.started:
            pending.join()

    environment.events.test_start.add_listener(on_start)
    environment.events.test_stop.add_listener(on_stop)
    environment.events.quitting.add_listener(on_quitting)


def build_results(master: Master, config: RunConfig) -> int:
    """Build the results in another process, unless the process that started this one does; return the exit code."""
    if master.run_log is None or master.run_log.close_error is not None:
        error = master.error if master.run_log is None else master.run_log.close_error
        sys.stderr.write(f"loadtest: {error}\n")
        return error.exit_code if error is not None else ExitCode.USAGE
    if config.progress_fd is not None:
        return ExitCode.INTERNAL if isinstance(master.error, InternalError) else ExitCode.PASS
    directory = master.run_log.directory
    directory.release()
    status = subprocess.call([sys.executable, "-P", "-m", "loadtest", "report", str(directory.path)])
    if status != ExitCode.PASS or master.ending in ENDED_BY_SIGNAL:
        return ENDED_BY_SIGNAL.get(master.ending, ExitCode(status))
    return msgspec.json.decode(directory.summary.read_bytes(), type=Result).verdict.exit_code
