"""A process that sends: it hears the lead, and carries out its part of a run."""

from __future__ import annotations

import os
import socket
from typing import Any

import gevent
from locust.env import Environment

from loadtest.clock import WallClock
from loadtest.drive import messages
from loadtest.drive.messages import send, subscribe
from loadtest.drive.part import GeneratorRun
from loadtest.drive.users import JobUser, user_class
from loadtest.errors import LoadtestError


class Generator:
    """Does what the lead says. `part` is what it carries out while a run is on."""

    def __init__(self, environment: Environment) -> None:
        assert environment.runner is not None
        self._environment = environment
        self._runner = environment.runner
        self._run: GeneratorRun | None = None
        subscribe(self._runner, messages.TO_GENERATOR, self._hear)

    def _hear(self, _: str, message: Any) -> None:
        match message:
            case messages.Ping():
                now = WallClock().now()
                send(self._runner, messages.Pong(message.sent_at, now, os.getpid(), socket.gethostname()))
            case messages.StartRun():
                self._begin(message)
            case messages.StopRun():
                gevent.spawn(self._runner.stop)
            case _ if self._run is not None:
                self._run.on_message(message)

    def _begin(self, begin: messages.StartRun) -> None:
        try:
            self._run = GeneratorRun(begin, self._environment)
        except LoadtestError as error:
            send(self._runner, messages.RunFailed(str(error)))
            send(self._runner, messages.RunFinished(sent=0, ends_at=begin.starts_at, cancelled=0, left_over=0))
            return
        self._environment.user_classes = [user_class(self._run.scenario)]
        JobUser.jobs = self._run.jobs
        JobUser.run_started.set()

    def release_users(self) -> None:
        """The run is over: no job may begin, and users may be stopped in the middle of one."""
        JobUser.run_started.clear()
        if self._run is not None:
            self._run.jobs.finished.set()

    def finish(self) -> None:
        """Once all users have stopped: cancel what is unfinished, hand over the last samples, and say so."""
        if self._run is not None:
            self._run.finish()
            self._run = None
