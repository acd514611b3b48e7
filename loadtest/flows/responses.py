"""What the responses to a job's requests mean for its row: an end, a step on the way, or a fault to be got over."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from loadtest.errors import InvalidResponse
from loadtest.flows.expectations import AnswerCheck
from loadtest.flows.steps import Response
from loadtest.protocol.client_messages import JobResponse, decode_job
from loadtest.protocol.error_text import error_text, shortened
from loadtest.protocol.operations import GONE, TOO_MANY_REQUESTS, JobState, Op
from loadtest.protocol.tokens import TokenReader, may_have_counts
from loadtest.record.sample import ErrorKind, Outcome, Sample
from loadtest.units import seconds_text

RETRY_S = 1.0
MAX_RETRY_S = 16.0
"""The shortest wait after a temporary refusal, and the longest that no response asks for."""
UNKNOWN_JOB_GRACE_S = 5.0
"""For this long a job may be unknown to a part of the endpoint, or its polls may be misled on their way."""
LOCATION_LENGTH = 200

_OUTCOMES: dict[str, Outcome] = {
    JobState.COMPLETED: Outcome.COMPLETED,
    JobState.FAILED: Outcome.FAILED,
    JobState.CANCELLED: Outcome.CANCELLED,
    JobState.TIMED_OUT: Outcome.TIMED_OUT,
}
_EMPTY = (b"", b"null", b'""', b"[]", b"{}")
_LONGEST_EMPTY = max(map(len, _EMPTY))
_OPERATION_PATH = re.compile(f"/(?:{'|'.join(Op)})(?:/[^/]*)?$")


class PollHistory(msgspec.Struct, gc=False):
    """The polls of one job since the last response of use: since when they fail, and since when it is unknown.

    `throttled` is how many in a row got a 429. `check` judges the answer if the job completes.
    """

    sample: Sample
    give_up_after_s: float
    failing_since: float | None = None
    unknown_since: float | None = None
    throttled: int = 0
    check: AnswerCheck | None = None


def process_poll(polls: PollHistory, response: Response) -> None:
    """Process a poll's response; the end of the job, or polls that have failed for too long, end its sample."""
    if not is_success(polls, response):
        return
    try:
        job = decode_job(response.body)
    except InvalidResponse as error:
        record_failure(polls, response, invalid_text(error, response))
        return
    record_success(polls)
    if job.final:
        record_result(polls.sample, job, response, polls.check)
    elif job.state is None:
        polls.sample.error = f'unknown job status "{job.status[:100]}"'


def is_success(polls: PollHistory, response: Response) -> bool:
    """Count a poll's response, and return whether its body is to be read.

    Any other response than a 2xx or a 429 is a fault of this poll, and the job is polled again, since a poll changes
    nothing. A job has expired once the endpoint has not known it for UNKNOWN_JOB_GRACE_S.
    """
    sample, status = polls.sample, response.status
    count_response(sample, response)
    if 200 <= status < 300:
        polls.throttled = 0
        return True
    if status == TOO_MANY_REQUESTS:
        polls.throttled += 1
    elif status in GONE and _has_expired(polls, response):
        end_sample(sample, Outcome.EXPIRED, response, failure_text(response))
    else:
        record_failure(polls, response, failure_text(response))
    return False


def _has_expired(polls: PollHistory, response: Response) -> bool:
    if polls.unknown_since is None:
        polls.unknown_since = response.answered_at
    grace_s = min(UNKNOWN_JOB_GRACE_S, polls.give_up_after_s)
    return response.answered_at - polls.unknown_since >= grace_s


def record_success(polls: PollHistory) -> None:
    """Note a response of use: whatever failed before is got over."""
    polls.failing_since = polls.unknown_since = polls.sample.error = None


def record_failure(polls: PollHistory, response: Response, text: str) -> None:
    """Count a poll without a response of use; the job is given up if all have failed for `give_up_after_s`."""
    sample = polls.sample
    sample.faults += 1
    if polls.failing_since is None:
        polls.failing_since = response.answered_at
    if response.answered_at - polls.failing_since < polls.give_up_after_s:
        sample.error = text
        return
    if response.status == 0:
        outcome = Outcome.UNREACHABLE
    else:
        outcome = Outcome.REJECTED if response.status >= 400 else Outcome.BAD_ANSWER
    end_sample(sample, outcome, response, f"polls failed for {seconds_text(polls.give_up_after_s)}: {text}")


