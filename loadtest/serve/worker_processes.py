"""The processes of real workers: started and ended as the endpoint orders, all gone when the server is."""

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
from loadtest.scenario.credentials import LOCAL_KEY_ENV
from loadtest.serve.live import LiveEndpoint
from loadtest.serve.sdk_worker_main import CONCURRENCY_VARIABLE, WATCHDOG
from loadtest.serve.worker_api import WorkerApi
from loadtest.units import last_lines

PROGRAM = Path(__file__).with_name("sdk_worker_main.py")
PINGS_EACH_MS = 1000
TERMINATE_TIMEOUT_S = 3.0
"""How long a worker that is told to end may take before it is killed; the SDK needs one second."""
LOG_LINES = 8


@dataclass(frozen=True)
class Handler:
    """What workers run: the handler's file, how many jobs at once each takes, and where their logs are kept."""

    file: Path
    concurrency: int
    logs: Path


class WorkerProcesses:
    """The workers' processes, each with what it starts in a session of its own.

    `fault` is why there is no use in going on: the handler's first worker ended before it asked for a job.
    """

    def __init__(self, handler: Handler, url: str, live: LiveEndpoint, pool: SdkWorkerPool) -> None:
        self._handler = handler
        self._url = url
        self._live = live
        self._pool = pool
        self._processes: dict[str, Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._dismissed: set[str] = set()
        self._closing = False
        self.give_up: Callable[[], None] = lambda: None
        self.error: ScenarioError | None = None

    def apply_commands(self) -> None:
        """Carries out what the endpoint has ordered."""
        for order in self._pool.drain_commands():
            if self._closing:
                continue
            match order.do, self._processes.get(order.worker.id):
                case ProcessAction.LAUNCH, _:
                    self._dismissed.discard(order.worker.id)
                    self._spawn(self._run_process(order.worker))
                case ProcessAction.SUSPEND, Process() as process:
                    _suspend(process)
                case ProcessAction.RESUME, Process() as process:
                    _signal(process, signal.SIGCONT)
                case ProcessAction.END, _:
                    self._terminate(order.worker.id, order.why or ExitReason.IDLE)

    def terminate_all(self) -> None:
        """Tells every worker to end, and kills those that do not."""
        if not self._closing:
            self._closing = True
            for process in self._processes.values():
                self._end(process)

    async def close(self) -> None:
        """Returns when all workers are gone."""
        self.terminate_all()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_process(self, worker: Worker) -> None:
        """One worker's process, from its start to its end."""
        try:
            process = await self._launched(worker.id)
        except OSError as error:
            self._report_loss(worker.id, f"could not be started: {error.strerror}")
        else:
            self._processes[worker.id] = process
            if self._closing or worker.id in self._dismissed:  # meanwhile
                _kill(process)
            status = await process.wait()
            _kill(process)  # what it leaves: the process that pings, the guard, whatever the handler has started
            del self._processes[worker.id]
            if self._closing or worker.id in self._dismissed:
                return
            self._report_loss(worker.id, f"{ExitReason.EXITED} ({_in_words(status)})")
        self._pool.exited(self._live.endpoint.advanced_to(self._live.clock.now()), worker.id)
        self._live.process_due()

    async def _launched(self, worker_id: str) -> Process:
        with self._log(worker_id).open("ab") as log:
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
        self._dismissed.add(worker_id)
        process = self._processes.get(worker_id)
        if process is not None and why.lost:
            self._report_loss(worker_id, f"{why} and is killed")
            _kill(process)
        elif process is not None:
            self._end(process)

    def _report_loss(self, worker_id: str, what: str) -> None:
        """Shows the end of a lost worker's log; where none was ever ready, there is no use in going on."""
        log = self._log(worker_id)
        last = last_lines(log.read_text(encoding="utf-8", errors="replace") if log.is_file() else "", LOG_LINES)
        if self._pool.ever_ready:
            _say(f"worker {worker_id} {what}; its log ends: {last} (all of it: {log})")
        elif self.error is None:
            file = self._handler.file
            self.error = ScenarioError(f"{file}: its first worker {what} before it asked for a job: {last}")
            self.give_up()

    def _log(self, worker_id: str) -> Path:
        return self._handler.logs / f"{worker_id}.log"

    def _end(self, process: Process) -> None:
        """Told at once, since the SDK whose open take is answered before that would ask for another job."""
        _signal(process, signal.SIGCONT)
        with suppress(ProcessLookupError):
            process.terminate()
        self._spawn(_killed_when_late(process))


def _environment(url: str, worker_id: str, concurrency: int) -> dict[str, str]:
    """What the SDK reads (`runpod` 1.12); its checks of the machine, meant for the service's own, are left out."""
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
        "RUNPOD_PING_INTERVAL": str(PINGS_EACH_MS),
        "RUNPOD_AI_API_KEY": "worker",
        "RUNPOD_ENDPOINT_ID": url.rpartition("/")[2],
        "RUNPOD_POD_ID": worker_id,
        CONCURRENCY_VARIABLE: str(concurrency),
    }


async def _killed_when_late(process: Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), TERMINATE_TIMEOUT_S)
    except TimeoutError:
        _kill(process)


def _suspend(process: Process) -> None:
    """Nothing of the worker runs any more but its guard, so that it still ends with the server."""
    with suppress(psutil.Error):
        worker = psutil.Process(process.pid)
        for each in (worker, *worker.children(recursive=True)):
            with suppress(psutil.Error):
                if each.cmdline()[:1] != [WATCHDOG]:
                    each.suspend()


def _kill(process: Process) -> None:
    _signal(process, signal.SIGKILL)


def _signal(process: Process, number: signal.Signals) -> None:
    """To all of the worker's process group; a member that is left keeps its number from being another's."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _in_words(status: int) -> str:
    return f"exit code {status}" if status >= 0 else signal.Signals(-status).name


def _say(text: str) -> None:
    sys.stderr.write(f"loadtest: {text}\n")


class WorkerService:
    """`begin` once the server listens, `stop` before it stops listening, `close` when it has."""

    def __init__(self, processes: WorkerProcesses, side: WorkerApi, live: LiveEndpoint, awaited: int) -> None:
        self._processes = processes
        self._side = side
        self._live = live
        self._awaited = awaited
        self._complete = False

    def begin(self, give_up: Callable[[], None]) -> None:
        """Start the active workers, and say so when all have asked for a job; `give_up` where that is in vain."""
        self._processes.give_up = give_up
        self._live.on_settled = self._settled
        self._live.process_due()

    def stop(self) -> None:
        """Tell every worker to end, before what it has open is answered."""
        self._processes.terminate_all()
        self._side.stop()

    async def close(self) -> None:
        """Return when every worker is gone; ScenarioError where the handler could not be started at all."""
        await self._processes.close()
        if self._processes.error is not None:
            raise self._processes.error

    def _settled(self) -> None:
        self._processes.apply_commands()
        self._side.notify_waiters()
        if not self._complete and self._live.endpoint.health(self._live.clock.now()).workers.ready >= self._awaited:
            self._complete = True
            typer.echo(f"ready: {self._awaited} active workers")
