"""A user's own function: what it makes is JSON, and whatever it does wrong is one line."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from loadtest.errors import ScenarioError
from loadtest.scenario.loading.user_functions import load_input_function
from loadtest.traffic.inputs import Function


def reported(source: str, function: str = "inputs.py:make") -> str:
    """The fault of a file, at once or for job 7."""
    with pytest.raises(ScenarioError) as refused:
        made(source, function)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def made(source: str, function: str = "inputs.py:make") -> object:
    make = load_input_function(Function(function=function, source=source))
    return msgspec.json.decode(make(7, np.random.default_rng(1)))


def returning(value: str) -> str:
    return f"import math, numpy\ndef make(seq, rng):\n    return {value}"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("{'n': seq, 'none': None}", {"n": 7, "none": None}),
        ("[1.5, 'null', (True, False)]", [1.5, "null", [True, False]]),
        ("{1: {None}}", {"1": [None]}),
    ],
)
def test_what_it_makes_is_json(value: str, sent: object) -> None:
    assert made(returning(value)) == sent


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("object()", "TypeError: Encoding objects of type object is unsupported"),
        ("{'n': numpy.int64(seq)}", "TypeError: Encoding objects of type numpy.int64 is unsupported"),
        ("{(1, 2): 3}", "TypeError: Only dicts with"),
        ("{'deep': [math.nan]}", "ValueError: Out of range float values are not JSON compliant"),
        ("'\\ud800'", "UnicodeEncodeError"),
        ("[each := [], each.append(each)]", "RecursionError"),
    ],
)
def test_a_value_that_json_cannot_hold_is_reported_with_its_job(value: str, why: str) -> None:
    assert f"inputs: inputs.py:make did not make JSON for job 7: {why}" in reported(returning(value))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise ValueError('no\\nprompt')", "ValueError: no prompt"),
        ("assert seq == 0", "AssertionError; fix it"),
        ("import sys; sys.exit()", "SystemExit; fix it"),
        ("return make(seq + 1, rng)", "RecursionError"),
    ],
)
def test_any_exception_of_a_call_is_one_line_that_names_the_job(body: str, why: str) -> None:
    assert f"inputs: inputs.py:make failed for job 7: {why}" in reported(f"def make(seq, rng):\n    {body}")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def make(", "cannot be run: SyntaxError: "),
        ("import nothing_of_this_name", "cannot be run: ModuleNotFoundError: "),
        ("import sys; sys.exit(0)", "cannot be run: SystemExit: 0"),
        ("make = 5", 'has no function "make"'),
        ("", 'has no function "make"'),
    ],
)
def test_whatever_a_file_raises_is_one_line_that_names_it(source: str, why: str) -> None:
    assert f"inputs: inputs.py {why}" in reported(source)


@pytest.mark.parametrize("source", ["raise KeyboardInterrupt", "def make(seq, rng):\n    raise KeyboardInterrupt"])
def test_an_interrupt_stays_one(source: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        made(source)
