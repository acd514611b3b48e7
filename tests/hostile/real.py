"""Hostile runs in real time: `loadtest run` and its processes against the hostile endpoint on loopback."""

from __future__ import annotations

import math
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
import psutil
from gevent.pool import Pool
from gevent.server import StreamServer
from msgspec import json

from loadtest.clock import WallClock
from loadtest.commands.read_run import read_run
from loadtest.commands.results import summarize_and_judge
from loadtest.record.directory import RunDirectory
from tests.hostile.endpoint import SUBMISSIONS, HostileEndpoint
from tests.hostile.evidence import Evidence
from tests.hostile.invariants import VERDICT_CODES
from tests.hostile.plan import Incident, Plan

LOADTEST = [sys.executable, "-m", "loadtest"]
LOOPBACK = "127.0.0.1"
WITHIN_S = 90.0
POLL_S = 0.02
TOLERANCE_S = 0.5
"""The endpoint's times may be late by this: it shares the machine with the processes of the run."""
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
    "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"
)
STEPPING_CLOCK = """
import os, time
read = time.time
state = [0.0, 0.0]
def stepped():
    now = time.monotonic()
    if now > state[0]:
        state[0] = now + 0.05
        state[1] = {by} if os.path.exists({file!r}) else 0.0
    return read() + state[1]
time.time = stepped
"""
"""The `sitecustomize` of a run whose wall clock steps once a file is there."""


class ThreadClock(WallClock):
    """The wall clock of a thread that runs on gevent; the timers of the load generator belong to one thread alone."""

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def sleep_until(self, at: float) -> None:
        gevent.sleep(max(0.0, at - self.now()))

    def wait(self, event: Any, until: float) -> bool:
        event.wait(None if until == math.inf else max(0.0, until - self.now()))
        return bool(event.ready())


class Listener:
    """The hostile endpoint on a free port of loopback, in a thread of its own."""

    def __init__(self, plan: Plan, certificate: Path | None) -> None:
        self.clock = ThreadClock()
        self.endpoint = HostileEndpoint(plan.behaviour, self.clock, f"{plan.seed}/endpoint/{plan.number}", plan.key)
        self.url = ""
        self._behaviour = plan.behaviour
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._listening, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        connections = Pool()
        server = StreamServer((LOOPBACK, 0), self._serve, backlog=128, spawn=connections)
        server.start()
        scheme = "http" if self._context is None else "https"
        self.url = f"{scheme}://{LOOPBACK}:{server.server_port}/v2/x"
        self._listening.set()
        while not self._over.is_set():
            gevent.sleep(POLL_S)
        server.stop(timeout=0)
        connections.kill()
        gevent.get_hub().destroy(destroy_loop=True)

    def _serve(self, connection: socket.socket, _: object) -> None:
        if self._context is not None:
            rng = self.endpoint.random
            # The first connection asks for the health, on which the run depends.
            first = not self.endpoint.ledger.requests["health"]
            if not first and rng.random() < self._behaviour.slow_connects:
                self.endpoint.ledger.met["slow_connect"] += 1
                gevent.sleep(rng.uniform(0, self._behaviour.slow_connect_s))
            try:
                connection = self._context.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        self.endpoint.serve(connection)


