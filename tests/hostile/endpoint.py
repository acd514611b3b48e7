"""An endpoint that writes every byte itself, misbehaves as it is asked to, and keeps its own account."""

from __future__ import annotations

import json
import math
import random
import socket
import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

import gevent

from loadtest.clock import SleepingClock
from tests.hostile.faults import FAULTS, Misbehaviour
from tests.hostile.ids import IDS
from tests.hostile.ledger import Ledger, Submission, TakenJob
from tests.hostile.notifications import notify
from tests.hostile.replies import Exchange, Learns, Reply, answer

BASE = "/v2/x"
HEALTH = {"jobs": {"inQueue": 0, "inProgress": 0}, "workers": {"idle": 1, "running": 0}}
NEVER_S = 3600.0
HOLD_S = 0.2
FASTEST_S = 0.0005
SUBMISSIONS = ("run", "runsync")
POLLS = ("status", "status-sync", "stream")


@dataclass(frozen=True)
class Spell:
    """A span after the first submission in which requests of some operations meet one misbehaviour."""

    operations: tuple[str, ...]
    misbehaviour: str
    begins_s: float
    ends_s: float


@dataclass(frozen=True)
class Behaviour:
    """How the endpoint behaves. Shares are 0 to 1; faults and odd ids are drawn from those named."""

    faults: tuple[str, ...] = ()
    misbehaviour_share: float = 0.0
    ids: tuple[str, ...] = ()
    id_share: float = 0.0
    spells: tuple[Spell, ...] = ()
    service_s: float = 0.1
    never_ends: float = 0.0
    fails: float = 0.0
    gone: float = 0.0
    network_s: float = 0.002
    slow_connects: float = 0.0
    slow_connect_s: float = 0.0
    knows_status_sync: bool = True
    healthy: bool = True


@dataclass(frozen=True)
class Request:
    """A request as it arrived; `job_id` and `wait_s` are what its path holds."""

    operation: str
    job_id: str
    wait_s: float
    key: str
    body: bytes


