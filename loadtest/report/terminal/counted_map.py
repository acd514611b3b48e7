"""How far a command is that computes for some seconds, on a terminal's last line; nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

MapFn = Callable[..., Iterable[Any]]


@contextmanager
def counted(map_fn: MapFn, what: str, console: Console) -> Iterator[MapFn]:
    """Yield a `map` that counts the items done on the terminal, as those of `what`.

    The plain `map` is yielded as it is, with the time that has passed in place of a count: what it maps over is
    computed only when a result is read.
    """
    if not console.is_terminal:
        yield map_fn
        return
    counts = () if map_fn is map else (BarColumn(), MofNCompleteColumn())
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *counts, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task, total = progress.add_task(what, total=0 if counts else None), 0

        def counting(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            nonlocal total
            given = list(items)
            total += len(given)
            progress.update(task, total=total)
            found = map_fn(function, given)  # at once, since a pool begins at this call
            return _advancing(found, lambda: progress.advance(task))

        yield counting if counts else map_fn


def _advancing(found: Iterable[Any], advance: Callable[[], None]) -> Iterator[Any]:
    for each in found:
        advance()
        yield each
