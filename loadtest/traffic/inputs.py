"""The inputs of jobs if they differ: drawn from the seed and the job's number, so that all processes agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from loadtest.traffic.lengths import Lengths
from loadtest.traffic.placeholders import (
    DRAWN_INPUT,
    DRAWN_OUTPUT,
    LENGTHS,
    PROMPT,
    PROMPT_OUTPUT,
    TRACE_INPUT,
    TRACE_OUTPUT,
    Sources,
    TraceLengths,
    filled,
    filler,
    in_random_order,
    placeholders_of,
    random_text,
)
from loadtest.traffic.prompts import PromptFile, prompt_order, prompts_read, word_counts
from loadtest.units import FromFile, StrictModel

InputSource = Callable[[int], Any]
"""A function that returns the input of the job with this number."""
UserInputFunction = Callable[[int, np.random.Generator], Any]
"""A function that makes the input of the job with this number, with this generator."""
_PROMPTS = 1
"""The last number of the seed for the order of prompts; no input has such a seed."""


class Template(StrictModel):
    """An input whose texts contain placeholders to fill in for each job.

    `${seq}` is the job's number, `${integer 1 to 512}` a whole number, `${one of a | b}` one of several texts,
    `${text 2 kB}` words of that length in total, and `${uuid}` an identifier that no other job has. `${trace input}`
    is as many words as the job's request has tokens in the trace of arrivals, and `${trace output}` the number of
    tokens of its answer. `${drawn input}` and `${drawn output}` are the same with lengths drawn from `input_tokens`
    and `output_tokens`. `${prompt}` is the next one of `prompts`, and `${prompt output}` the length of its answer. A
    text that consists of one placeholder for a number becomes a number. `$${` is a literal `${`.
    """

    template: Any
    """The input with its placeholders."""
    input_tokens: Lengths | None = None
    """The lengths of `${drawn input}`: one number, log-normal, limits `{min: 16, max: 512}`, or a list."""
    output_tokens: Lengths | None = None
    """The numbers of `${drawn output}`, in the same forms."""
    prompts: PromptFile | None = None
    """A file of prompts, in ShareGPT's form or with one per line."""
    tokenizer: Path | None = None
    """The `tokenizer.json` of your model, named from the scenario's folder; without one, lengths are in words.

    It needs the package `tokenizers` where the scenario is loaded, which `loadtest[tokenizers]` installs.
    """
    words: tuple[str, ...] = ()
    """Words that are one token each; you need not write them, a run on record holds those of its tokenizer."""

    @model_validator(mode="before")
    @classmethod
    def _with_files(cls, value: Any, info: ValidationInfo) -> Any:
        context = info.context
        if context is None or not isinstance(value, dict):
            return value
        count = word_counts
        if isinstance(value.get("tokenizer"), str) and "words" not in value:
            tokenizer = context("tokenizer", value["tokenizer"])
            value, count = {**value, "words": tokenizer.words}, tokenizer.counts
        if value.get("prompts") is not None:
            read = prompts_read(value["prompts"], lambda name: context("prompts", name), count)
            value = {**value, "prompts": read}
        return value

    @field_validator("template")
    @classmethod
    def _placeholders_known(cls, template: Any) -> Any:
        for placeholder in placeholders_of(template):
            if placeholder not in LENGTHS and placeholder != PROMPT:
                filler(placeholder, Sources())
        return template

    @model_validator(mode="after")
    def _sources_known(self) -> Template:
        used = placeholders_of(self.template)
        for placeholder in used:
            filler(placeholder, self.sources())
        settings = {
            "input_tokens": (self.input_tokens, (DRAWN_INPUT,)),
            "output_tokens": (self.output_tokens, (DRAWN_OUTPUT,)),
            "prompts": (self.prompts, (PROMPT, PROMPT_OUTPUT)),
        }
        for key, (given, placeholders) in settings.items():
            if given is not None and not set(placeholders).intersection(used):
                raise ValueError(f'{key} needs "${{{placeholders[0]}}}" in the template; write it there')
        if self.prompts is not None and PROMPT_OUTPUT in used and None in self.prompts.output_tokens:
            number = self.prompts.output_tokens.index(None) + 1
            raise ValueError(
                f'"${{{PROMPT_OUTPUT}}}" needs the answer of each prompt, and that of prompt {number} is not in the '
                f'file; add "output_tokens" to its line'
            )
        return self

    @model_serializer(mode="wrap")
    def _only_what_is_used(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys without a value, so that a template of before these keys has the hash that it had."""
        plain: dict[str, Any] = serialize(self)
        return {key: value for key, value in plain.items() if key == "template" or value not in (None, (), [])}

    def sources(self, seed: int = 0, stream: int = 0, lengths: TraceLengths = ((), ())) -> Sources:
        """Return what fills the placeholders in, apart from text and words."""
        return Sources(
            lengths=lengths,
            drawn_input=self.input_tokens,
            drawn_output=self.output_tokens,
            prompts=self.prompts,
            prompt_index=(
                (lambda seq: seq) if self.prompts is None else prompt_order(self.prompts, [seed, stream, 0, _PROMPTS])
            ),
        )

    @property
    def length_text(self) -> str | None:
        """Return which lengths the template uses, and what they are counted in; None if it uses none."""
        used = placeholders_of(self.template)
        unit = "words, since no tokenizer is given; a word is one to three tokens"
        if self.words:
            unit = f"tokens of {self.tokenizer.name if self.tokenizer else 'a tokenizer'}"
        parts = []
        if self.prompts is not None:
            parts.append(f"{len(self.prompts.texts):,} prompts of mean {np.mean(self.prompts.input_tokens):.4g}")
        if PROMPT_OUTPUT in used and self.prompts is not None:
            known = [length for length in self.prompts.output_tokens if length is not None]
            parts.append(f"answers of mean {np.mean(known):.4g}")
        if TRACE_INPUT in used or TRACE_OUTPUT in used:
            parts.append("those of the trace")
        parts += [f"inputs {self.input_tokens}"] if self.input_tokens is not None else []
        parts += [f"answers {self.output_tokens}"] if self.output_tokens is not None else []
        return f"{', '.join(parts)}: in {unit}" if parts else None


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
    lengths: TraceLengths = ((), ()),
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
            text = random_text(seed)
            words = in_random_order(inputs.words, seed) if inputs.words else text.split()
            fill = filled(inputs.template, replace(inputs.sources(seed, stream, lengths), text=text, words=words))
            return lambda seq: fill(seq, np.random.default_rng([seed, stream, seq]))
        case Function():
            make = function_of(inputs)
            return lambda seq: make(seq, np.random.default_rng([seed, stream, seq]))


def never_differ(inputs: Template | JsonLines | Function | None) -> bool:
    """Return whether all jobs get the same input: the flow's only one, that of all lines, or an empty template's."""
    match inputs:
        case None:
            return True
        case JsonLines():
            return all(line == inputs.lines[0] for line in inputs.lines)
        case Template():
            return not placeholders_of(inputs.template)
        case Function():
            return False


def distinct_inputs(inputs: Template | JsonLines | Function | None) -> int | None:
    """Return how many jobs can have an input of their own; None if any number can."""
    match inputs:
        case JsonLines():
            return len(inputs.lines)
        case Template() if inputs.prompts is not None and set(placeholders_of(inputs.template)) <= {
            PROMPT,
            PROMPT_OUTPUT,
        }:
            return len(inputs.prompts.texts)
        case _:
            return 1 if never_differ(inputs) else None


def uses_trace(template: Any) -> bool:
    """Return whether an input takes lengths from the trace of arrivals."""
    return any(each in (TRACE_INPUT, TRACE_OUTPUT) for each in placeholders_of(template))
