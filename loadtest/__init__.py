"""Load tests for inference endpoints with a job queue; in a notebook, recorded runs as data frames."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadtest.errors import LoadtestError
    from loadtest.frames.run import PercentileMs, Run, read
    from loadtest.frames.runs import read_many

__all__ = ["LoadtestError", "PercentileMs", "Run", "read", "read_many"]
_HOMES = {
    "LoadtestError": "loadtest.errors",
    "PercentileMs": "loadtest.frames.run",
    "Run": "loadtest.frames.run",
    "read": "loadtest.frames.run",
    "read_many": "loadtest.frames.runs",
}
"""The modules of what a notebook uses, imported at its first use: pandas takes half a second."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("loadtest")
    if name not in _HOMES:
        raise AttributeError(f"module 'loadtest' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
