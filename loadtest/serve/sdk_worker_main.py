"""The program of a worker's process: the user's handler in the vendor's SDK, and a watchdog to end with the server.

It imports nothing of this package, so that nothing but the handler is loaded. Its argument is the handler's file. The
server holds the other end of its standard input, which closes when the server ends in any way.
"""

from __future__ import annotations

import inspect
import json
import os
import runpy
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

CONCURRENCY_VARIABLE = "LOADTEST_CONCURRENCY"
"""The variable with the jobs that a worker runs at once, if its handler sets no `concurrency_modifier`."""
WATCHDOG = "loadtest-guard"
"""The watchdog's name in a list of processes."""


def main() -> None:
    """Run the handler as its own file would, until the SDK ends."""
    start_watchdog()
    path = Path(sys.argv[1])
    sys.argv[:] = [str(path)]
    sys.path[0] = str(path.parent)
    from runpod import serverless

    start, started = serverless.start, False

    def start_with_concurrency(config: dict[str, Any]) -> None:
        nonlocal started
        started = True
        concurrency = int(os.environ.get(CONCURRENCY_VARIABLE, "1"))
        if concurrency > 1:
            config.setdefault("concurrency_modifier", lambda _: concurrency)
        start(config | {"handler": with_checked_results(config["handler"])} if "handler" in config else config)

    serverless.start = start_with_concurrency
    defined = runpy.run_path(str(path), run_name="__main__")
    if started:
        return
    if not callable(defined.get("handler")):
        sys.exit(f'{path.name} neither calls runpod.serverless.start nor defines "handler"; add one of them')
    start_with_concurrency({"handler": defined["handler"]})


def with_checked_results(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a handler of the same kind that raises TypeError for a result or a chunk that is not JSON.

    The SDK only logs such a result, and its job would run until its timeout; of an exception it makes a failed job.
    """
    if inspect.isasyncgenfunction(handler):

        async def checked_async_chunks(job: Any) -> AsyncIterator[Any]:
            async for chunk in handler(job):
                yield checked(chunk)

        return checked_async_chunks
    if inspect.isgeneratorfunction(handler):

        def checked_chunks(job: Any) -> Iterator[Any]:
            for chunk in handler(job):
                yield checked(chunk)

        return checked_chunks

    async def awaited(result: Awaitable[Any]) -> Any:
        return checked(await result)

    def checked_result(job: Any) -> Any:
        result = handler(job)
        return awaited(result) if inspect.isawaitable(result) else checked(result)

    return checked_result


def checked(result: Any) -> Any:
    """Return a result as it is; raises TypeError if it is not JSON."""
    try:
        json.dumps(result, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the handler's result is not JSON: {error}") from None
    return result


def start_watchdog() -> None:
    """Start a process that kills all of this process group when standard input closes; detach standard input here.

    It is a process of its own, since a handler may block every thread of this one.
    """
    program = [WATCHDOG, "-c", "read _; kill -KILL 0"]
    subprocess.Popen(program, executable="/bin/sh", stdin=0, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


if __name__ == "__main__":
    main()
