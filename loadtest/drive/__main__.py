"""Locust as `loadtest run` and `loadtest worker` start it: its options steer it, and nothing else does."""

from __future__ import annotations

import os
from typing import Any


def main() -> None:
    """Run Locust without its environment variables and configuration files, which are for `locust -f` by hand."""
    for name in [name for name in os.environ if name.startswith("LOCUST_")]:
        del os.environ[name]
    from locust import argument_parser
    from locust.main import main as run_locust

    make_parser = argument_parser.get_empty_argument_parser

    def without_files(add_help: bool = True, default_config_files: object = ()) -> Any:
        return make_parser(add_help, ())

    argument_parser.get_empty_argument_parser = without_files
    run_locust()


if __name__ == "__main__":
    main()
