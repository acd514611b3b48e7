"""The messages between a worker of the vendor's SDK and the endpoint.

Names and forms are those of `runpod` 1.12; facts are in docs/reference/wire-protocol.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from loadtest.protocol.client_messages import ABSENT


class WorkerOp(StrEnum):
    """A worker's requests, by the word in their path after the endpoint's id."""

    TAKE = "job-take"
    TAKE_BATCH = "job-take-batch"
    DONE = "job-done"
    STREAM = "job-stream"
    STOP = "job-stop"
    PING = "ping"


class Offer(msgspec.Struct, frozen=True):
    """A job as it is sent to a worker."""

    id: str
    input: msgspec.Raw


class JobsToStop(msgspec.Struct, frozen=True, rename="camel"):
    """The response of the stop channel: jobs that a worker is to stop."""

    jobs_to_stop: Sequence[str]


class Result(msgspec.Struct, frozen=True):
    """A worker's message about a job: its end, or its progress if `status` is IN_PROGRESS."""

    output: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT
    status: str | None = None
    stop_worker: bool = msgspec.field(default=False, name="stopPod")

    @property
    def failed(self) -> bool:
        """Return whether the handler failed: the result has an error, of any kind."""
        return bool(self.error) and bytes(self.error) not in (b"null", b"false", b'""')
