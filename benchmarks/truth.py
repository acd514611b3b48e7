"""Check what loadtest claims about chance, by simulated systems whose truth is known; prints Markdown tables.

Each part yields the lines of a table, from a number of runs a cell and an executor for its cells.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial

from benchmarks import truth_comparison, truth_percentiles, truth_steady
from benchmarks.queues import SYSTEMS, UNSEEN

RUNS = 300
PARTS: dict[str, Callable[[int, Executor], Iterator[str]]] = {
    "percentiles": partial(truth_percentiles.table, SYSTEMS),
    "unseen": partial(truth_percentiles.table, UNSEEN),
    "steady": truth_steady.table,
    "comparison": truth_comparison.table,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables of the named parts, or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to check; all if none is named")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs a cell; {RUNS} unless given")
    parser.add_argument("--processes", type=int, default=2, help="how many cells at once; 2 unless given")
    asked = parser.parse_args(argv)
    for name in asked.parts or PARTS:
        started_s = time.perf_counter()
        print(f"\n{name}, {asked.runs} runs a cell, in percent:\n", flush=True)
        with ProcessPoolExecutor(asked.processes) as pool:
            for line in PARTS[name](asked.runs, pool):
                print(line, flush=True)
        print(f"\n{time.perf_counter() - started_s:.0f} s", flush=True)


if __name__ == "__main__":
    main()