def next_poll_at(polls: PollHistory, response: Response, planned_at: float) -> float:
    """Return when the next poll may follow: as planned, or later if the response asks for that."""
    if response.status == TOO_MANY_REQUESTS:
        return max(planned_at, response.answered_at + retry_wait_s(response, polls.throttled - 1))
    return max(planned_at, response.answered_at + (response.retry_after_s or 0.0))


def retry_wait_s(response: Response, tries: int) -> float:
    """Return how long to wait after this many earlier refusals: as the response asks, else longer each time."""
    if response.retry_after_s is None:
        return min(MAX_RETRY_S, RETRY_S * 2.0 ** min(tries, 10))
    return max(RETRY_S, response.retry_after_s)


def record_result(sample: Sample, job: JobResponse, response: Response, check: AnswerCheck | None = None) -> None:
    """Fill in the result of a job that has ended."""
    sample.delay_ms, sample.execution_ms = job.delay_ms, job.execution_ms
    sample.worker_id = job.worker_id
    output = bytes(job.output)
    if sample.output_tokens is None and may_have_counts(output):
        tokens = TokenReader()
        tokens.add_result(job.output)
        sample.input_tokens, sample.output_tokens = tokens.input_tokens, tokens.output_tokens
    error, outcome = error_text(bytes(job.error)) if job.error else None, _OUTCOMES[job.status]
    if outcome is not Outcome.COMPLETED:
        end_sample(sample, outcome, response, error)
        return
    has_output = len(output) > _LONGEST_EMPTY or bool(sample.chunks) or output not in _EMPTY
    if check is None and has_output:
        end_sample(sample, outcome, response, error)
        return
    end_completed(sample, output, has_output, response, check)
    if error is not None and sample.error is None:
        sample.error = error


def end_completed(
    sample: Sample, output: bytes, has_output: bool, response: Response, check: AnswerCheck | None
) -> None:
    """End a job that has completed: it is wrong if the check says so, and an empty output is named in any case."""
    if has_output:
        reason = None if check is None else check(output, sample)
    else:
        reason = "empty output: the job completed without a result"
    end_sample(sample, Outcome.COMPLETED if reason is None or check is None else Outcome.WRONG, response, reason)
    if not has_output:
        sample.error_kind = ErrorKind.EMPTY_OUTPUT


def end_sample(sample: Sample, outcome: Outcome, response: Response, error: str | None) -> None:
    """End the job for the client, at the time of this response."""
    sample.outcome, sample.finished_at = outcome, response.answered_at
    sample.error = None if error is None else shortened(error)
    sample.error_kind = ErrorKind.INVALID_RESPONSE if outcome is Outcome.BAD_ANSWER else response.error_kind


def count_response(sample: Sample, response: Response) -> None:
    """Add a response to the counts of the job's row."""
    sample.http_status = response.status or None
    sample.response_bytes += len(response.body)
    if response.status == TOO_MANY_REQUESTS:
        sample.throttled += 1


def failure_text(response: Response) -> str:
    """Return why a response other than a 2xx is of no use."""
    if response.status == 0:
        return response.error or "no response"
    if 300 <= response.status < 400:
        return redirect_text(response)
    return error_text(response.body) or f"HTTP {response.status}"


def invalid_text(error: InvalidResponse, response: Response) -> str:
    """Return why a 2xx is of no use, and how its body begins."""
    return f"{error}: {error_text(response.body) or 'the body is empty'}"


def redirect_text(response: Response) -> str:
    """Return where a redirect leads, without its query, and what to write in the scenario."""
    try:
        to = urlsplit(response.location or "")
        where = to._replace(netloc=to.netloc.rpartition("@")[2], query="", fragment="").geturl()
    except ValueError:
        where = ""
    shown = "".join(c if c.isprintable() else "?" for c in where[:LOCATION_LENGTH]) or "no location"
    endpoint = _OPERATION_PATH.sub("", shown)
    if endpoint != shown and shown.startswith("http"):
        return f"redirected to {shown}; write {endpoint} as the target"
    return f"redirected to {shown}; write the URL of the endpoint itself as the target"
