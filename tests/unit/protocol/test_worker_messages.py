"""The messages of workers, as the vendor's SDK writes and reads them."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.json import encode

from loadtest.errors import InvalidResponse
from loadtest.protocol.client_messages import Chunk, decode
from loadtest.protocol.worker_messages import JobsToStop, Offer, Result


@pytest.mark.parametrize(
    ("body", "failed", "stops"),
    [
        (b'{"output": {"a": 1}}', False, False),
        (b'{"output": []}', False, False),
        (b'{"error": "{\\"error_type\\": \\"ValueError\\"}"}', True, False),
        (b'{"output": {"detail": 1}, "error": {"code": 3}}', True, False),
        (b'{"output": 1, "error": null}', False, False),
        (b'{"output": 1, "stopPod": true}', False, True),
        (b'{"status": "IN_PROGRESS", "output": "half"}', False, False),
        (b"{}", False, False),
    ],
)
def test_a_result_has_failed_if_it_has_an_error(body: bytes, failed: bool, stops: bool) -> None:
    result = decode(Result, body, "result")
    assert (result.failed, result.stop_worker) == (failed, stops)


@pytest.mark.parametrize("body", [b"", b"[]", b"no", b'{"stopPod": "yes"}'])
def test_an_invalid_result_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidResponse, match="not a result"):
        decode(Result, body, "result")


def test_a_chunk_keeps_its_output_undecoded() -> None:
    assert bytes(decode(Chunk, b'{"output": {"text": "a"}}', "chunk").output) == b'{"text": "a"}'
    with pytest.raises(InvalidResponse, match="not a chunk"):
        decode(Chunk, b'{"error": "no more"}', "chunk")


def test_the_messages_to_a_worker_have_the_form_that_the_sdk_reads() -> None:
    assert encode([Offer("a", msgspec.Raw(b'{"n":1}'))]) == b'[{"id":"a","input":{"n":1}}]'
    assert encode(JobsToStop(["a", "b"])) == b'{"jobsToStop":["a","b"]}'
