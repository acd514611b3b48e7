"""Files that a scenario names: traces of arrivals, measured times, inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec

from loadtest.errors import ScenarioError
from loadtest.protocol.json_values import decode_json
from loadtest.scenario.loading.llm_traces import parse_requests
from loadtest.scenario.loading.prompt_files import read_prompts
from loadtest.scenario.loading.tokenizer_file import read_tokenizer
from loadtest.units import seconds

_MAX_PARTS = 24 * 60
BYTE_ORDER_MARK = "\ufeff"
_SURROUNDING = " \t\r\n" + BYTE_ORDER_MARK
LARGEST_BYTES = 32 * 10**6
"""Inputs become part of the scenario, and of every run's record."""


def read_json_lines(path: Path) -> list[Any]:
    """Return JSON values, one per line; ScenarioError names the file and the line of invalid JSON."""
    text = read_text(path)
    if len(text) > LARGEST_BYTES:
        raise ScenarioError(
            f"{path}: {len(text) / 1e6:.3g} MB of inputs, but a scenario holds at most {LARGEST_BYTES / 1e6:g} MB; "
            f"make them with a template or a function"
        )
    values = []
    # Only "\n" ends a line: JSON allows other line separators, such as U+2028, in its texts.
    for line, whole in enumerate(text.split("\n"), start=1):
        content = whole.removeprefix(BYTE_ORDER_MARK)  # of a file that was appended to another
        if content.strip():
            try:
                values.append(decode_json(content))
            except (msgspec.MsgspecError, RecursionError) as error:
                raise ScenarioError(f"{path}:{line}: not JSON: {error}; write one value per line") from None
    if not values:
        raise ScenarioError(f"{path}: holds no inputs; write one JSON value per line")
    return values


def _numbers(path: Path, what: str, form: str) -> Iterator[tuple[int, float]]:
    """Yield the number, 0 or more, of each line with the line's own number; ScenarioError for any other text."""
    for line, text in _lines(path, f"{what}s"):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < 0:
            raise ScenarioError(f'{path}:{line}: "{text}" is not a {what}; write {form}, like "12.5"')
        yield line, number


def read_trace(path: Path) -> list[float]:
    """Return arrival times in seconds from the start, one per line, in order; "#" begins a comment.

    ScenarioError names the file and the line of a text that is not a time, is negative, or is out of order.
    """
    times: list[float] = []
    for line, at_s in _numbers(path, "time", "seconds from the start"):
        if times and at_s < times[-1]:
            raise ScenarioError(f"{path}:{line}: {at_s:.12g} comes after {times[-1]:.12g}; sort the times")
        times.append(at_s)
    return times


def read_requests(path: Path) -> dict[str, Any]:
    """Return the fields of a trace of arrivals: plain times, or requests to a language model with their lengths."""
    return parse_requests(path, read_text(path)) or {"format": "times", "times": read_trace(path)}


def read_profile(path: Path) -> list[float]:
    """Return the rate of each of a day's equal parts, one per line, 1440 at most; "#" begins a comment.

    ScenarioError names the file and the line of a text that is not a rate or is negative.
    """
    rates = [rate for _, rate in _numbers(path, "rate", "a plain number")]
    if len(rates) > _MAX_PARTS:
        raise ScenarioError(f"{path}: {len(rates)} parts of a day; give at most {_MAX_PARTS}, one per minute")
    return rates


def read_times(path: Path) -> list[str]:
    """Return times with their units, one per line, as checked texts; "#" begins a comment."""
    times: list[str] = []
    for line, text in _lines(path):
        try:
            seconds(text)
        except ValueError as error:
            raise ScenarioError(f"{path}:{line}: {error}") from None
        times.append(text)
    return times


def _lines(path: Path, what: str = "times") -> Iterator[tuple[int, str]]:
    """Yield each line with its number from 1, without comments and blank lines; ScenarioError if none is left."""
    empty = True
    for line, whole in enumerate(StringIO(read_text(path), newline=None), start=1):
        text = whole.partition("#")[0].strip(_SURROUNDING)
        if text:
            empty = False
            yield line, text
    if empty:
        raise ScenarioError(f"{path}: holds no {what}; write one per line")


def read_text(path: Path) -> str:
    """Return the whole text of a file; ScenarioError if it is missing, not readable, or not text."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ScenarioError(f"{path}: no such file; check the path") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not a text file in UTF-8; save it in this encoding") from None
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None


_READERS: dict[str, Callable[[Path], object]] = {
    "trace": read_requests,
    "values": read_times,
    "lines": read_json_lines,
    "prompts": lambda path: read_prompts(path, read_text),
    "tokenizer": read_tokenizer,
    "source": read_text,
    "handler": Path.resolve,
}


def read_field(folder: Path, field: str, name: str) -> object:
    """Return the value of a scenario's field from the file that it names in the scenario's folder.

    Raises ValueError if the file is missing, ScenarioError if its text is not valid.
    """
    path = folder / name
    if not path.is_file():
        raise ValueError(f'there is no file "{name}" in {folder}; a file is named from the scenario\'s folder')
    return _READERS[field](path)
