"""Prompts from a file: what users asked, and how long the answers were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from loadtest.units import StrictModel

LARGEST_BYTES = 32 * 10**6
"""Prompts become part of the scenario, and of every run's record."""
CountTokens = Callable[[Sequence[str]], list[int]]
"""A function that returns the length of each text."""


class Prompt(NamedTuple):
    """A prompt of a file, and its answer: the text, its length, or None if the file has neither."""

    text: str
    answer: str | int | None


class Prompts(StrictModel):
    """Prompts from a file of conversations in ShareGPT's form, or of JSON lines.

    Of a conversation, the first question and its answer are used. A line holds the prompt as text, or an object with
    `prompt` or `text`, and perhaps `output_tokens`, the length of its answer.
    """

    file: Path | None = None
    """The file, named from the scenario's folder."""
    order: Literal["shuffled", "in turn"] = "shuffled"
    """Each prompt is used once before any is used again: in an order drawn from the seed, or in file order."""
    max: Annotated[int, Field(ge=1)] | None = None
    """How many prompts to take from the file, its first ones; if it is not given, all."""
    texts: tuple[str, ...] = ()
    """The prompts themselves; you need not write them, a run on record holds them."""
    input_tokens: tuple[int, ...] = ()
    """The length of each; the same."""
    output_tokens: tuple[int | None, ...] = ()
    """The length of each answer, if the file has it; the same."""

    @model_validator(mode="after")
    def _has_prompts(self) -> Prompts:
        if not self.texts:
            raise ValueError("there are no prompts; name a file of them")
        if not len(self.texts) == len(self.input_tokens) == len(self.output_tokens):
            raise ValueError("each prompt needs its length and that of its answer; name a file instead")
        size = sum(map(len, self.texts))
        if size > LARGEST_BYTES:
            text = f"{size / 1e6:.3g} MB of prompts, but a scenario holds at most {LARGEST_BYTES / 1e6:g} MB"
            raise ValueError(f"{text}; write max: 1000, which takes the first 1000 prompts")
        return self


PromptFile = Annotated[
    Prompts,
    BeforeValidator(
        lambda value: {"file": value} if isinstance(value, str) else value, json_schema_input_type=str | Prompts
    ),
]


def word_counts(texts: Sequence[str]) -> list[int]:
    """Return the number of words of each text."""
    return [len(text.split()) for text in texts]


def prompts_read(value: Any, read: Callable[[str], Sequence[Prompt]], count: CountTokens) -> Any:
    """Return the settings of prompts with the prompts of their file, if they name one and have none yet."""
    asked = {"file": value} if isinstance(value, str) else value
    if not isinstance(asked, dict) or not isinstance(asked.get("file"), str) or "texts" in asked:
        return value
    found, most = read(asked["file"]), asked.get("max")
    if isinstance(most, int) and most > 0:
        found = found[:most]
    texts = [each.text for each in found]
    answers = iter(count([each.answer for each in found if isinstance(each.answer, str)]))
    lengths = [next(answers) if isinstance(each.answer, str) else each.answer for each in found]
    return {**asked, "texts": texts, "input_tokens": count(texts), "output_tokens": lengths}


def prompt_order(prompts: Prompts, seed: Sequence[int]) -> Callable[[int], int]:
    """Return a function that returns the index of the prompt of the job with a number."""
    order = np.arange(len(prompts.texts))
    if prompts.order == "shuffled":
        order = np.random.default_rng(seed).permutation(order)
    return lambda seq: int(order[seq % len(order)])
