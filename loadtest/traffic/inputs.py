"""The inputs of jobs if they differ: drawn from the seed and the job's number, so that all processes agree."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import numpy as np
from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from loadtest.units import FromFile, StrictModel, byte_count

InputSource = Callable[[int], Any]
"""A function that returns the input of the job with this number."""
UserInputFunction = Callable[[int, np.random.Generator], Any]
"""A function that makes the input of the job with this number, with this generator."""

Lengths = tuple[Sequence[int], Sequence[int]]
"""The lengths of a trace's requests and answers in tokens, by the job's number."""
_PLACEHOLDER = re.compile(r"(?<!\$)\$\{([^{}]*)\}")
TRACE_INPUT, TRACE_OUTPUT = "trace input", "trace output"
_ESCAPED, _LITERAL = "$${", "${"
_INTEGER = re.compile(r"integer\s+(-?\d+)\s+to\s+(-?\d+)")
_TEXT_BLOCK = 2**20
_LETTERS = np.frombuffer(b"etaoinshrdlucmfwypvbgkjqxz", np.uint8)


class Template(StrictModel):
    """An input whose texts contain placeholders to fill in for each job.

    `${seq}` is the job's number, `${integer 1 to 512}` a whole number, `${one of a | b}` one of several texts,
    `${text 2 kB}` words of that length in total, and `${uuid}` an identifier that no other job has. `${trace input}`
    is as many words as the job's request has tokens in the trace of arrivals, and `${trace output}` the number of
    tokens of its answer. A text that consists of one placeholder for a number becomes a number. `$${` is a literal
    `${`.
    """

    template: Any
    """The input with its placeholders."""

    @field_validator("template")
    @classmethod
    def _placeholders_known(cls, template: Any) -> Any:
        for text in _texts(template):
            for placeholder in _PLACEHOLDER.findall(text):
                _filler(placeholder)
        return template


class JsonLines(FromFile):
    """Inputs from a file of JSON values, one per line."""

    content = "lines"
    file: Path | None = None
    """A file of JSON, one input per line, named from the scenario's folder."""
    lines: tuple[Any, ...] = ()
    """The inputs themselves, in place of `file`; of a run on record, what its file held."""
    order: Literal["shuffled", "in turn"] = "shuffled"
    """Each input is used once before any is used again: in an order drawn from the seed, or in file order."""

    @model_validator(mode="after")
    def _has_lines(self) -> JsonLines:
        if not self.lines:
            raise ValueError("no inputs; name a file with one JSON value per line")
        return self


class Function(StrictModel):
    """Inputs from a Python function of yours: `make(seq, rng)` is called with the job's number and a numpy Generator.

    The same number gets a generator in the same state. The file is part of the scenario; modules that it imports are
    not.
    """

    function: Annotated[str, Field(pattern=r"^[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*$", examples=["inputs.py:make"])]
    """`FILE:NAME`, like `inputs.py:make`: a Python file, named from the scenario's folder, and a function in it."""
    source: str = ""
    """The text of that file; you need not write it, a run on record holds it."""

    @model_validator(mode="before")
    @classmethod
    def _source_of_file(cls, value: Any, info: ValidationInfo) -> Any:
        if info.context is None or not isinstance(value, dict) or not isinstance(value.get("function"), str):
            return value
        file = value["function"].rpartition(":")[0]
        return value if "source" in value else {**value, "source": info.context("source", file)}


def _kind(value: object) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    if "function" in keys or "source" in keys:
        return "function"
    return "template" if "template" in keys else "lines"


Inputs = Annotated[
    Annotated[Template, Tag("template")] | Annotated[JsonLines, Tag("lines")] | Annotated[Function, Tag("function")],
    Discriminator(_kind),
    BeforeValidator(
        lambda value: {"file": value} if isinstance(value, str) else value,
        json_schema_input_type=str | Template | JsonLines | Function,
    ),
]
"""Inputs that differ: `{template: ...}`, `{file: prompts.jsonl}` or `{function: "inputs.py:make"}`."""


def input_source(
    inputs: Template | JsonLines | Function,
    seed: int,
    function_of: Callable[[Function], UserInputFunction],
    stream: int = 0,
    lengths: Lengths = ((), ()),
) -> InputSource:
    """Return the inputs of a run with this seed; each stream draws independently of the others.

    `function_of` returns a user's function. Errors that this function raises are passed on, here or when an input is
    drawn.
    """
    match inputs:
        case JsonLines():
            lines = inputs.lines
            order = np.arange(len(lines))
            if inputs.order == "shuffled":
                order = np.random.default_rng([seed, stream]).permutation(order)
            return lambda seq: lines[order[seq % len(lines)]]
        case Template():
            filled = _filled(inputs.template, _words(seed), lengths)
            return lambda seq: filled(seq, np.random.default_rng([seed, stream, seq]))
        case Function():
            make = function_of(inputs)
            return lambda seq: make(seq, np.random.default_rng([seed, stream, seq]))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, (list, tuple)):
        return [text for each in value for text in _texts(each)]
    return []


