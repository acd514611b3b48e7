"""A process of a run under Locust: its connection to the other processes, and its part of the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import msgspec
from gevent import get_hub
from locust.env import Environment
from locust.runners import MasterRunner, Runner

from loadtest.drive.cluster import messages
from loadtest.drive.cluster.generator import GeneratorRun, build_lease, build_limiters
from loadtest.drive.cluster.messages import LOCAL, Link
from loadtest.drive.cluster.shard_upload import ShardUploader
from loadtest.drive.dispatcher import JobDispatcher
from loadtest.drive.executor import FlowExecutor, RequestListener
from loadtest.drive.http.client import HttpClient
from loadtest.drive.job_sources import Workload
from loadtest.drive.metrics.counts import MetricCounter
from loadtest.drive.stats.locust_stats import BatchedLocustStats
from loadtest.drive.tasks.options import refuse_other_tasks
from loadtest.drive.timer import GeventClock
from loadtest.drive.webhook_receiver import WebhookReceiver
from loadtest.flows.steps import Response
from loadtest.protocol.json_values import decode_json
from loadtest.record.directory import RunDirectory
from loadtest.record.recorder import Recorder
from loadtest.scenario.environment import api_key
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import Locustfile


class LocustLink:
    """Locust's connection, for either end; the messages of a process without others stay within it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.alone = not isinstance(runner, MasterRunner)

    def generators(self) -> list[str]:
        """Return the names of all connected generators."""
        if not isinstance(self._runner, MasterRunner):
            return [LOCAL]
        return sorted(client.id for client in self._runner.clients.ready)

    def send(self, message: msgspec.Struct, to: str | None = None) -> None:
        """Send a message to one generator, or to the master."""
        self._runner.send_message(_name(type(message)), msgspec.msgpack.encode(message), to)

    def subscribe(self, kinds: tuple[type[msgspec.Struct], ...], handler: Callable[[str, Any], None]) -> None:
        """Call `handler` with the sender's name and the message, for each message of these kinds."""
        for kind in kinds:
            decoder = msgspec.msgpack.Decoder(kind)

            def on_message(msg: Any, decoder: Any = decoder, **_: Any) -> None:
                handler(msg.node_id, decoder.decode(msg.data))

            self._runner.register_message(_name(kind), on_message)


def _name(kind: type[msgspec.Struct]) -> str:
    return f"loadtest {kind.__name__.lower()}"


def run_on_loop(work: Callable[[], None]) -> None:
    """Let the event loop do this next, on its own stack.

    Done by a user, it would leave that user's stack larger by some pages for the rest of the run; and there are
    thousands of users.
    """
    get_hub().loop.run_callback(work)


def build_generator(
    start: messages.StartRun,
    environment: Environment,
    link: Link,
    own_clock: GeventClock,
    locustfile: Locustfile | None = None,
) -> GeneratorRun:
    """Return this process's part of a run.

    Raises LoadtestError if it cannot record, or cannot receive webhooks, or has not the locustfile of the run.
    """
    scenario = Scenario.model_validate(decode_json(start.scenario))
    refuse_other_tasks(scenario, locustfile)
    clock = own_clock.shifted(-start.clock_offset_s)
    directory, shared = _directory(start, environment.parsed_options.keep if environment.parsed_options else "")
    client = HttpClient(start.url, api_key(scenario, os.environ), clock)
    receiver = None
    if "webhook" in scenario.flows:
        receiver = WebhookReceiver(scenario.webhooks, start.process, clock, client.mask)
    webhook, wait_for_webhook = (None, None) if receiver is None else (receiver.url, receiver.wait_for)
    recorder = Recorder(directory, start.process, start.until < inf)
    stats = BatchedLocustStats(environment)
    limiters = build_limiters(scenario, clock)
    metrics = MetricCounter() if start.metrics else None
    on_response = stats.request_done if metrics is None else both(stats.request_done, metrics.count_request)
    executor = FlowExecutor(clock, client.send, limiters, recorder, on_response, wait_for_webhook)
    work = Workload(scenario, scenario.schedule(), start.starts_at, start.share, start.process, webhook)
    # The recorder may change an outcome, so that the metrics come last.
    sinks = (client.mask.samples, recorder.record, stats.add_jobs, *([] if metrics is None else [metrics.count]))
    jobs = JobDispatcher(work, executor, clock, sinks, run_on_loop, recorder.cancelled)

    def close() -> None:
        client.close()
        if receiver is not None:
            receiver.close()

    return GeneratorRun(
        scenario=scenario,
        clock=clock,
        link=link,
        jobs=jobs,
        executor=executor,
        recorder=recorder,
        lease=build_lease(start, jobs, limiters),
        uploader=None if shared else ShardUploader(directory, start.process, link),
        flush_stats=stats.flush,
        shortages=client.shortages,
        close=close,
        metrics=metrics,
    )


def both(first: RequestListener, second: RequestListener) -> RequestListener:
    """Return a listener that calls two."""

    def listener(method: str, name: str, response: Response) -> None:
        first(method, name, response)
        second(method, name, response)

    return listener


def _directory(start: messages.StartRun, keep: str) -> tuple[RunDirectory, bool]:
    """Return where this process keeps its shards, and whether the master sees them there."""
    of_master = RunDirectory(Path(start.directory), start.token)
    if not keep and of_master.is_here():
        return of_master, True
    own = RunDirectory(Path(keep or "reports", f"{start.run_id}-{start.token}"), start.token)
    own.create_local()
    return own, False
