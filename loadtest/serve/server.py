"""`loadtest serve`: one endpoint in one process, until a signal stops it."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer
import uvicorn

from loadtest.clock import WallClock
from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.sdk_worker_pool import SdkWorkerPool
from loadtest.endpoint.settings import EndpointSettings
from loadtest.errors import UsageError
from loadtest.process import ending_signals
from loadtest.protocol.addresses import reachable_host, url_host
from loadtest.scenario.environment import LOCAL_KEY, LOCAL_KEY_ENV
from loadtest.scenario.loading.load import Override, load_settings
from loadtest.serve.client_api import ClientApi
from loadtest.serve.journal import Journal
from loadtest.serve.live import LiveEndpoint
from loadtest.serve.webhooks import Notifier
from loadtest.serve.worker_api import Asgi, WorkerApi
from loadtest.serve.worker_processes import Handler, WorkerProcesses
from loadtest.units import seconds_text

JOURNAL_FLUSH_INTERVAL_S = 0.2
KEEP_ALIVE_S = 75
SHUTDOWN_TIMEOUT_S = 2
MIN_IDLE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class ServeOptions:
    """The command's options; None keeps the value of the config file, or the default."""

    host: str = "127.0.0.1"
    port: int = 8000
    endpoint_id: str = "local"
    config: Path | None = None
    seed: int | None = None
    journal: Path | None = None
    active: int | None = None
    max_workers: int | None = None
    scaler: str | None = None
    idle_timeout: str | None = None
    handler: Path | None = None
    concurrency: int = 1
    logs: Path | None = None
    until_stdin_closes: bool = False


def serve(options: ServeOptions) -> None:
    """Serve an endpoint until a signal or, optionally, the end of standard input; port 0 picks a free port.

    Raises UsageError if the endpoint's id cannot be part of a URL, the port is taken, the journal cannot be opened or
    the handler cannot be run, ScenarioError if the config cannot be read or the handler's first worker ends before it
    asks for a job, RecordingError if the journal can no longer be written.
    """
    name = options.endpoint_id
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", name):
        raise UsageError(f'--endpoint: "{name}" cannot be part of a URL; use letters, digits, ".", "_" and "-"')
    settings, handler = endpoint_settings(options), worker_handler(options)
    listener = _listener(options.host, options.port)
    with listener:
        port = listener.getsockname()[1]
        journal = Journal(options.journal)
        clock = WallClock()
        pool = (
            None if handler is None else SdkWorkerPool(0.0 if settings.revival is None else settings.revival.within)
        )
        # Started again while a run goes on, it must not give the ids of the first time to other jobs.
        seed, own_ids = (1, True) if options.seed is None else (options.seed, False)
        endpoint = Endpoint(settings, seed, clock.now(), pool, own_ids)
        notifier = Notifier(settings.webhooks, clock, journal)
        live = LiveEndpoint(endpoint, clock, journal, notifier)
        app: Asgi = ClientApi(live, name, os.environ.get(LOCAL_KEY_ENV) or LOCAL_KEY, settings)
        processes = None
        if handler is not None and pool is not None:
            app = WorkerApi(app, live, pool, name, settings.payloads, handler.logs)
            worker_url = _url(reachable_host(options.host), port, name)
            processes = WorkerProcesses(handler, worker_url, live, pool, settings.workers.active)
        server = _Server(app, _url(options.host, port, name), live, processes)
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(_until_stopped(server, listener, journal, options.until_stdin_closes))
            runner.run(notifier.close())
        live.write_unfinished()
        journal.close()


class _Server(uvicorn.Server):
    """A uvicorn server that prints its address, and on a signal answers what is held open before it ends."""

    def __init__(self, app: Asgi, url: str, live: LiveEndpoint, processes: WorkerProcesses | None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_level="warning",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
            )
        )
        self._url = url
        self._live = live
        self._processes = processes

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, and print the address."""
        await super().startup(sockets)
        # without this every full collection scans what was loaded, and delays answers by about 10 ms
        gc.collect()
        gc.freeze()
        # uvicorn's own handlers raise the signal again once it has stopped, which ends in a traceback
        for number in ending_signals():
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        typer.echo(f"listening on {self._url}")
        if self._processes is not None:
            self._processes.begin(give_up=self.stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections, and wait for every worker to end."""
        await super().shutdown(sockets)
        if self._processes is not None:
            await self._processes.close()

    def stop(self) -> None:
        """Terminate the workers, answer what is held open, then end."""
        if self._processes is not None:
            self._processes.terminate_all()
        self._live.stop()
        self.should_exit = True


