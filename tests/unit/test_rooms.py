"""The walls between the rooms that import contracts do not show: importing has no effect, and stays cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["loadtest.cli", "loadtest.results", "loadtest.supervise", "loadtest.serve.command"]
)
def test_nothing_but_drive_imports_gevent_or_locust(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'gevent', 'locust'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
