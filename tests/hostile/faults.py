"""The faults of the hostile endpoint by name, in groups: closes, 1xx, refusals, redirects, odd answers, keys."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from html import escape
from time import asctime, gmtime
from typing import Any
from urllib.parse import quote

from tests.hostile.replies import Exchange, Headers, Learns, Reply, answer, chunked, head, whole

Answer = Callable[[Exchange], Reply]


@dataclass(frozen=True)
class Misbehaviour:
    """A way to answer a request. Of a submission, a client then `learns` so much."""

    name: str
    group: str
    learns: Learns
    answer: Answer
    submissions_only: bool = False


FAULTS: dict[str, Misbehaviour] = {}


def _add(group: str, learns: Learns, submissions_only: bool = False, **answers: Answer) -> None:
    for name, made in answers.items():
        FAULTS[name] = Misbehaviour(name, group, learns, made, submissions_only)


def _cut(share: float, body_only: bool = False) -> Answer:
    """Return an answer of which this share is sent before the connection closes."""

    def cut(exchange: Exchange) -> Reply:
        sent = whole(exchange.body)
        before = len(sent) - len(exchange.body) if body_only else 0
        return Reply((sent[: before + int((len(sent) - before) * share)],), "closed")

    return cut


_add(
    "close",
    Learns.NOTHING,
    close_before_head=lambda exchange: Reply((), "closed"),
    reset_before_head=lambda exchange: Reply((), "reset"),
    close_later_before_head=lambda exchange: Reply((0.3,), "closed"),
    close_within_head=_cut(0.2),
    close_after_head=_cut(0.0, body_only=True),
    close_within_body=_cut(0.3, body_only=True),
    reset_within_body=lambda exchange: Reply((whole(exchange.body)[:-3],), "reset"),
    close_within_chunks=lambda exchange: Reply((chunked(exchange.body, end=b"")[:-4],), "closed"),
    close_after_100=lambda exchange: Reply((head(100),), "closed"),
    close_after_103=lambda exchange: Reply((head(103, (("Link", "</a>"),)), 0.05), "reset"),
)
_add(
    "close",
    Learns.UNCLEAR,
    close_untaken=lambda exchange: Reply((), "closed"),
    reset_untaken=lambda exchange: Reply((0.02,), "reset"),
)
_add(
    "close",
    Learns.ID,
    close_after_body=lambda exchange: answer(exchange.body, close="closed"),
    reset_later_after_body=lambda exchange: Reply((whole(exchange.body), 0.05), "reset"),
    close_later_after_body=lambda exchange: Reply((whole(exchange.body), 0.02), "closed"),
    close_announced=lambda exchange: answer(exchange.body, headers=(("Connection", "close"),), close="closed"),
    body_until_close=lambda exchange: Reply((head(200, version="1.0") + exchange.body,), "closed"),
)
_add(
    "1xx",
    Learns.ID,
    hundred_first=lambda exchange: Reply((head(100), 0.02, whole(exchange.body))),
    early_hints_first=lambda exchange: Reply((head(103, (("Link", "</a>"),)) + whole(exchange.body),)),
    three_1xx_first=lambda exchange: Reply((head(102), head(100), 0.01, head(103) + whole(exchange.body))),
)
_add("1xx", Learns.NOTHING, switches_protocols=lambda exchange: Reply((head(101, (("Upgrade", "h2c"),)),), "closed"))


def _refused(status: int, headers: Headers = (), body: bytes = b'{"title": "refused"}') -> Answer:
    return lambda exchange: answer(body, status, headers)


_add(
    "refusal",
    Learns.REFUSED,
    status_409=_refused(409),
    status_429=_refused(429),
    status_503=_refused(503),
    status_503_retry_after=_refused(503, (("Retry-After", "1"),)),
    status_400=_refused(400),
    status_401=_refused(401),
    status_403=_refused(403, body=b"<html>Forbidden</html>"),
    status_404=_refused(404),
    status_410=_refused(410, body=b""),
    status_413=_refused(413),
    status_422=_refused(422, body=b""),
    key_in_error=lambda exchange: answer(f"denied: Authorization: Bearer {exchange.key}".encode(), 403),
)
_add(
    "5xx",
    Learns.NOTHING,
    status_500_taken=_refused(500),
    status_502_taken=_refused(502),
    status_504_taken=_refused(504),
    status_204=lambda exchange: Reply((head(204),)),
)
_add(
    "5xx",
    Learns.UNCLEAR,
    status_500=_refused(500),
    redirect_that_is_not_http=_refused(307, (("Location", "http://[::1/\x1b"),), b""),
    status_502=_refused(502, body=b"<html><h1>502 Bad Gateway</h1></html>"),
    key_in_500=lambda exchange: answer(json.dumps({"error": exchange.key, "headers": [exchange.key]}).encode(), 500),
    huge_error=lambda exchange: answer(f"error at {exchange.now}: ".encode() + b"x" * 300_000, 500),
)


def _escaped(key: str) -> bytes:
    """Return a text as JSON writes it if it escapes every character."""
    return "".join(f"\\u{ord(character):04X}" for character in key).encode()


_add(
    "key",
    Learns.REFUSED,
    key_escaped=lambda exchange: answer(b'{"error": "%s", "more": [1]}' % _escaped(exchange.key), 422),
    key_in_json_in_json=lambda exchange: answer(json.dumps({"error": json.dumps([exchange.key])}).encode(), 400),
    key_at_the_end=lambda exchange: answer(b"x" * 490 + exchange.key.encode(), 403),
    key_in_html=lambda exchange: answer(
        f"<p>{escape(exchange.key)} {quote(exchange.key, safe='')}</p>".encode(), 403
    ),
    key_in_location=lambda exchange: answer(
        b"", 307, (("Location", f"https://elsewhere.invalid/{quote(exchange.key)}/v2/x/run?key={exchange.key}"),)
    ),
)
_add(
    "key",
    Learns.ID,
    key_as_worker_id=lambda exchange: answer(exchange.body[:-1] + b', "workerId": "%s"}' % _escaped(exchange.key)),
    key_in_job_error=lambda exchange: answer(exchange.body[:-1] + b', "error": "for %s"}' % _escaped(exchange.key)),
    key_in_header=lambda exchange: answer(exchange.body, headers=(("X-Key", exchange.key),)),
)


def _retry_after(value: str) -> Answer:
    return _refused(429, (("Retry-After", value),))


_add(
    "Retry-After",
    Learns.REFUSED,
    retry_after_seconds=_retry_after("1"),
    retry_after_zero=_retry_after("0"),
    retry_after_date=lambda exchange: _retry_after(formatdate(exchange.now + 1.5, usegmt=True))(exchange),
    retry_after_asctime=lambda exchange: _retry_after(asctime(gmtime(exchange.now + 1.5)))(exchange),
    retry_after_past=lambda exchange: _retry_after(formatdate(exchange.now - 3e6, usegmt=True))(exchange),
    retry_after_superscript=_retry_after("\u00b2"),
    retry_after_fraction=_retry_after("0.5"),
    retry_after_negative=_retry_after("-1"),
    retry_after_words=_retry_after("soon"),
    retry_after_no_date=_retry_after("Fri, 99 Foo 99999999999999 99:99:99 GMT"),
    retry_after_huge_year=_retry_after("Fri, 01 Jan 999999999999999999 00:00:00 GMT"),
    retry_after_empty=_retry_after(""),
)


def _redirect(status: int) -> Answer:
    return _refused(status, (("Location", "https://elsewhere.invalid/v2/x/run"),), b"")


_add(
    "redirect",
    Learns.REFUSED,
    redirect_301=_redirect(301),
    redirect_302=_redirect(302),
    redirect_307=_redirect(307),
    redirect_308=_redirect(308),
    redirect_to_the_key=lambda exchange: answer(b"", 302, (("Location", f"https://a.invalid/{exchange.key}/run"),)),
    redirect_nowhere=_refused(307, (("Location", "http://[::1/"),), b""),
    status_300=_refused(300),
)


def _says(body: bytes, headers: Headers = ()) -> Answer:
    return lambda exchange: answer(body, headers=headers)


def _with(**changes: Any) -> Answer:
    """Return an answer in which some fields of the job are others; None removes one."""

    def changed(exchange: Exchange) -> Reply:
        fields = {key: value for key, value in (exchange.document | changes).items() if value is not None}
        return answer(json.dumps(fields).encode())

    return changed


def _replaced(field: str, by: bytes) -> Answer:
    """Return an answer in which the value of a field is these bytes."""
    return lambda exchange: answer(exchange.body[:-1] + b', "%s": %s}' % (field.encode(), by))


DEEP = b"[" * 5000 + b"]" * 5000
_add(
    "odd answer",
    Learns.NOTHING,
    empty=_says(b""),
    null=_says(b"null"),
    array=_says(b"[]"),
    number=_says(b"7"),
    text=_says(b'"IN_QUEUE"'),
    truncated=lambda exchange: answer(exchange.body[: len(exchange.body) // 3]),
    html_page=_says(b"<html>Please sign in to the network</html>", (("Content-Type", "text/html"),)),
    error_with_200=_says(b'{"error": "no workers in this region"}'),
    another_protocol=lambda exchange: Reply((b"SSH-2.0-OpenSSH_9.2\r\n",), "closed"),
    zeros=_says(bytes(64)),
    gzip_that_is_none=lambda exchange: answer(exchange.body[1:], headers=(("Content-Encoding", "gzip"),)),
    gzip_cut_off=lambda exchange: answer(gzip.compress(exchange.body)[:-9], headers=(("Content-Encoding", "gzip"),)),
    brotli=_says(b"\x1b\x03\x00\x00", (("Content-Encoding", "br"),)),
    status_line_without_number=lambda exchange: Reply((whole(exchange.body, "OK"),), "closed"),
    key_as_encoding=lambda exchange: answer(b"x", headers=(("Content-Encoding", exchange.key[:40]),)),
    length_and_chunks=lambda exchange: Reply((chunked(exchange.body, (("Content-Length", "3"),)),), "closed"),
    length_beyond_64_bits=lambda exchange: Reply((head(200, (("Content-Length", "9" * 30),)),), "closed"),
    chunk_beyond_64_bits=lambda exchange: Reply(
        (head(200, (("Transfer-Encoding", "chunked"),)) + b"F" * 20 + b"\r\n{",), "closed"
    ),
    headers_without_an_end=lambda exchange: Reply((head(200)[:-2], *((b"X-Many: x\r\n" * 9000,) * 12)), "closed"),
    gzip_of_many_members=lambda exchange: answer(
        gzip.compress(b"") * 20_000 + gzip.compress(exchange.body), headers=(("Content-Encoding", "gzip"),)
    ),
    encoding_utf_7=lambda exchange: answer(exchange.body.decode().encode("utf-7").replace(b"{", b"+AHs-")),
    status_zero=lambda exchange: Reply((whole(exchange.body, 0),), "closed"),
    two_lengths=lambda exchange: Reply((head(200, (("Content-Length", "5"), ("Content-Length", "9"))),), "closed"),
)
_add(
    "odd answer",
    Learns.ID,
    no_status=_with(status=None),
    status_number=_with(status=7),
    status_list=_with(status=["IN_QUEUE"]),
    status_299=lambda exchange: answer(exchange.body, 299),
    delay_negative=_with(delayTime=-5),
    delay_2_63=_with(delayTime=2**63),
    delay_10_20=_with(delayTime=10**20, executionTime=10**20),
    delay_text=_with(delayTime="soon"),
    delay_nan=_replaced("delayTime", b"NaN"),
    delay_1e400=_replaced("executionTime", b"1e400"),
    worker_number=_with(workerId=17),
    tokens_10_20=_with(output={"input_tokens": 10**20, "output_tokens": 2**63}),
    tokens_negative=_with(output={"usage": {"prompt_tokens": -1, "completion_tokens": "12"}}),
    output_deep=_replaced("output", DEEP),
    error_deep=_replaced("error", DEEP),
    output_not_utf8=_replaced("output", b'"\xff\xfe"'),
    worker_not_utf8=_replaced("workerId", b'"\xff"'),
    output_lone_surrogate=_replaced("output", b'"\\ud800"'),
    worker_control_characters=_with(workerId="a\x00\x1b[31m"),
    delay_true=_with(delayTime=True),
    delay_list=_with(delayTime=[1], executionTime={"ms": 1}),
    delay_not_ascii=_with(delayTime="\u0661\u0662"),
    delay_digits=_replaced("delayTime", b"9" * 5000),
    delay_infinity=_replaced("executionTime", b"-Infinity"),
    status_null_twice=_replaced("status", b"null"),
    status_long=_with(status="X" * 100_000),
    error_list=_with(error=[{"a": "\\"}] * 500),
    nul_bytes_after=lambda exchange: answer(exchange.body + bytes(40)),
    duplicate_fields=lambda exchange: answer(exchange.body[:-1] + b", " + exchange.body[1:]),
    head_not_utf8=lambda exchange: answer(exchange.body, headers=(("X-Server", "\xff\xfe"),)),
    a_thousand_headers=lambda exchange: answer(exchange.body, headers=(("X-Trace", "0" * 30),) * 1000),
    more_than_its_length=lambda exchange: Reply((whole(exchange.body) + b"HTTP/1.1 200 X\r\n",), "kept"),
    gzip_then_bytes=lambda exchange: answer(
        gzip.compress(exchange.body) + b"\x00\x00", headers=(("Content-Encoding", "gzip"),)
    ),
)
_add(
    "odd answer",
    Learns.EITHER,
    trailing_text=lambda exchange: answer(exchange.body + b"\n{}"),
    bom_16=lambda exchange: answer(exchange.body.decode().encode("utf-16")),
)
_add(
    "odd answer",
    Learns.ID,
    unknown_status=_with(status="WARMING_UP"),
    delay_float=_with(delayTime=12.75),
    delay_text_number=_with(delayTime="12"),
    delay_20_0=_replaced("delayTime", b"20.0"),
    unknown_fields=_with(later={"deep": [1, {"a": None}]}, output={"odd": [None, True, "\u2028", "\u0000"]}),
    byte_order_mark=lambda exchange: answer(b"\xef\xbb\xbf" + exchange.body),
    spaces_around=lambda exchange: answer(b"\r\n\t " + exchange.body + b"\r\n"),
    gzip_whole=lambda exchange: answer(gzip.compress(exchange.body), headers=(("content-encoding", "GZIP"),)),
    gzip_two_members=lambda exchange: answer(
        gzip.compress(exchange.body[:9]) + gzip.compress(exchange.body[9:]), headers=(("Content-Encoding", "gzip"),)
    ),
    gzip_and_identity=lambda exchange: answer(
        gzip.compress(exchange.body), headers=(("Content-Encoding", "gzip, identity"),)
    ),
    deflate_without_header=lambda exchange: answer(
        zlib.compress(exchange.body)[2:-4], headers=(("Content-Encoding", "deflate"),)
    ),
    status_201=lambda exchange: answer(exchange.body, 201),
    status_without_reason=lambda exchange: Reply((whole(exchange.body).replace(b"200 X", b"200", 1),)),
    line_ends_before=lambda exchange: Reply((b"\r\n\r\n" + whole(exchange.body),)),
    another_version=lambda exchange: Reply((whole(exchange.body).replace(b"/1.1", b"/2.0", 1),), "closed"),
    deflate=lambda exchange: answer(zlib.compress(exchange.body), headers=(("Content-Encoding", "deflate"),)),
    encoding_in_a_trailer=lambda exchange: Reply(
        (
            chunked(
                exchange.body, end=b"0\r\nContent-Encoding: br\r\n\r\n", headers=(("Trailer", "Content-Encoding"),)
            ),
        )
    ),
    in_chunks=lambda exchange: Reply((chunked(exchange.body, size=3),)),
    byte_by_byte=lambda exchange: Reply(tuple(bytes([byte]) for byte in whole(exchange.body))),
    late=lambda exchange: Reply((0.8, whole(exchange.body))),
    with_pauses=lambda exchange: Reply((whole(exchange.body)[:20], 0.2, whole(exchange.body)[20:])),
)
