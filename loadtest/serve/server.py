"""`loadtest serve`: one process, one endpoint, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import typer
import uvicorn

from loadtest.clock import WallClock
from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.sdk_worker_pool import SdkWorkerPool
from loadtest.errors import UsageError
from loadtest.scenario.credentials import LOCAL_KEY, LOCAL_KEY_ENV
from loadtest.serve.client_api import ClientApi
from loadtest.serve.journal import Journal
from loadtest.serve.live import LiveEndpoint
from loadtest.serve.options import ServeOptions, handler_of, settings_of
from loadtest.serve.webhooks import Notifier
from loadtest.serve.worker_api import Asgi, WorkerApi
from loadtest.serve.worker_processes import WorkerProcesses, WorkerService

JOURNAL_FLUSHED_EACH_S = 0.2
KEEP_ALIVE_S = 75
SHUTDOWN_WITHIN_S = 2


def serve(request: ServeOptions) -> None:
    """Serve an endpoint until SIGINT, SIGTERM, or, where asked, the end of standard input; port 0 takes a free one.

    UsageError where the endpoint's id cannot be part of a URL, the port is taken, the journal cannot be opened or the
    handler cannot be run, ScenarioError where the config cannot be read or the handler's first worker ends before it
    asks for a job, RecordingError where the journal can no longer be written.
    """
    name = request.endpoint_id
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", name):
        raise UsageError(f'--endpoint: "{name}" cannot be part of a URL; use letters, digits, ".", "_" and "-"')
    settings, handler = settings_of(request), handler_of(request)
    listener = _listener(request.host, request.port)
    with listener:
        port = listener.getsockname()[1]
        written = Journal(request.journal)
        clock = WallClock()
        pool = (
            None if handler is None else SdkWorkerPool(0.0 if settings.revival is None else settings.revival.within)
        )
        endpoint = Endpoint(settings, request.seed, clock.now(), pool)
        notifier = Notifier(settings.webhooks, clock, written)
        live = LiveEndpoint(endpoint, clock, written, notifier)
        app: Asgi = ClientApi(live, name, os.environ.get(LOCAL_KEY_ENV) or LOCAL_KEY, settings)
        staffing = None
        if handler is not None and pool is not None:
            app = side = WorkerApi(app, live, pool, name)
            processes = WorkerProcesses(handler, _url(_reached_at(request.host), port, name), live, pool)
            staffing = WorkerService(processes, side, live, settings.workers.active)
        server = _Server(app, _url(request.host, port, name), live, staffing)
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(_until_stopped(server, listener, written, request.until_stdin_closes))
            runner.run(notifier.close())
        live.write_unfinished()
        written.close()


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and on a signal first ends what is held open, then itself, quietly."""

    def __init__(self, app: Asgi, url: str, live: LiveEndpoint, staffing: WorkerService | None) -> None:
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
                timeout_graceful_shutdown=SHUTDOWN_WITHIN_S,
            )
        )
        self._url = url
        self._live = live
        self._staffing = staffing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, and say where."""
        await super().startup(sockets)
        # what is loaded by now stays; without this every full collection walks it, and answers wait some 10 ms
        gc.collect()
        gc.freeze()
        # uvicorn's own handlers would raise the signal again once it has stopped, and end in a traceback
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        typer.echo(f"listening on {self._url}")
        if self._staffing is not None:
            self._staffing.begin(give_up=self.stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is open, and see every worker gone."""
        await super().shutdown(sockets)
        if self._staffing is not None:
            await self._staffing.close()

    def stop(self) -> None:
        """Answer what is held open, then end."""
        if self._staffing is not None:
            self._staffing.stop()
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
        await asyncio.sleep(JOURNAL_FLUSHED_EACH_S)
        journal.flush()


def _at_end_of_stdin(stop: Callable[[], None]) -> None:
    """Calls `stop` on the running loop when standard input ends, as it does when the process that holds it dies."""
    loop = asyncio.get_running_loop()

    def read_to_the_end() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                continue
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stop)

    threading.Thread(target=read_to_the_end, daemon=True).start()


def _url(host: str, port: int, endpoint_id: str) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v2/{endpoint_id}"


def _reached_at(host: str) -> str:
    """Where this machine's own processes reach a server that listens on this address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # An empty host would be every address of this machine.
        found = socket.getaddrinfo(host or "-", None, family, socket.SOCK_STREAM)[0][4]
        return socket.create_server((found[0], port, *found[2:]), family=family, backlog=2048)
    except (socket.gaierror, UnicodeError):
        raise UsageError(f'cannot listen on "{host}": no such address; name another with --host') from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(
            f"cannot listen on {host} port {port}: {reason}; name another with --port or --host"
        ) from None
    except OverflowError:
        raise UsageError(
            f"cannot listen on port {port}: it is not within 0 to 65535; name another with --port"
        ) from None
