"""What a command prepares before its first report: a process that has imported this is forked for each command."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from loadtest.commands.results import build_results
from loadtest.record.directory import RunDirectory

RECORDED = Path(__file__).parents[1] / "data" / "recorded" / "a"

with tempfile.TemporaryDirectory() as _folder:
    build_results(RunDirectory(Path(shutil.copytree(RECORDED, Path(_folder) / "run"))))
