"""Locust as `loadtest run` and `loadtest worker` start it: its options steer it, and nothing else does.

It ends with the exit codes of `loadtest`: its own are taken for a gate that failed.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from loadtest.errors import ExitCode, LoadtestError, internal_error
from loadtest.process import exit_at_signals

NO_MASTER = (1, -1)
"""How Locust ends if it cannot reach the master, or waits for workers in vain."""


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
    from locust import argument_parser
    from locust.main import main as locust

    make_parser = argument_parser.get_empty_argument_parser

    def without_files(add_help: bool = True, default_config_files: object = ()) -> Any:
        return make_parser(add_help, ())

    argument_parser.get_empty_argument_parser = without_files
    locust()


if __name__ == "__main__":
    main()
