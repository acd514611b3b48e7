"""Traces of requests to language models, with their lengths, in the forms in which they are published."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from loadtest.errors import ScenarioError

AZURE = ("timestamp", "contexttokens", "generatedtokens")
"""The columns of Azure's traces of LLM requests (AzurePublicDataset, AzureLLMInferenceTrace_*.csv)."""
BURSTGPT = ("timestamp", "model", "request tokens", "response tokens")
"""The first columns of BurstGPT (Wang et al. 2024); its times are in seconds."""


FORMATS = ("azure-llm", "mooncake", "burstgpt")
"""The forms, by their names in a scenario."""


class Request(NamedTuple):
    """A request of a trace to write: when it came, in seconds since the epoch, and its lengths in tokens."""

    at: float
    input_tokens: int
    output_tokens: int


class _Row(NamedTuple):
    line: int
    at_s: float
    input_tokens: int
    output_tokens: int


class _MooncakeRow(msgspec.Struct):
    """A line of Mooncake's traces (Qin et al. 2024), whose times are in milliseconds; the hashes are not read."""

    timestamp: float
    input_length: int
    output_length: int


def parse_requests(path: Path, text: str) -> dict[str, Any] | None:
    """Return the fields of a trace: its `format`, its `times` in seconds from the start, and its lengths in tokens.

    The form is known by how the text begins; None if it is none of these. ScenarioError names the file and the line
    of a row that cannot be read, or that is earlier than the one above it.
    """
    begin = text.lstrip().partition("\n")[0].strip()
    columns = tuple(each.strip().lower() for each in begin.split(","))
    if begin.startswith("{"):
        return _fields("mooncake", path, _json_rows(path, text))
    if columns == AZURE:
        return _fields("azure-llm", path, _csv_rows(path, text, (0, 1, 2), _date_s))
    if columns[: len(BURSTGPT)] == BURSTGPT:
        return _fields("burstgpt", path, _csv_rows(path, text, (0, 2, 3), float))
    return None


def _fields(form: str, path: Path, rows: Iterable[_Row]) -> dict[str, Any]:
    known: list[_Row] = []
    for row in rows:
        if known and row.at_s < known[-1].at_s:
            raise ScenarioError(f"{path}:{row.line}: is earlier than the line before it; sort the requests by time")
        known.append(row)
    if not known:
        raise ScenarioError(f"{path}: holds no requests; write one per line")
    return {
        "format": form,
        "times": [row.at_s - known[0].at_s for row in known],
        "input_tokens": [row.input_tokens for row in known],
        "output_tokens": [row.output_tokens for row in known],
    }


def _csv_rows(path: Path, text: str, columns: tuple[int, int, int], time_s: Callable[[str], float]) -> Iterator[_Row]:
    reader = csv.reader(text.lstrip().splitlines())
    next(reader)
    for cells in reader:
        if not cells:
            continue
        try:
            at, given, made = (cells[column].strip() for column in columns)
            row = _Row(reader.line_num, time_s(at), int(given), int(made))
        except (ValueError, IndexError):
            row = _Row(reader.line_num, math.nan, 0, 0)
        yield _checked(path, row, ",".join(cells))


def _json_rows(path: Path, text: str) -> Iterator[_Row]:
    for line, whole in enumerate(text.split("\n"), start=1):
        if not whole.strip():
            continue
        try:
            found = msgspec.json.decode(whole, type=_MooncakeRow)
            row = _Row(line, found.timestamp / 1000, found.input_length, found.output_length)
        except msgspec.MsgspecError:
            row = _Row(line, math.nan, 0, 0)
        yield _checked(path, row, whole)


def _checked(path: Path, row: _Row, text: str) -> _Row:
    if not math.isfinite(row.at_s) or row.input_tokens < 0 or row.output_tokens < 0:
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        raise ScenarioError(f"{path}:{row.line}: {shown!r} is not a request with its time and lengths; drop the line")
    return row


def _date_s(text: str) -> float:
    """Return a date and time in seconds since the epoch; without a zone it is in UTC."""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def format_requests(form: str, requests: Sequence[Request]) -> str:
    """Return the text of a trace in one of the FORMATS, for requests in the order of time.

    The times of Azure's form are dates, to the microsecond; the others begin at 0, BurstGPT's in seconds to the
    microsecond, Mooncake's in whole milliseconds. Mooncake's hashes are left out. The columns of BurstGPT are all
    there, since its readers count them, though a run has neither model nor log type for them.
    """
    begun_at = requests[0].at if requests else 0.0
    match form:
        case "azure-llm":
            lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
            for each in requests:
                day = datetime.fromtimestamp(each.at, UTC)
                lines.append(f"{day:%Y-%m-%d %H:%M:%S.%f}0,{each.input_tokens},{each.output_tokens}")
        case "mooncake":
            lines = [
                f'{{"timestamp": {round((each.at - begun_at) * 1000)}, "input_length": {each.input_tokens}, '
                f'"output_length": {each.output_tokens}}}'
                for each in requests
            ]
        case _:
            lines = ["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"]
            for at, given, made in requests:
                lines.append(f"{at - begun_at:.6f},loadtest,{given},{made},{given + made},API log")
    return "".join(f"{line}\n" for line in lines)