Fill = Callable[[int, np.random.Generator], Any]


def _filled(template: Any, words: str, lengths: Lengths) -> Fill:
    """Return a function that fills a template in; a part without placeholders stays the very same object."""
    if isinstance(template, str):
        return _filled_text(template, words, lengths)
    if not any(_PLACEHOLDER.search(text) or _ESCAPED in text for text in _texts(template)):
        return lambda seq, rng: template
    if isinstance(template, dict):
        values = {key: _filled(each, words, lengths) for key, each in template.items()}
        return lambda seq, rng: {key: fill(seq, rng) for key, fill in values.items()}
    items = [_filled(each, words, lengths) for each in template]
    return lambda seq, rng: [fill(seq, rng) for fill in items]


def _filled_text(text: str, words: str, lengths: Lengths) -> Fill:
    parts = _PLACEHOLDER.split(text)
    parts[::2] = [literal.replace(_ESCAPED, _LITERAL) for literal in parts[::2]]
    fills = [_filler(placeholder, words, lengths) for placeholder in parts[1::2]]
    if not fills:
        return lambda seq, rng: parts[0]
    if parts[0] == "" and parts[2:] == [""]:
        return fills[0]
    return lambda seq, rng: (
        parts[0] + "".join(f"{fill(seq, rng)}{after}" for fill, after in zip(fills, parts[2::2], strict=True))
    )


def _filler(placeholder: str, words: str = "", lengths: Lengths = ((), ())) -> Fill:
    """Return the function that fills a placeholder; raises ValueError if the placeholder is unknown."""
    what = placeholder.strip()
    if what == "seq":
        return lambda seq, rng: seq
    if what == "uuid":
        return lambda seq, rng: str(UUID(bytes=rng.bytes(16), version=4))
    if what == TRACE_OUTPUT:
        return lambda seq, rng: lengths[1][seq]
    if what == TRACE_INPUT:
        apart = words.split()
        return lambda seq, rng: _some_words(apart, lengths[0][seq], rng)
    if match := _INTEGER.fullmatch(what):
        low, high = int(match[1]), int(match[2])
        if low > high:
            raise ValueError(f'"${{{placeholder}}}" is an empty range; write the smaller number first')
        kind = _integer_type(placeholder, low, high)
        return lambda seq, rng: int(rng.integers(low, high, endpoint=True, dtype=kind))
    if what.startswith("one of "):
        choices = [choice.strip() for choice in what.removeprefix("one of ").split("|")]
        return lambda seq, rng: choices[int(rng.integers(len(choices)))]
    if what.startswith("text "):
        size = byte_count(what.removeprefix("text ").strip())
        return lambda seq, rng: _text(words, size, rng)
    known = "${seq}, ${uuid}, ${integer 1 to 9}, ${one of a | b}, ${text 2 kB}, ${trace input} or ${trace output}"
    raise ValueError(
        f'"${{{placeholder}}}" is an unknown placeholder; write {known}, or {_ESCAPED} for a literal {_LITERAL}'
    )


def _some_words(words: Sequence[str], count: int, rng: np.random.Generator) -> str:
    """Return this many words, from a random one on."""
    first = int(rng.integers(len(words)))
    return " ".join(words[(first + number) % len(words)] for number in range(count))


def never_differ(inputs: Template | JsonLines | Function | None) -> bool:
    """Return whether all jobs get the same input: the flow's only one, that of all lines, or an empty template's."""
    match inputs:
        case None:
            return True
        case JsonLines():
            return all(line == inputs.lines[0] for line in inputs.lines)
        case Template():
            return not any(_PLACEHOLDER.search(text) for text in _texts(inputs.template))
        case Function():
            return False


def uses_trace(template: Any) -> bool:
    """Return whether an input takes lengths from the trace of arrivals."""
    placeholders = (each.strip() for text in _texts(template) for each in _PLACEHOLDER.findall(text))
    return any(each in (TRACE_INPUT, TRACE_OUTPUT) for each in placeholders)


def _integer_type(placeholder: str, low: int, high: int) -> type[np.int64] | type[np.uint64]:
    """Return the type that holds both ends of a range; raises ValueError if none does."""
    for kind in (np.int64, np.uint64):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    raise ValueError(f'"${{{placeholder}}}" is too wide a range; write one within 64 bits, such as 0 to {2**64 - 1}')


def _words(seed: int) -> str:
    """Return a megabyte of random words; each text is cut out of it at a random position."""
    rng = np.random.default_rng([seed, 2**32])
    letters = _LETTERS[np.minimum(rng.exponential(6, _TEXT_BLOCK).astype(np.int64), len(_LETTERS) - 1)]
    letters[rng.random(_TEXT_BLOCK) < 1 / 6] = ord(" ")
    return letters.tobytes().decode()


def _text(words: str, size: int, rng: np.random.Generator) -> str:
    start = int(rng.integers(len(words)))
    whole = words[start : start + size]
    while len(whole) < size:
        whole += words[: size - len(whole)]
    return whole