class HostileEndpoint:
    """The endpoint; `serve` speaks over one connection until its end."""

    def __init__(self, behaviour: Behaviour, clock: SleepingClock, seed: str, key: str) -> None:
        self.behaviour = behaviour
        self.clock = clock
        self.ledger = Ledger()
        self.random = random.Random(seed)
        self._key = key
        self._by_id: dict[str, list[TakenJob]] = defaultdict(list)
        self._streamed: set[str] = set()
        """The jobs whose chunk was read."""

    def serve(self, connection: socket.socket) -> None:
        """Answer requests, one after the other."""
        try:
            while (request := self._read(connection)) is not None:
                reply = self._reply(request, connection)
                if reply.close == "reset" and connection.family != socket.AF_UNIX:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if reply.close != "kept":
                    self.ledger.closed.append(self.clock.now())
                    return
        except OSError:
            # The client has gone, which is its right.
            return
        finally:
            connection.close()

    def _read(self, connection: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        left = int(headers.get("content-length", 0)) - len(body)
        while left > 0:
            more = connection.recv(65536)
            if not more:
                return None
            body, left = body + more, left - len(more)
        return self._parse(lines[0], headers, body)

    def _parse(self, line: str, headers: dict[str, str], body: bytes) -> Request:
        method, path, version = (*line.split(" "), "", "")[:3]
        path, _, query = path.removeprefix(BASE).partition("?")
        operation, *rest = path.removeprefix("/").split("/")
        wait_s = float(parse_qs(query).get("wait", ["90000"])[0]) / 1000
        job_id = unquote(rest[0], errors="surrogatepass") if rest else ""
        known = operation in (*SUBMISSIONS, *POLLS, "cancel", "health") and len(rest) <= 1 and version == "HTTP/1.1"
        if not known or "x-injected" in headers or method not in ("GET", "POST"):
            self.ledger.strange.append(f"{line[:100]!r} with {sorted(headers)}")
        if headers.get("authorization") != f"Bearer {self._key}":
            self.ledger.strange.append(f"{operation} without the key")
        if job_id and job_id not in self._by_id:
            self.ledger.strange.append(f"{operation} of {job_id[:60]!r}, an id that was never given")
        return Request(operation, job_id, wait_s, headers.get("authorization", "").removeprefix("Bearer "), body)

    def _reply(self, request: Request, connection: socket.socket) -> Reply:
        """Answer a request, after the time of the network in both directions, and count it."""
        self._travel()
        ledger, now = self.ledger, self.clock.now()
        ledger.begin(request.operation, now)
        try:
            submission = None
            if request.operation in SUBMISSIONS:
                reply, submission = self._submit(request, now)
            else:
                reply = self._ask(request, now)
            self._travel()
            for part in reply.parts:
                if isinstance(part, float):
                    self.clock.sleep(part)
                else:
                    connection.sendall(part)
            if submission is not None:
                submission.delivered = True
        finally:
            ledger.end(request.operation)
        return reply

    def _travel(self) -> None:
        # Some time passes with each exchange: in virtual time, a client that repeats at once would go on for ever.
        self.clock.sleep(self.random.uniform(FASTEST_S, self.behaviour.network_s))

    def _misbehaviour(self, operation: str, now: float) -> Misbehaviour | None:
        """Return the misbehaviour that this request meets, if any."""
        behaviour, submitted = self.behaviour, self.ledger.requests
        first_at = min((submitted[each][0] for each in SUBMISSIONS if submitted[each]), default=math.inf)
        for spell in behaviour.spells:
            if operation in spell.operations and spell.begins_s <= now - first_at < spell.ends_s:
                return FAULTS[spell.misbehaviour]
        if behaviour.faults and self.random.random() < behaviour.misbehaviour_share:
            return FAULTS[self.random.choice(behaviour.faults)]
        return None

    def _met(self, name: str) -> None:
        self.ledger.met[name] += 1

    def _submit(self, request: Request, now: float) -> tuple[Reply, Submission]:
        misbehaviour = self._misbehaviour(request.operation, now)
        learns, id_name = Learns.ID if misbehaviour is None else misbehaviour.learns, ""
        if learns.accepts and self.behaviour.ids and self.random.random() < self.behaviour.id_share:
            id_name = self.random.choice(self.behaviour.ids)
            learns = learns if learns is Learns.NOTHING else max(learns, IDS[id_name][0], key=lambda each: each.value)
            self._met(id_name)
        asked = json.loads(request.body)
        tag = json.dumps(asked["input"])
        submission = Submission(now, learns)
        self.ledger.submissions[tag].append(submission)
        document: dict[str, Any] = {"id": None, "status": "IN_QUEUE"}
        if learns.accepts:
            job = self._take(tag, now, id_name)
            if "webhook" in asked:
                gevent.spawn(notify, job, asked["webhook"], self.clock, self.random, self._met)
            document["id"] = job.job_id
            if request.operation == "runsync":
                self.clock.sleep_until(min(job.ends_at, now + request.wait_s))
                document = job.document(self.clock.now())
                if learns is Learns.ID:
                    self.ledger.show(job, self.clock.now())
        reply = self._answer(misbehaviour, document, request, answer(json.dumps(document).encode()))
        submission.status = reply.status
        return reply, submission

    def _take(self, tag: str, now: float, id_name: str) -> TakenJob:
        number = len(self.ledger.jobs)
        job_id = IDS[id_name][1](number) if id_name else f"{number:06d}-{self.random.randrange(16**6):06x}-u1"
        never = self.random.random() < self.behaviour.never_ends
        service_s = NEVER_S if never else self.behaviour.service_s * self.random.uniform(0.5, 1.5)
        job = TakenJob(tag, job_id, now, now + service_s, self.random.random() < self.behaviour.fails)
        self.ledger.jobs.append(job)
        if job_id is not None:
            self._by_id[str(job_id)].append(job)
        return job

    def _ask(self, request: Request, now: float) -> Reply:
        if request.operation == "health":
            return self._health(request, now)
        if request.job_id not in self._by_id:
            return answer(b'{"title": "no such job"}', 404)
        if request.operation == "cancel":
            return self._cancel(request, now)
        job = self._by_id[request.job_id][-1]
        if request.operation == "status-sync" and not self.behaviour.knows_status_sync:
            return answer(b"404 page not found", 404)
        if self.random.random() < self.behaviour.gone:
            job.gone_at = min(job.gone_at, now)
            self._met("job_gone")
        if now >= job.gone_at:
            return answer(b'{"title": "no such job"}', 404)
        hold_s = {"status-sync": request.wait_s, "stream": HOLD_S}.get(request.operation, 0.0)
        self.clock.sleep_until(min(job.ends_at, now + hold_s))
        now = self.clock.now()
        document = job.document(now)
        if request.operation == "stream":
            document = self._chunks(job, document)
        misbehaviour = self._misbehaviour(request.operation, now)
        if misbehaviour is None or misbehaviour.learns is Learns.ID:
            self.ledger.show(job, now)
        return self._answer(misbehaviour, document, request, answer(json.dumps(document).encode()))

    def _chunks(self, job: TakenJob, document: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of /stream: the whole output as one chunk, once."""
        fresh = "output" in document and job.tag not in self._streamed
        if fresh:
            self._streamed.add(job.tag)
        chunks = [{"output": document["output"]}] if fresh else []
        return {"id": job.job_id, "status": document["status"], "stream": chunks}

    def _cancel(self, request: Request, now: float) -> Reply:
        misbehaviour = self._misbehaviour(request.operation, now)
        if misbehaviour is None or misbehaviour.learns.accepts:
            for job in self._by_id[request.job_id]:
                job.cancelled_at = min(job.cancelled_at, now)
        document = {"id": request.job_id, "status": "CANCELLED"}
        return self._answer(misbehaviour, document, request, answer(json.dumps(document).encode()))

    def _health(self, request: Request, now: float) -> Reply:
        if not self.behaviour.healthy:
            return answer(b"<html>Forbidden</html>", 403)
        first = len(self.ledger.requests["health"]) == 1
        misbehaviour = None if first else self._misbehaviour(request.operation, now)
        return self._answer(misbehaviour, HEALTH, request, answer(json.dumps(HEALTH).encode()))

    def _answer(
        self, misbehaviour: Misbehaviour | None, document: dict[str, Any], request: Request, usual: Reply
    ) -> Reply:
        if misbehaviour is None:
            return usual
        self._met(misbehaviour.name)
        return misbehaviour.answer(Exchange(document, request.key, self.clock.now()))
