"""The server's own record of what happened, to check a client's results against: one JSON object per line."""

from __future__ import annotations

import errno
from io import FileIO
from pathlib import Path

import msgspec

from loadtest.endpoint.job import Job, milliseconds
from loadtest.errors import RecordingError, UsageError
from loadtest.protocol.operations import Op


class RequestLine(msgspec.Struct, frozen=True):
    """A request; `op` is None if its path names no operation, `status` if the client left before the answer."""

    op: str | None
    at: float
    status: int | None


class JobLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that has ended, or as the server left it when it stopped; times that do not apply are None.

    A job that a client retried has one line for each end. `given_back` counts the workers that were lost with it,
    `expired` marks a job whose time to live was over before it ended, and `chunks_at` lists when its chunks were
    posted.
    """

    id: str
    submitted_at: float
    taken_at: float | None
    finished_at: float | None
    status: str
    worker: str | None
    given_back: int
    expired: bool
    chunks_at: list[float] = []


class WebhookLine(msgspec.Struct, frozen=True):
    """One try to notify a job's webhook; `status` is None if no answer arrived."""

    webhook: str
    at: float
    status: int | None


class Journal:
    """A file that lines are appended to; without a path, nothing is kept. Raises UsageError if it cannot be opened.

    Times are seconds since the epoch: arrivals to the microsecond, a job's times to the millisecond, so
    that their differences are exactly the times on the wire.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._lines: list[bytes] = []
        if path is not None:
            try:
                self._file = path.open("ab", buffering=0)
            except OSError as error:
                raise UsageError(
                    f"the journal {path} cannot be opened: {error.strerror}; name another file"
                ) from None

    def request(self, op: Op | None, at: float, status: int | None) -> None:
        """Add a request that arrived at `at` and was answered with `status`."""
        self._add(RequestLine(op, round(at, 6), status))

    def job(self, job: Job) -> None:
        """Add a job in its present state."""
        line = JobLine(
            job.id,
            milliseconds(job.submitted_at) / 1000,
            _to_milliseconds(job.taken_at),
            _to_milliseconds(job.finished_at),
            job.state,
            job.worker_id,
            job.requeues,
            job.expired,
            [round(at, 6) for at in job.chunk_times()],
        )
        self._add(line)

    def webhook(self, job_id: str, at: float, status: int | None) -> None:
        """Add a call of a job's webhook at `at` answered with `status`."""
        self._add(WebhookLine(job_id, round(at, 6), status))

    def _add(self, line: RequestLine | JobLine | WebhookLine) -> None:
        if self._file is not None:
            self._lines.append(msgspec.json.encode(line))

    def flush(self) -> None:
        """Write the lines added since the last call. Raises RecordingError if the disk refuses them."""
        if self._file is None or not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            rest = memoryview(b"\n".join(lines) + b"\n")
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name another file"
            raise RecordingError(f"the journal {self._path} cannot be written: {error.strerror}; {remedy}") from None

    def close(self) -> None:
        """Write the remaining lines and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()


def _to_milliseconds(at: float | None) -> float | None:
    return None if at is None else milliseconds(at) / 1000