async def _until_stopped(
    server: _Server, listener: socket.socket, journal: Journal, until_stdin_closes: bool
) -> None:
    if until_stdin_closes:
        _at_end_of_stdin(server.stop)
    flushing = asyncio.create_task(_keep_flushed(journal))
    flushing.add_done_callback(lambda _: server.stop())
    await server.serve(sockets=[listener])
    flushing.cancel()
    with suppress(asyncio.CancelledError):
        await flushing


async def _keep_flushed(journal: Journal) -> None:
    while True:
        await asyncio.sleep(JOURNAL_FLUSH_INTERVAL_S)
        journal.flush()


def _at_end_of_stdin(stop: Callable[[], None]) -> None:
    """Call `stop` on the running loop when standard input closes, as it does when the parent process dies."""
    loop = asyncio.get_running_loop()

    def read_to_the_end() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                continue
        with suppress(RuntimeError):  # the loop has already ended
            loop.call_soon_threadsafe(stop)

    threading.Thread(target=read_to_the_end, daemon=True).start()


def _url(host: str, port: int, endpoint_id: str) -> str:
    return f"http://{url_host(host)}:{port}/v2/{endpoint_id}"


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # An empty host would mean every address of this machine.
        found = socket.getaddrinfo(host or "-", None, family, socket.SOCK_STREAM)[0][4]
        return socket.create_server((found[0], port, *found[2:]), family=family, backlog=2048)
    except (socket.gaierror, UnicodeError):
        raise UsageError(f'cannot listen on "{host}": no such address; name another with --host') from None
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is not within 0 to 65535"
        raise UsageError(
            f"cannot listen on {host} port {port}: {reason}; name another with --port or --host"
        ) from None


def endpoint_settings(options: ServeOptions) -> EndpointSettings:
    """Return the config file's settings, if any, with the options applied.

    Raises ScenarioError if a setting is invalid, UsageError if the idle timeout is too short for real workers.
    """
    overrides = (
        ("--active", ("workers", "active"), options.active),
        ("--max", ("workers", "max"), options.max_workers),
        ("--scaler", ("scaler",), options.scaler),
        ("--idle-timeout", ("idle_timeout",), options.idle_timeout),
    )
    changes = [Override(f"{name} {value}", path, value) for name, path, value in overrides if value is not None]
    settings = load_settings(options.config, changes)
    if options.handler is not None and settings.idle_timeout < MIN_IDLE_TIMEOUT_S:
        raise UsageError(
            f"--handler: an idle timeout of {seconds_text(settings.idle_timeout)} stops workers between two jobs, "
            f"since the vendor's SDK pauses a second before it takes the next; make it at least "
            f"{MIN_IDLE_TIMEOUT_S:g}s"
        )
    return settings


def worker_handler(options: ServeOptions) -> Handler | None:
    """Return the handler that workers run, and a folder for their logs; None if workers are simulated.

    Raises UsageError if the file is missing, the SDK is not installed, or the folder cannot be made.
    """
    if options.handler is None:
        for option, given in (("--concurrency", options.concurrency > 1), ("--logs", options.logs is not None)):
            if given:
                raise UsageError(f"{option}: simulated workers have none; use it with --handler")
        return None
    if not options.handler.is_file():
        raise UsageError(f"--handler {options.handler}: no such file; name the file that holds the handler")
    if importlib.util.find_spec("runpod") is None:
        fix = "in your clone of loadtest, run: python -m pip install -c constraints.txt '.[handler]'"
        raise UsageError(f"--handler: the vendor's worker SDK is not installed; {fix}")
    logs = options.logs or Path("reports", f"workers-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--logs {logs}: cannot be made: {error.strerror}; name another folder") from None
    return Handler(options.handler.resolve(), options.concurrency, logs.resolve())
