"""The check of a handler's results, for each kind of handler that the vendor's SDK knows."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from loadtest.serve.sdk_worker_main import with_checked_results

CIRCULAR: list[Any] = []
CIRCULAR.append(CIRCULAR)
NESTED: Any = 1
for _ in range(100_000):
    NESTED = [NESTED]

NOT_JSON = [object(), b"x", {"a": [b"x"]}, {b"a": 1}, {1, 2}, float("nan"), -float("inf"), CIRCULAR, "\ud83d", NESTED]
JSON = [None, True, 0, 2**80, 1.5, "ü\u2028", {"a": [1, {"b": None}]}, (1, 2), {1: 2}]


def plain(job: Any) -> Any:
    return job


async def awaiting(job: Any) -> Any:
    return job


def returns_awaitable(job: Any) -> Any:
    return awaiting(job)


def chunks(job: Any) -> Iterator[Any]:
    yield job


async def awaiting_chunks(job: Any) -> AsyncIterator[Any]:
    yield job


HANDLERS: list[Callable[[Any], Any]] = [plain, awaiting, returns_awaitable, chunks, awaiting_chunks]


def outcome(handler: Callable[[Any], Any], job: Any) -> Any:
    """Return a handler's result, or its only chunk, as the SDK gets it."""

    async def run() -> Any:
        if inspect.isasyncgenfunction(handler):
            return await anext(handler(job))
        if inspect.isgeneratorfunction(handler):
            return next(iter(handler(job)))
        result = handler(job)
        return await result if inspect.isawaitable(result) else result

    return asyncio.run(run())


@pytest.mark.parametrize("handler", HANDLERS)
def test_what_is_json_is_returned_as_it_is(handler: Callable[[Any], Any]) -> None:
    for value in JSON:
        assert outcome(with_checked_results(handler), value) is value


@pytest.mark.parametrize("handler", HANDLERS)
def test_what_is_not_json_is_an_exception_of_the_handler(handler: Callable[[Any], Any]) -> None:
    for value in NOT_JSON:
        with pytest.raises(TypeError, match=r"^the handler's result is not JSON: \S"):
            outcome(with_checked_results(handler), value)


def test_a_generator_that_is_returned_is_not_a_result() -> None:
    with pytest.raises(TypeError, match="Object of type generator is not JSON serializable"):
        outcome(with_checked_results(lambda job: chunks(job)), 1)  # noqa: PLW0108
