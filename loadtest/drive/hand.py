"""A process that sends: it hears the lead, and carries out its part of a run."""

from __future__ import annotations

import os
import socket
from typing import Any

import gevent
from locust.env import Environment

from loadtest.clock import WallClock
from loadtest.drive import messages
from loadtest.drive.messages import listen, tell
from loadtest.drive.part import Part
from loadtest.drive.users import JobUser, user_class
from loadtest.errors import LoadtestError


class Hand:
    """Does what the lead says. `part` is what it carries out while a run is on."""

    def __init__(self, environment: Environment) -> None:
        assert environment.runner is not None
        self._environment = environment
        self._runner = environment.runner
        self._part: Part | None = None
        listen(self._runner, messages.TO_HAND, self._hear)

    def _hear(self, _: str, message: Any) -> None:
        match message:
            case messages.Ping():
                now = WallClock().now()
                tell(self._runner, messages.Pong(message.sent_at, now, os.getpid(), socket.gethostname()))
            case messages.Begin():
                self._begin(message)
            case messages.End():
                gevent.spawn(self._runner.stop)
            case _ if self._part is not None:
                self._part.hear(message)

    def _begin(self, begin: messages.Begin) -> None:
        try:
            self._part = Part(begin, self._environment)
        except LoadtestError as fault:
            tell(self._runner, messages.Refused(str(fault)))
            tell(self._runner, messages.Done(sent=0, ends_at=begin.starts_at, cancelled=0, left_over=0))
            return
        self._environment.user_classes = [user_class(self._part.scenario)]
        JobUser.jobs = self._part.jobs
        JobUser.begun.set()

    def let_go(self) -> None:
        """The run is over: no job may begin, and users may be stopped in the middle of one."""
        JobUser.begun.clear()
        if self._part is not None:
            self._part.jobs.over.set()

    def finish(self) -> None:
        """Once all users have stopped: cancel what is unfinished, hand over the last samples, and say so."""
        if self._part is not None:
            self._part.finish()
            self._part = None
