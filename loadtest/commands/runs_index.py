"""`loadtest reports`: an index page of a folder of runs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from loadtest.analyze.summary import Summary
from loadtest.errors import RunDirectoryError, UsageError
from loadtest.record.atomic_file import write_atomic
from loadtest.record.directory import RunDirectory
from loadtest.report.pages.runs_index import index_html
from loadtest.report.runs_index import IndexedRun

PAGE = "index.html"
_DEPTH = 2
"""Runs are found in the folder, and in its own folders, such as those of a search or the baselines."""


def write_index(folder: Path) -> tuple[Path, int]:
    """Write the index of the runs in a folder; return its path, and how many runs it has.

    Raises UsageError if the folder is missing or holds no run, RecordingError if the page cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name the folder that holds your runs")
    runs: list[IndexedRun] = []
    unreadable: list[tuple[str, str]] = []
    for path in _runs(folder):
        name = path.relative_to(folder).as_posix()
        try:
            runs.append(_read(RunDirectory(path), name))
        except RunDirectoryError as error:
            unreadable.append((name, str(error).removeprefix(f"{path}: ")))
    if not runs and not unreadable:
        raise UsageError(f"{folder}: holds no run; name the folder that holds your runs")
    page = folder / PAGE
    write_atomic(page, index_html(str(folder), runs, unreadable).encode())
    return page, len(runs)


def _runs(folder: Path) -> list[Path]:
    return sorted(
        found.parent for depth in range(1, _DEPTH + 1) for found in folder.glob("/".join(["*"] * depth) + "/run.json")
    )


def _read(directory: RunDirectory, name: str) -> IndexedRun:
    """Return a run from its results. Raises RunDirectoryError if it has none."""
    run = directory.read_run()
    build = f"build them with: loadtest report {directory.path}"
    try:
        summary = msgspec.json.decode(directory.summary.read_bytes(), type=Summary)
    except FileNotFoundError:
        raise RunDirectoryError(f"{directory.path}: has no results yet; {build}") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise RunDirectoryError(f"{directory.path}: its summary.json cannot be read: {error}; {build}") from None
    return IndexedRun(name, run.note, summary)
