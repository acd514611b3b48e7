"""The worker's side of the wire: what a worker of the vendor's SDK is given, and what it posts.

Names and forms are those of `runpod` 1.12; facts are in PROTOCOL.md of the project's shared documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from loadtest.errors import InvalidResponse
from loadtest.protocol.client_messages import ABSENT, Chunk


class WorkerOp(StrEnum):
    """What a worker asks for, by the word of its path after the endpoint's id."""

    TAKE = "job-take"
    TAKE_BATCH = "job-take-batch"
    DONE = "job-done"
    STREAM = "job-stream"
    STOP = "job-stop"
    PING = "ping"


class Offer(msgspec.Struct, frozen=True):
    """A job as a worker is given it."""

    id: str
    input: msgspec.Raw


class JobsToStop(msgspec.Struct, frozen=True, rename="camel"):
    """The answer of the stop channel: jobs that a worker is to drop."""

    jobs_to_stop: Sequence[str]


class Result(msgspec.Struct, frozen=True):
    """What a worker posts of a job: its end, or with `status` IN_PROGRESS how it goes."""

    output: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT
    status: str | None = None
    stop_worker: bool = msgspec.field(default=False, name="stopPod")

    @property
    def failed(self) -> bool:
        """Whether the handler failed: a result with an error, whatever the error is."""
        return bool(self.error) and bytes(self.error) not in (b"null", b"false", b'""')


_result_decoder = msgspec.json.Decoder(Result)
_chunk_decoder = msgspec.json.Decoder(Chunk)


def decode_result(body: bytes) -> Result:
    """What a worker posted of a job; BadAnswer where it is no such thing."""
    try:
        return _result_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise InvalidResponse(f"not a result: {error}") from None


def decode_chunk(body: bytes) -> Chunk:
    """A chunk that a worker posted; BadAnswer where it is none."""
    try:
        return _chunk_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise InvalidResponse(f"not a chunk: {error}") from None
