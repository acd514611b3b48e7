"""What the answer of a completed job must be."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from loadtest.traffic.inputs import Function
from loadtest.units import StrictModel

CheckFunction = Annotated[
    Function,
    BeforeValidator(
        lambda value: {"function": value} if isinstance(value, str) else value,
        json_schema_input_type=str | Function,
    ),
]


class Expect(StrictModel):
    """What the answer of a completed job must be; one that is not so has the outcome `wrong`, which is an error.

    All keys that are given must hold. An answer without any output is always wrong.
    """

    path: Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)*$", examples=["output.text"])] | None = None
    """A place in the answer, its steps divided by dots: `output` is the output, a number counts from 0 in a list."""
    exists: bool | None = None
    """Whether there must be something other than null at `path`; true if neither this nor `equals` is given."""
    equals: Any = None
    """The value that must be at `path`."""
    min_tokens: Annotated[int, Field(ge=1)] | None = None
    """The fewest output tokens, by the answer's own count; an answer without a count is wrong."""
    matches: str | None = None
    """A regular expression of Python that must be found in the text of the output."""
    python: CheckFunction | None = None
    """`FILE:NAME`, like `checks.py:check`: a function of yours, called with the output. It returns True or None if
    the output is right, else a text with the reason, or False. An exception makes the answer wrong as well."""

    @field_validator("matches")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f'"{pattern}" is not a regular expression: {error}') from None
        return pattern

    @model_validator(mode="after")
    def _is_whole(self) -> Expect:
        given = [self.path, self.min_tokens, self.matches, self.python]
        if self.path is None and (self.exists is not None or self.equals is not None):
            raise ValueError('exists and equals are about a path; add path: "output.text"')
        if self.exists is not None and self.equals is not None:
            raise ValueError("both exists and equals are given; keep one of them")
        if all(each is None for each in given):
            raise ValueError("nothing is expected; write path, min_tokens, matches or python")
        return self
