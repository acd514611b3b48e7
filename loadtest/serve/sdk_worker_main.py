"""What a worker's process runs: the user's handler in the vendor's SDK, and a guard that ends it with the server.

It stands alone, so that nothing of this package is loaded beside the handler. Called with the handler's file; the
server holds the other end of its standard input, which ends when the server does, however it does.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

CONCURRENCY_VARIABLE = "LOADTEST_CONCURRENCY"
"""How many jobs a worker takes at once, where its handler does not say so itself."""
WATCHDOG = "loadtest-guard"
"""What the guard is called in a list of processes."""


def main() -> None:
    """Run the handler as its own file would, until the SDK ends."""
    start_watchdog()
    path = Path(sys.argv[1])
    sys.argv[:] = [str(path)]
    sys.path[0] = str(path.parent)
    from runpod import serverless

    start, started = serverless.start, False

    def start_as_asked(config: dict[str, Any]) -> None:
        nonlocal started
        started = True
        at_once = int(os.environ.get(CONCURRENCY_VARIABLE, "1"))
        if at_once > 1:
            config.setdefault("concurrency_modifier", lambda _: at_once)
        start(config)

    serverless.start = start_as_asked
    defined = runpy.run_path(str(path), run_name="__main__")
    if started:
        return
    if not callable(defined.get("handler")):
        sys.exit(f'{path.name} neither calls runpod.serverless.start nor defines "handler"; add one of them')
    start_as_asked({"handler": defined["handler"]})


def start_watchdog() -> None:
    """Have all processes of this group killed at the end of standard input, which is then nobody's.

    The guard is a process of its own, since a handler may keep this one from ever running a thread again.
    """
    program = [WATCHDOG, "-c", "read _; kill -KILL 0"]
    subprocess.Popen(program, executable="/bin/sh", stdin=0, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


if __name__ == "__main__":
    main()
