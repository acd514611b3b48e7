"""The server's own account of what happened, which a harness can be checked against: one JSON line each."""

from __future__ import annotations

from io import FileIO
from pathlib import Path

import msgspec

from loadtest.endpoint.job import Job, milliseconds
from loadtest.errors import RecordingError, UsageError
from loadtest.protocol.operations import Op


class RequestLine(msgspec.Struct, frozen=True):
    """A request: `op` is None where its path names no operation, `status` where the client left before its answer."""

    op: str | None
    at: float
    status: int | None


class JobLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that has ended, or as the stopping server left it; what did not happen is None.

    A job that a client had done once more has a line for each end. `given_back` counts the workers that died of it,
    `expired` says that its time to live was over before it had ended, `chunks_at` when the chunks of a job that
    streams were there.
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
    """One try to tell a job to its webhook; `status` is None where no answer came."""

    webhook: str
    at: float
    status: int | None


class Journal:
    """Appends lines to a file; without a path it keeps nothing. UsageError where the file cannot be opened.

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
        """Notes a request that arrived at `at` and was answered with `status`."""
        if self._file is not None:
            self._lines.append(msgspec.json.encode(RequestLine(op, round(at, 6), status)))

    def job(self, job: Job) -> None:
        """Notes a job as it now is."""
        if self._file is not None:
            submitted_at = milliseconds(job.submitted_at) / 1000
            line = JobLine(
                job.id,
                submitted_at,
                _kept(job.taken_at),
                _kept(job.finished_at),
                job.state,
                job.worker_id,
                job.requeues,
                job.expired,
                [round(at, 6) for at in job.chunk_times()],
            )
            self._lines.append(msgspec.json.encode(line))

    def webhook(self, job_id: str, at: float, status: int | None) -> None:
        """Notes that a job's webhook was called at `at` and answered with `status`."""
        if self._file is not None:
            self._lines.append(msgspec.json.encode(WebhookLine(job_id, round(at, 6), status)))

    def flush(self) -> None:
        """Writes what was noted since the last time; RecordingError where the file takes no more."""
        if self._file is None or not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            rest = memoryview(b"\n".join(lines) + b"\n")
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise RecordingError(f"the journal {self._path} cannot be written: {error.strerror}; make room") from None

    def close(self) -> None:
        """Writes the rest and closes the file."""
        self.flush()
        if self._file is not None:
            self._file.close()


def _kept(at: float | None) -> float | None:
    return None if at is None else milliseconds(at) / 1000
