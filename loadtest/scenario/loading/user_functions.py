"""The user's own Python functions, which make inputs or judge outputs: compiled, looked up and called only here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from loadtest.errors import ScenarioError
from loadtest.traffic.inputs import Function, UserInputFunction


def load_input_function(described: Function) -> UserInputFunction:
    """Return the input function of a scenario; its result for a job's number is JSON already.

    Its file is run here. ScenarioError, here or when it is called, is one line that names the file, the exception
    and, for a call, the job; an interrupt passes through.
    """
    make = _found(described)

    def called(seq: int, rng: np.random.Generator) -> msgspec.Raw:
        try:
            made = make(seq, rng)
        # The user's code may raise anything, and the user must fix it. Its own sys.exit() must not end a run, least
        # of all with exit code 0; an interrupt must, and passes.
        except (Exception, SystemExit) as error:
            raise _user_error(f"{described.function} failed for job {seq}", error) from error
        try:
            text = msgspec.json.encode(made)
            if b"null" in text:
                # NaN would silently be sent as null.
                json.dumps(msgspec.to_builtins(made, str_keys=True), allow_nan=False)
            return msgspec.Raw(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise _user_error(f"{described.function} did not make JSON for job {seq}", error) from error

    return called


def load_output_function(described: Function) -> Callable[[Any], str | None]:
    """Return the function of a scenario that judges outputs; called with one, it returns why that is wrong, or None.

    Its file is run here. Raises ScenarioError, here or when it is called, if it fails.
    """
    judge = _found(described, "expect.python")

    def called(output: Any) -> str | None:
        try:
            said = judge(output)
        # The user's code may raise anything, as an assert does; an interrupt passes.
        except (Exception, SystemExit) as error:
            text = " ".join(str(error).split())
            what = f"{described.function} raised {type(error).__name__}{f': {text}' if text else ''}"
            raise ScenarioError(what) from error
        if said is None or said is True:
            return None
        return said if isinstance(said, str) and said else f"{described.function} returned {said!r:.100}"

    return called


def _found(described: Function, key: str = "inputs") -> Callable[..., Any]:
    file, _, name = described.function.rpartition(":")
    space: dict[str, Any] = {"__name__": Path(file).stem, "__file__": file}
    try:
        exec(compile(described.source, file, "exec"), space)
    # As in a call: the user's code may raise anything.
    except (Exception, SystemExit) as error:
        raise _user_error(f"{file} cannot be run", error, key) from error
    make: Callable[..., Any] | None = space.get(name)
    if not callable(make):
        raise ScenarioError(f'{key}: {file} has no function "{name}"; name one of its functions')
    return make


def _user_error(what: str, error: BaseException, key: str = "inputs") -> ScenarioError:
    why = ": ".join(part for part in (type(error).__name__, " ".join(str(error).split())) if part)
    return ScenarioError(f"{key}: {what}: {why}; fix it")
