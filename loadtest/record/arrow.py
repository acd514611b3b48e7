"""pyarrow without pandas, which it looks for at its first array, and whose import takes most of a second."""

from __future__ import annotations

import sys

import pyarrow as pa


def ignore_pandas() -> None:
    """Let pyarrow not import pandas by itself, unless this process has imported it already.

    pyarrow looks for pandas once. If it is asked for a data frame later, it imports pandas then.
    """
    if "pandas" in sys.modules:
        return
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)


class _Hidden:
    """A finder of modules by which pandas is not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise ImportError for pandas; leave other modules to the next finder."""
        if name == "pandas":
            raise ImportError("pandas is not looked for here")
