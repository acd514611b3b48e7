"""The text of an error that an endpoint reports, for people: short, and without the escapes of JSON."""

from __future__ import annotations

import msgspec

ERROR_LENGTH = 500
_PARSED_BYTES = 64 * 1024
"""A longer body is shown as it begins."""


class SdkError(msgspec.Struct, frozen=True):
    """An exception of a handler, as the vendor's SDK reports it."""

    error_type: str
    error_message: str
    error_traceback: str = ""

    def __str__(self) -> str:
        name = self.error_type.removeprefix("<class '").removesuffix("'>")
        return f"{name}: {self.error_message}\n{self.error_traceback}".strip()


def error_text(body: bytes) -> str:
    """Return the beginning of an error's text.

    A JSON string is shown without quotes and escapes, an exception of a handler by its name and message, and a JSON
    object with escapes in it as its keys and values.
    """
    text = body[: 4 * ERROR_LENGTH].decode("utf-8", "replace")
    if len(body) <= _PARSED_BYTES:
        try:
            text = _of_value(msgspec.json.decode(body), text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # not JSON: shown as it is
            text = text.strip().strip('"')
    return shortened(text.strip())


def _of_value(value: object, text: str) -> str:
    if isinstance(value, str):
        try:
            return str(msgspec.json.decode(value, type=SdkError))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return value
    if isinstance(value, dict) and "\\" in text:
        return ", ".join(f"{key}: {_of_value(each, '')}" for key, each in value.items())
    return text if text else str(value)


def shortened(text: str) -> str:
    """Return a text of at most ERROR_LENGTH characters."""
    return text if len(text) <= ERROR_LENGTH else f"{text[: ERROR_LENGTH - 1]}…"
