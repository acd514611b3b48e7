"""Secrets in what an endpoint or a proxy sends back: they are replaced before anything of it is recorded or shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from loadtest.record.recorder import EndedJob
from loadtest.scenario.environment import LOCAL_KEY

MASK = "****"
MIN_LENGTH = 8
"""A shorter secret may be a part of any word: it is replaced only where it is a word by itself, and never in a body,
since an id in it could hold the same characters."""
_ENTITIES = {'"': "quot", "&": "amp", "'": "apos", "<": "lt", ">": "gt"}


class SecretMask:
    """The secrets of a run; the key that everybody knows, that of a local endpoint, is none."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({each for each in secrets if each not in ("", LOCAL_KEY)}, key=len, reverse=True)
        self._bodies = [each.encode("latin-1", "replace") for each in known if len(each) >= MIN_LENGTH]
        self._pattern = re.compile("|".join(map(_in_any_form, known))) if known else None
        self.text = lru_cache(256)(self._mask)
        """Return a text without the secrets, in whatever form they are written."""

    def __repr__(self) -> str:
        return "<SecretMask>"

    def body(self, body: bytes) -> bytes:
        """Return a body, of the same length, without the longer secrets as they are written.

        A text of it that is cut off later may end within one.
        """
        for secret in self._bodies:
            if secret in body:
                body = body.replace(secret, b"*" * len(secret))
        return body

    def samples(self, ended: Sequence[EndedJob]) -> None:
        """Mask the texts of jobs that are over; their ids stay, since they are cancelled by them."""
        if self._pattern is None:
            return
        for sample, _ in ended:
            if sample.error is not None:
                sample.error = self._mask(sample.error)
            if sample.worker_id is not None:
                sample.worker_id = self.text(sample.worker_id)

    def _mask(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def _in_any_form(secret: str) -> str:
    """Return the pattern of a secret as it is, or with any escapes of JSON, of a URL, of HTML or of a program."""
    pattern = "".join(map(_character, secret))
    return pattern if len(secret) >= MIN_LENGTH else rf"(?<!\w){pattern}(?!\w)"


def _character(character: str) -> str:
    code = ord(character)
    names = [f"#0*{code}", f"(?i:#x0*{code:x})"]
    if character in _ENTITIES:
        names.append(_ENTITIES[character])
    return (
        rf"(?:\\*{re.escape(character)}|(?i:\\+(?:u00|x){code:02x})|(?i:%(?:25)*{code:02x})"
        rf"|&(?:amp;)*(?:{'|'.join(names)});)"
    )
