"""The walls between the rooms that import contracts do not show: importing has no effect, and stays cheap."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
for room in ("cli", "commands.results", "commands.run", "commands.gate", "commands.capacity", "commands.search",
             "serve.server"):
    __import__(f"loadtest.{room}")
    if {"gevent", "locust"} & set(sys.modules):
        sys.exit(f"loadtest.{room} imports gevent or locust")
    if "scipy.stats" in sys.modules:
        sys.exit(f"loadtest.{room} imports scipy.stats, for which every command would wait; take scipy.special")
"""

REFUSED = """
import sys
from loadtest.cli import main
sys.argv[1:] = ["run", "none.yaml"]
try:
    main()
finally:
    if slow := {"altair", "scipy"} & set(sys.modules):
        sys.exit(f"before it knows what to run, loadtest run imports {slow}, which nobody needs until it is over")
"""


def test_nothing_but_drive_imports_gevent_or_locust_and_nothing_what_is_slow() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_run_begins_before_what_builds_its_results_is_imported() -> None:
    ran = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (2, "loadtest: none.yaml: no such file; check the path\n")