@dataclass
class RealRun:
    """The processes of one run; `folder` holds all that they write."""

    plan: Plan
    folder: Path
    listener: Listener
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    signalled_at: float = math.inf
    happened: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.out = self.folder / "run"
        self.step = self.folder / "step"
        self.began_at = self.listener.clock.now()
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            self._master = f"{LOOPBACK}:{probe.getsockname()[1]}"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of loadtest, whose output goes to the folder."""
        environment = os.environ | {"LOADTEST_API_KEY": self.plan.key, "SSL_CERT_FILE": str(self.folder / "cert.pem")}
        stepping = self.plan.incident("step")
        if stepping is not None:
            text = STEPPING_CLOCK.format(by=stepping.by, file=str(self.step))
            (self.folder / "sitecustomize.py").write_text(text)
            environment["PYTHONPATH"] = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        with (self.folder / "output").open("ab") as output:
            started = subprocess.Popen(
                [*LOADTEST, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
        self.processes.append(started)
        return started

    def start_all(self) -> None:
        """Start the run, and the generators that it expects from elsewhere."""
        scenario = self.folder / "scenario.yaml"
        scenario.write_bytes(json.encode(self.plan.scenario))
        options = ["--target", self.listener.url, "--out", str(self.out)]
        if self.plan.incident("join") is not None:
            options += ["--expect-workers", "1", "--bind", self._master]
        else:
            options += ["--processes", str(self.plan.generators)]
        self.start("run", str(scenario), *options)
        if self.plan.incident("join") is not None:
            self._start_worker("first")

    def _start_worker(self, name: str) -> None:
        self.start("worker", "--master", self._master, "--keep", str(self.folder / name))

    def wait(self) -> int | None:
        """Let the incidents happen until the run has ended; return its exit code, None if it does not end."""
        by = time.monotonic() + WITHIN_S
        run = self.processes[0]
        while run.poll() is None and time.monotonic() < by:
            for number, incident in enumerate(self.plan.incidents):
                if number not in self.happened and self._is_due(incident):
                    self.happened.add(number)
                    self.listener.endpoint.ledger.met[f"{incident.kind} {incident.by}".strip()] += 1
                    self._let_happen(incident)
            time.sleep(POLL_S)
        return run.poll()

    def _is_due(self, incident: Incident) -> bool:
        """Return whether it is time: after the start of the command if the time is negative, else of the load."""
        now = self.listener.clock.now()
        if incident.at_s < 0:
            return now > self.began_at + incident.at_s + 5.0
        requests = self.listener.endpoint.ledger.requests
        began = [requests[each][0] for each in SUBMISSIONS if requests[each]]
        return bool(began) and now > min(began) + incident.at_s

    def _let_happen(self, incident: Incident) -> None:
        match incident.kind:
            case "signal":
                self.processes[0].send_signal(signal.Signals[incident.by])
                self.signalled_at = min(self.signalled_at, self.listener.clock.now())
            case "kill":
                for sender in self._senders():
                    sender.kill()
            case "suspend":
                for sender in self._senders():
                    sender.suspend()
                    threading.Timer(incident.for_s, _resume, (sender,)).start()
            case "join":
                self._start_worker("late")
            case "step":
                self.step.touch()

    def _senders(self) -> list[psutil.Process]:
        """Return a generator that is there; the only process that sends, if there is but one."""
        with suppress(psutil.Error):
            children = psutil.Process(self.processes[0].pid).children()
            generators = [child for child in children if "--worker" in child.cmdline()]
            return (generators or children)[:1]
        return []

    def end(self) -> None:
        """End every process of this run that is still there."""
        for process in self.processes:
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            try:
                process.wait(0 if process is self.processes[0] else 20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in children:
                if child.is_running():
                    child.kill()


def _resume(suspended: psutil.Process) -> None:
    with suppress(psutil.Error):  # it may have been killed meanwhile
        suspended.resume()


@contextmanager
def _running(plan: Plan, folder: Path, listener: Listener) -> Iterator[RealRun]:
    run = RealRun(plan, folder, listener)
    try:
        yield run
    finally:
        run.end()


def run_real(plan: Plan, folder: Path) -> Evidence:
    """Run a plan with real processes, in a folder of its own, and return what is known then."""
    certificate = _certificate(folder) if plan.tls else None
    with Listener(plan, certificate) as listener, _running(plan, folder, listener) as run:
        run.start_all()
        code = run.wait()
        ended_at = listener.clock.now()
    evidence = Evidence(
        plan,
        listener.endpoint.ledger,
        run.out,
        ended_at,
        TOLERANCE_S,
        run.signalled_at,
        code,
        (folder / "output").read_text(errors="replace"),
    )
    if code is None:
        evidence.errors.append(f"the run did not end within {WITHIN_S:g} s")
    elif (run.out / "run.json").exists():
        evidence.errors.extend(_judge_again(run.out, code))
    return evidence


def _judge_again(out: Path, code: int) -> list[str]:
    """Judge the run from its directory, as `loadtest gate` does; return what is wrong with the result."""
    try:
        data = read_run(RunDirectory(out))
        verdict = summarize_and_judge(data, data.scenario.gates).verdict
    except Exception as error:
        return [f"the results cannot be built again: {type(error).__name__}: {error}"]
    agrees = code in (VERDICT_CODES[verdict], 130, 143)
    return [] if agrees else [f"exit code {code}, and the directory says {verdict}"]


def _certificate(folder: Path) -> Path:
    """Make a key and a certificate of loopback."""
    path, trusted = folder / "both.pem", folder / "cert.pem"
    command = [*CERTIFICATE.split(), "-keyout", str(path), "-out", str(trusted)]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + trusted.read_text())
    return path
