"""Locust as `loadtest run` and `loadtest worker` start it: its options steer it, and nothing else does.

It ends with the exit codes of `loadtest`: its own are taken for a gate that failed.
"""

from __future__ import annotations

import os
import signal
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


def main() -> None:
    """Run Locust; an error that it does not handle is an internal one."""
    exit_at_signals()
    try:
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


def run_locust() -> None:
    """Run Locust without its environment variables and configuration files, which are for `locust -f` by hand."""
    for name in [name for name in os.environ if name.startswith("LOCUST_")]:
        del os.environ[name]
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
