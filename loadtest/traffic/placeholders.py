"""The placeholders of a template, and what fills them in for each job."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from loadtest.traffic.lengths import Lengths, draw_length
from loadtest.traffic.prompts import Prompts
from loadtest.units import byte_count

TraceLengths = tuple[Sequence[int], Sequence[int]]
"""The lengths of a trace's requests and answers in tokens, by the job's number."""
Fill = Callable[[int, np.random.Generator], Any]
"""A function that fills in a part of a template for the job with a number."""

TRACE_INPUT, TRACE_OUTPUT = "trace input", "trace output"
DRAWN_INPUT, DRAWN_OUTPUT = "drawn input", "drawn output"
PROMPT, PROMPT_OUTPUT = "prompt", "prompt output"
LENGTHS = (TRACE_INPUT, TRACE_OUTPUT, DRAWN_INPUT, DRAWN_OUTPUT, PROMPT_OUTPUT)
"""The placeholders whose size is a length in tokens, or in words."""
_PLACEHOLDER = re.compile(r"(?<!\$)\$\{([^{}]*)\}")
_ESCAPED, _LITERAL = "$${", "${"
_INTEGER = re.compile(r"integer\s+(-?\d+)\s+to\s+(-?\d+)")
_TEXT_BLOCK = 2**20
_WORDS = 2**17
_LETTERS = np.frombuffer(b"etaoinshrdlucmfwypvbgkjqxz", np.uint8)


@dataclass(frozen=True)
class Sources:
    """Where the values of placeholders come from: text, words, lengths of a trace or to draw, and prompts."""

    text: str = ""
    words: Sequence[str] = ()
    lengths: TraceLengths = ((), ())
    drawn_input: Lengths | None = None
    drawn_output: Lengths | None = None
    prompts: Prompts | None = None
    prompt_index: Callable[[int], int] = lambda seq: seq


def placeholders_of(template: Any) -> list[str]:
    """Return the placeholders of a template, as they are written, in order."""
    return [each.strip() for text in _texts(template) for each in _PLACEHOLDER.findall(text)]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, (list, tuple)):
        return [text for each in value for text in _texts(each)]
    return []


def filled(template: Any, sources: Sources) -> Fill:
    """Return a function that fills a template in; a part without placeholders stays the very same object."""
    if isinstance(template, str):
        return _filled_text(template, sources)
    if not any(_PLACEHOLDER.search(text) or _ESCAPED in text for text in _texts(template)):
        return lambda seq, rng: template
    if isinstance(template, dict):
        values = {key: filled(each, sources) for key, each in template.items()}
        return lambda seq, rng: {key: fill(seq, rng) for key, fill in values.items()}
    items = [filled(each, sources) for each in template]
    return lambda seq, rng: [fill(seq, rng) for fill in items]


def _filled_text(text: str, sources: Sources) -> Fill:
    parts = _PLACEHOLDER.split(text)
    parts[::2] = [literal.replace(_ESCAPED, _LITERAL) for literal in parts[::2]]
    fills = [filler(placeholder, sources) for placeholder in parts[1::2]]
    if not fills:
        return lambda seq, rng: parts[0]
    if parts[0] == "" and parts[2:] == [""]:
        return fills[0]
    return lambda seq, rng: (
        parts[0] + "".join(f"{fill(seq, rng)}{after}" for fill, after in zip(fills, parts[2::2], strict=True))
    )


def filler(placeholder: str, sources: Sources) -> Fill:
    """Return the function that fills a placeholder; raises ValueError if the placeholder is unknown."""
    what = placeholder.strip()
    if what == "seq":
        return lambda seq, rng: seq
    if what == "uuid":
        return lambda seq, rng: str(UUID(bytes=rng.bytes(16), version=4))
    if what in LENGTHS or what == PROMPT:
        return _of_a_length(what, sources)
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
        return lambda seq, rng: _text(sources.text, size, rng)
    known = [*(f"${{{each}}}" for each in ("seq", "uuid", "integer 1 to 9", "one of a | b", "text 2 kB", PROMPT))]
    known += [f"${{{each}}}" for each in LENGTHS]
    raise ValueError(
        f'"${{{placeholder}}}" is an unknown placeholder; write {", ".join(known[:-1])} or {known[-1]}, '
        f"or {_ESCAPED} for a literal {_LITERAL}"
    )


def _of_a_length(what: str, sources: Sources) -> Fill:
    """Return the function that fills a placeholder whose size a trace, a distribution or a prompt gives."""
    words, (given, made), prompts, index = sources.words, sources.lengths, sources.prompts, sources.prompt_index
    drawn = sources.drawn_input if what == DRAWN_INPUT else sources.drawn_output
    match what:
        case "trace input":
            return lambda seq, rng: _some_words(words, given[seq], rng)
        case "trace output":
            return lambda seq, rng: made[seq]
        case "drawn input" if drawn is not None:
            return lambda seq, rng: _some_words(words, draw_length(drawn, rng), rng)
        case "drawn output" if drawn is not None:
            return lambda seq, rng: draw_length(drawn, rng)
        case "prompt" if prompts is not None:
            return lambda seq, rng: prompts.texts[index(seq)]
        case "prompt output" if prompts is not None:
            return lambda seq, rng: prompts.output_tokens[index(seq)]
    needed = {DRAWN_INPUT: "input_tokens: {median: 400, sigma: 0.8}", DRAWN_OUTPUT: "output_tokens: 128"}
    raise ValueError(f'"${{{what}}}" needs {needed.get(what, "prompts: prompts.jsonl")} next to the template')


def _some_words(words: Sequence[str], count: int, rng: np.random.Generator) -> str:
    """Return this many words, from a random one on."""
    first = int(rng.integers(len(words)))
    return " ".join(words[(first + number) % len(words)] for number in range(count))


def _integer_type(placeholder: str, low: int, high: int) -> type[np.int64] | type[np.uint64]:
    """Return the type that holds both ends of a range; raises ValueError if none does."""
    for kind in (np.int64, np.uint64):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    raise ValueError(f'"${{{placeholder}}}" is too wide a range; write one within 64 bits, such as 0 to {2**64 - 1}')


def random_text(seed: int) -> str:
    """Return a megabyte of random words; each text is cut out of it at a random position."""
    rng = np.random.default_rng([seed, 2**32])
    letters = _LETTERS[np.minimum(rng.exponential(6, _TEXT_BLOCK).astype(np.int64), len(_LETTERS) - 1)]
    letters[rng.random(_TEXT_BLOCK) < 1 / 6] = ord(" ")
    return letters.tobytes().decode()


def in_random_order(words: Sequence[str], seed: int) -> list[str]:
    """Return many words in random order, each of them many times, so that few texts begin alike."""
    chosen = np.random.default_rng([seed, 2**32]).integers(len(words), size=_WORDS)
    return np.array(words)[chosen].tolist()  # type: ignore[no-any-return]


def _text(words: str, size: int, rng: np.random.Generator) -> str:
    start = int(rng.integers(len(words)))
    whole = words[start : start + size]
    while len(whole) < size:
        whole += words[: size - len(whole)]
    return whole
