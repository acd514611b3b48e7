"""Locust as `loadtest run` and `loadtest worker` start it: its options steer it, and nothing else does.

It ends with the exit codes of `loadtest`: its own are taken for a gate that failed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

from loadtest.errors import ExitCode, LoadtestError, internal_error
from loadtest.process import exit_at_signals

NO_MASTER = (1, -1)
"""How Locust ends if it cannot reach the master, or waits for workers in vain."""


PARENT = "--parent"
"""The option, which Locust does not see, that names the process that started this one."""
PARENT_CHECK_S = 0.5
WAIT = "--wait"
"""The option of a process that starts before its run is known."""
MAX_FDS = 32


def main() -> None:
    """Run Locust without its environment variables; an error that it does not handle is an internal one."""
    exit_at_signals()
    for name in [name for name in os.environ if name.startswith("LOCUST_")]:
        del os.environ[name]
    try:
        if sys.argv[1:] == [WAIT]:
            wait_for_run()
        run_locust()
    except SystemExit as end:
        sys.exit(ExitCode.ABORTED if end.code in NO_MASTER else end.code)
    except LoadtestError as error:
        sys.stderr.write(f"loadtest: {error}\n")
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        sys.stderr.write(f"loadtest: {internal_error(error)}\n")
        sys.exit(ExitCode.INTERNAL)


def wait_for_run() -> None:
    """Import what a run needs, then take arguments and file descriptors from the process that started this one.

    They come through the socket that is standard input. Ends this process if that one has ended.
    """
    import loadtest.drive.locust_process
    import loadtest.drive.shape  # noqa: F401

    link = socket.socket(fileno=os.dup(0))
    message, fds, _, _ = socket.recv_fds(link, 2**20, MAX_FDS)
    if not message:
        sys.exit(ExitCode.PASS)
    link.close()
    log, *fds = fds
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (1, 2):
        os.dup2(log, number)
    begin = json.loads(message)
    sys.argv[1:] = begin["arguments"]
    for option, count in begin["fds"].items():
        given, fds = fds[:count], fds[count:]
        sys.argv += [option, ",".join(map(str, given))] if option and given else []


def run_locust() -> None:
    """Run Locust without its configuration files, which are for `locust -f` by hand."""
    import gevent
    from locust import argument_parser
    from locust.main import main as locust

    make_parser = argument_parser.get_empty_argument_parser

    def without_files(add_help: bool = True, default_config_files: object = ()) -> Any:
        return make_parser(add_help, ())

    argument_parser.get_empty_argument_parser = without_files
    if PARENT in sys.argv:
        place = sys.argv.index(PARENT)
        gevent.spawn(end_with, int(sys.argv[place + 1]), gevent.sleep)
        del sys.argv[place : place + 2]
    locust()


def end_with(parent: int, sleep: Callable[[float], object]) -> None:
    """Wait until this process has another parent, then send it SIGTERM.

    Locust itself waits a minute for its workers, and they for a master that has died for as long.
    """
    while os.getppid() == parent:
        sleep(PARENT_CHECK_S)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
