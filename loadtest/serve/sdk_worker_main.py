"""The program of a worker's process: the user's handler in the vendor's SDK, and a watchdog to end with the server.

It imports nothing of this package, so that nothing but the handler is loaded. Its argument is the handler's file. The
server holds the other end of its standard input, which closes when the server ends in any way.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
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
        start(config)

    serverless.start = start_with_concurrency
    defined = runpy.run_path(str(path), run_name="__main__")
    if started:
        return
    if not callable(defined.get("handler")):
        sys.exit(f'{path.name} neither calls runpod.serverless.start nor defines "handler"; add one of them')
    start_with_concurrency({"handler": defined["handler"]})


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
