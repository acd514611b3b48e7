"""Import rules that the contracts do not show: importing a module has no effect, and no command is slow to start."""

from __future__ import annotations

import subprocess
import sys

IMPORT_EVERY_COMMAND = """
import sys
for name in ("cli", "serve.server", "commands.results", "commands.run", "commands.gate", "commands.capacity",
             "commands.search"):
    __import__(f"loadtest.{name}")
    if {"gevent", "locust"} & set(sys.modules):
        sys.exit(f"loadtest.{name} imports gevent or locust")
    if "scipy.stats" in sys.modules:
        sys.exit(f"loadtest.{name} imports scipy.stats, which delays every command; use scipy.special")
    if name == "commands.gate" and "altair" in sys.modules:
        sys.exit("loadtest gate imports altair, which only pages need")
"""

RUN_A_MISSING_SCENARIO = """
import sys
from loadtest.cli import main
sys.argv[1:] = ["run", "none.yaml"]
try:
    main()
finally:
    if slow := {"altair", "scipy"} & set(sys.modules):
        sys.exit(f"loadtest run imports {slow} before it starts; only the results need them")
"""


def ended(program: str) -> tuple[int, str]:
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stderr


IMPORT_THE_PACKAGE = """
import sys
from importlib.metadata import version
import loadtest
if slow := {"numpy", "pandas", "pyarrow", "pydantic", "typer"} & set(sys.modules):
    sys.exit(f"import loadtest imports {slow}; only its functions need them")
if loadtest.__version__ != version("loadtest"):
    sys.exit(f"loadtest says that it is {loadtest.__version__}")
if not {"read", "read_many"} <= set(dir(loadtest)) or hasattr(loadtest, "write"):
    sys.exit("loadtest lists what it does not have, or not what it has")
loadtest.read
if "pandas" not in sys.modules:
    sys.exit("loadtest.read came without pandas")
"""


def test_the_package_imports_nothing_until_it_is_used() -> None:
    assert ended(IMPORT_THE_PACKAGE) == (0, "")


def test_only_drive_imports_gevent_or_locust_nothing_scipy_stats_and_gate_no_altair() -> None:
    assert ended(IMPORT_EVERY_COMMAND) == (0, "")


def test_run_starts_before_it_imports_what_builds_its_results() -> None:
    assert ended(RUN_A_MISSING_SCENARIO) == (2, "loadtest: none.yaml: no such file; check the path\n")
