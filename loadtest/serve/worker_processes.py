"""The processes of real workers: started and ended at the endpoint's command, and ended with the server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import typer

from loadtest.endpoint.fleet import Worker
from loadtest.endpoint.sdk_worker import ExitReason, ProcessAction
from loadtest.endpoint.sdk_worker_pool import SdkWorkerPool
from loadtest.errors import ScenarioError
from loadtest.scenario.environment import LOCAL_KEY_ENV
from loadtest.serve.live import LiveEndpoint
from loadtest.serve.sdk_worker_main import CONCURRENCY_VARIABLE, WATCHDOG
from loadtest.units import last_lines

PROGRAM = Path(__file__).with_name("sdk_worker_main.py")
PING_INTERVAL_MS = 1000
TERMINATE_TIMEOUT_S = 3.0
"""How long a worker may take to end after SIGTERM before it is killed; the SDK needs one second."""
LOG_LINES = 8


@dataclass(frozen=True)
class Handler:
    """The handler that workers run: its file, how many jobs each runs at once, and the folder of their logs."""

    file: Path
    concurrency: int
    logs: Path


def worker_log(logs: Path, worker_id: str) -> Path:
    """Return the log of a worker."""
    return logs / f"{worker_id}.log"


class WorkerProcesses:
    """The workers' processes, each with its children in a session of its own.

    Call `begin` once the server listens, `terminate_all` before it stops listening, and `close` when it has.
    """

    def __init__(self, handler: Handler, url: str, live: LiveEndpoint, pool: SdkWorkerPool, active: int) -> None:
        self._handler = handler
        self._url = url
        self._live = live
        self._pool = pool
        self._active = active
        self._complete = False
        self._processes: dict[str, Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._terminated: set[str] = set()
        self._closing = False
        self._give_up: Callable[[], None] = lambda: None
        self._error: ScenarioError | None = None

    def begin(self, give_up: Callable[[], None]) -> None:
        """Start the active workers and print when all have asked for a job; call `give_up` if the first one fails."""
        self._give_up = give_up
        self._live.on_settled += [self._apply_commands, self._print_once_ready]
        self._live.process_due()

    def terminate_all(self) -> None:
        """Terminate every worker; those that do not end in time are killed."""
        if not self._closing:
            self._closing = True
            for process in self._processes.values():
                self._end(process)

    async def close(self) -> None:
        """Return when all workers are gone. Raises ScenarioError if the handler could not be started at all."""
        self.terminate_all()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._error is not None:
            raise self._error

    def _apply_commands(self) -> None:
        for order in self._pool.drain_commands():
            if self._closing:
                continue
            match order.do, self._processes.get(order.worker.id):
                case ProcessAction.LAUNCH, _:
                    self._terminated.discard(order.worker.id)
                    self._spawn(self._run_process(order.worker))
                case ProcessAction.SUSPEND, Process() as process:
                    _suspend(process)
                case ProcessAction.RESUME, Process() as process:
                    _signal(process, signal.SIGCONT)
                case ProcessAction.END, _:
                    self._terminate(order.worker.id, order.why or ExitReason.IDLE)

    def _print_once_ready(self) -> None:
        if not self._complete and self._live.endpoint.health(self._live.clock.now()).workers.running >= self._active:
            self._complete = True
            typer.echo(f"ready: {self._active} active workers")

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_process(self, worker: Worker) -> None:
        """Run one worker's process from its start to its end."""
        try:
            process = await self._launch(worker.id)
        except OSError as error:
            self._report_loss(worker.id, f"could not be started: {error.strerror}")
        else:
            self._processes[worker.id] = process
            if self._closing or worker.id in self._terminated:  # while it was starting
                _kill(process)
            status = await process.wait()
            _kill(process)  # its children: the process that pings, the watchdog, those of the handler
            del self._processes[worker.id]
            if self._closing or worker.id in self._terminated:
                return
            status_text = f"exit code {status}" if status >= 0 else signal.Signals(-status).name
            self._report_loss(worker.id, f"{ExitReason.EXITED} ({status_text})")
        self._pool.exited(self._live.endpoint.advanced_to(self._live.clock.now()), worker.id)
        self._live.process_due()

    async def _launch(self, worker_id: str) -> Process:
        with worker_log(self._handler.logs, worker_id).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                PROGRAM,
                self._handler.file,
                stdin=PIPE,
                stdout=log,
                stderr=log,
                cwd=self._handler.file.parent,
                env=_environment(self._url, worker_id, self._handler.concurrency),
                start_new_session=True,
            )

    def _terminate(self, worker_id: str, why: ExitReason) -> None:
        self._terminated.add(worker_id)
        process = self._processes.get(worker_id)
        if process is not None and why.lost:
            self._report_loss(worker_id, f"{why} and is killed")
            _kill(process)
        elif process is not None:
            self._end(process)

    def _report_loss(self, worker_id: str, what: str) -> None:
        """Print the end of a lost worker's log; if no worker was ever ready, give up."""
        log = worker_log(self._handler.logs, worker_id)
        last = last_lines(log.read_text(encoding="utf-8", errors="replace") if log.is_file() else "", LOG_LINES)
        if self._pool.ever_ready:
            typer.echo(f"loadtest: worker {worker_id} {what}; its log ends: {last} (whole log: {log})", err=True)
        elif self._error is None:
            file = self._handler.file
            self._error = ScenarioError(f"{file}: its first worker {what} before it asked for a job: {last}")
            self._give_up()

    def _end(self, process: Process) -> None:
        """Send SIGTERM at once: an SDK whose open take is answered first would ask for another job."""
        _signal(process, signal.SIGCONT)
        with suppress(ProcessLookupError):
            process.terminate()
        self._spawn(_kill_if_late(process))


def _environment(url: str, worker_id: str, concurrency: int) -> dict[str, str]:
    """Return the variables that the SDK reads (`runpod` 1.12), with its checks of the service's machines off."""
    inherited = {name: value for name, value in os.environ.items() if name != LOCAL_KEY_ENV}
    return {
        "RUNPOD_LOG_LEVEL": "INFO",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
        "PYTHONUNBUFFERED": "1",
        **inherited,
        "RUNPOD_WEBHOOK_GET_JOB": f"{url}/job-take/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{url}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{url}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_PING": f"{url}/ping/$RUNPOD_POD_ID?gpu=none",
        "RUNPOD_PING_INTERVAL": str(PING_INTERVAL_MS),
        "RUNPOD_AI_API_KEY": "worker",
        "RUNPOD_ENDPOINT_ID": url.rpartition("/")[2],
        "RUNPOD_POD_ID": worker_id,
        CONCURRENCY_VARIABLE: str(concurrency),
    }


async def _kill_if_late(process: Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), TERMINATE_TIMEOUT_S)
    except TimeoutError:
        _kill(process)


def _suspend(process: Process) -> None:
    """Stop every process of the worker but its watchdog, so that it still ends with the server."""
    with suppress(psutil.Error):
        worker = psutil.Process(process.pid)
        for member in (worker, *worker.children(recursive=True)):
            with suppress(psutil.Error):
                if member.cmdline()[:1] != [WATCHDOG]:
                    member.suspend()


def _kill(process: Process) -> None:
    _signal(process, signal.SIGKILL)


def _signal(process: Process, number: signal.Signals) -> None:
    """Send a signal to the worker's whole process group; its number is not reused while a member is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
