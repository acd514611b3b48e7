"""Check what loadtest claims about chance, by simulated systems whose truth is known; prints Markdown tables.

A part is a function in a module `truth_*` that returns the lines of its table; `PARTS` names them all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from benchmarks import truth_percentiles


def percentiles() -> list[str]:
    """Return the table of gates and intervals of percentiles."""
    return truth_percentiles.table(list(truth_percentiles.cells()))


PARTS: dict[str, Callable[[], list[str]]] = {"percentiles": percentiles}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables of the named parts, or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to check; all if none is named")
    for name in parser.parse_args(argv).parts or PARTS:
        started_s = time.perf_counter()
        print(f"\n{name}, {truth_percentiles.RUNS} runs a cell, in percent:\n", flush=True)
        print("\n".join(PARTS[name]()), flush=True)
        print(f"\n{time.perf_counter() - started_s:.0f} s", flush=True)


if __name__ == "__main__":
    main()
