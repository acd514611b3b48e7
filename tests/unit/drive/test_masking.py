"""No secret survives in a text, however the endpoint has written it."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from loadtest.drive.masking import MASK, SecretMask
from loadtest.record.sample import Outcome, Sample

KEYS = ["sk-plain0123456789", 'sk-"quoted"\\back\\\\slash', "sk'&<b>/+=%20#?", "rpa_.*+?[(|)]{2}^$", "zq7", '"\\"']
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": json.dumps,
    "JSON twice": lambda key: json.dumps(json.dumps({"error": key})),
    "\\u escapes": lambda key: "".join(f"\\u{ord(each):04X}" for each in key),
    "\\x escapes": lambda key: "".join(f"\\x{ord(each):02x}" for each in key),
    "a program": lambda key: repr({"key": key, "again": [key]}),
    "a URL": lambda key: f"https://x.invalid/?key={quote(key, safe='')}&more=1",
    "a URL in a URL": lambda key: quote(quote(key, safe="")),
    "lower case": lambda key: quote(key, safe="").lower() if key.islower() else quote(key, safe=""),
    "HTML": lambda key: f"<b>{html.escape(key)}</b>",
    "HTML twice": lambda key: html.escape(html.escape(key)),
    "numbers of HTML": lambda key: "".join(f"&#x{ord(each):02X};" for each in key),
    "decimal numbers of HTML": lambda key: "".join(f"&#{ord(each)};" for each in key),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", FORMS)
def test_secret_is_masked_in_any_form(form: str, key: str) -> None:
    written = FORMS[form](key)
    shown = SecretMask([key]).text(f"denied: {written} (403)")
    assert MASK in shown
    assert key not in shown
    assert FORMS[form]("marker").replace("marker", "") or written not in shown


@pytest.mark.parametrize("key", ["", "local"])
def test_what_is_no_secret_stays(key: str) -> None:
    assert SecretMask([key]).text("no local disk") == "no local disk"


def test_short_secret_is_masked_where_it_is_a_word() -> None:
    mask = SecretMask(["abc"])
    assert mask.text("Bearer abc, job 7abcd") == f"Bearer {MASK}, job 7abcd"
    assert mask.body(b'{"id": "7abcd"}') == b'{"id": "7abcd"}'


def test_every_secret_is_masked_in_a_body_which_keeps_its_length() -> None:
    mask = SecretMask(["sk-0123456789", "the-password"])
    assert mask.body(b"sk-0123456789 the-password.") == b"************* ************."


def test_texts_of_a_job_are_masked_and_its_id_stays() -> None:
    sample = Sample(0, 0, "run", 0.0, outcome=Outcome.FAILED, job_id="zq7", worker_id="zq7", error="for zq7")
    SecretMask(["zq7"]).samples([(sample, [])])
    assert (sample.job_id, sample.worker_id, sample.error) == ("zq7", MASK, f"for {MASK}")
