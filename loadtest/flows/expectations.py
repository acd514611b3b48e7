"""Whether the answer of a completed job is what the scenario expects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from loadtest.errors import ScenarioError
from loadtest.protocol.client_messages import INVALID
from loadtest.protocol.openai_text import output_text
from loadtest.record.sample import Sample
from loadtest.scenario.expect import Expect
from loadtest.traffic.inputs import Function

AnswerCheck: TypeAlias = Callable[[bytes, Sample], str | None]
"""Called with the output of a completed job, as JSON, and its row; returns why it is wrong, None if it is right."""
OutputFunction: TypeAlias = Callable[[Any], str | None]
"""A user's function: called with an output, it returns why that is wrong, None if it is right."""
_SHOWN = 100


def answer_check(expect: Expect, function_of: Callable[[Function], OutputFunction]) -> AnswerCheck:
    """Return the check of a flow's answers; `function_of` returns a user's function.

    Raises ScenarioError if `function_of` does; if the function does, that is why the answer is wrong.
    """
    tests: list[Callable[[Any, Sample], str | None]] = []
    path, pattern, min_tokens = expect.path, expect.matches, expect.min_tokens
    if path is not None:
        steps = path.split(".")
        tests.append(lambda output, sample: _at_path(expect, path, _found({"output": output}, steps)))
    if min_tokens is not None:
        tests.append(lambda output, sample: _few_tokens(sample.output_tokens, min_tokens))
    if pattern is not None:
        search = re.compile(pattern).search
        tests.append(lambda output, sample: _unlike(output_text(output), search, pattern))
    if expect.python is not None:
        called = function_of(expect.python)
        tests.append(lambda output, sample: called(output))

    def check(raw: bytes, sample: Sample) -> str | None:
        try:
            output = msgspec.json.decode(raw)
        except INVALID:
            return "the output is not JSON"
        try:
            return next((reason for test in tests if (reason := test(output, sample)) is not None), None)
        except ScenarioError as error:
            return str(error)

    return check


_NOTHING = object()


def _found(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step, _NOTHING)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _NOTHING
    return value


def _at_path(expect: Expect, path: str, value: Any) -> str | None:
    exists = value is not _NOTHING and value is not None
    if expect.equals is not None:
        # In Python 1 and True are equal.
        same = value == expect.equals and isinstance(value, bool) == isinstance(expect.equals, bool)
        return None if same else f"{path} is {_shown(value)}, expected {_shown(expect.equals)}"
    if expect.exists is False:
        return f"{path} is {_shown(value)}, expected nothing there" if exists else None
    return None if exists else f"nothing at {path}"


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "not there"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _few_tokens(tokens: int | None, least: int) -> str | None:
    if tokens is None:
        return f"the answer does not say how many tokens it has, expected {least} or more"
    return None if tokens >= least else f"{tokens} output tokens, expected {least} or more"


def _unlike(text: str, search: Callable[[str], object], pattern: str) -> str | None:
    return None if search(text) else f"the text {_shown(text)} does not match {pattern}"
