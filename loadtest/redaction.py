"""Texts without the secrets that users paste into them: passwords and keys of URLs, and keys by their usual form."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\s\"']+")
_QUERY_VALUE = re.compile(r"=[^&]+")
_KEY = re.compile(r"\b(rpa_|sk-|hf_|Bearer )[A-Za-z0-9_.-]{8,}")


def without_secrets(text: str) -> str:
    """Return a text with "…" for users and passwords of URLs, the values of their queries, and keys."""
    return _KEY.sub(r"\1…", _WORD.sub(lambda word: _without_credentials(word[0]), text))


def _without_credentials(word: str) -> str:
    """Return a word without the credentials in it, if it is a URL, with or without its scheme."""
    before, scheme, rest = word.partition("://")
    user, at, host = (rest if scheme else word).rpartition("@")
    if not scheme and not (at and ":" in user and host):
        return word
    address, question, query = host.partition("?")
    return (
        f"{before + scheme if scheme else ''}{'…@' if at else ''}{address}{question}{_QUERY_VALUE.sub('=…', query)}"
    )
