"""The progress of a run: redrawn on a terminal, else a line every few seconds."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from loadtest.process import DroppingStream
from loadtest.record.run import Progress
from loadtest.scenario.model import Scenario

LINE_EVERY_S = 5.0
PHASES = {"load": "sending", "drain": "waiting for the last jobs"}


class ProgressDisplay:
    """The display of a run's progress; a context manager, since a live display must be stopped.

    `waiting` is shown until there is progress. What a stopped reader does not take is dropped.
    """

    def __init__(self, scenario: Scenario, waiting: str = "") -> None:
        stream: Any = DroppingStream(sys.stderr) if sys.stderr is not None else None  # None: standard error is closed
        console = Console(file=stream, quiet=stream is None)
        self._waiting = waiting
        self._name = scenario.name
        self._duration_s = scenario.load.duration_s
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._next_line_s = 0.0
        self._phase = ""

    def __enter__(self) -> ProgressDisplay:
        if self._live is not None:
            self._live.start()
            self._live.update(Text(f"{self._name}: {self._waiting or 'starting'}"), refresh=True)
        elif self._waiting:
            self._console.print(f"{self._name}: {self._waiting}", highlight=False, soft_wrap=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Draw the latest state of the run."""
        if self._live is not None:
            self._live.update(self._panel(progress), refresh=True)
        elif progress.elapsed_s >= self._next_line_s or progress.phase != self._phase:
            self._phase = progress.phase
            self._next_line_s = progress.elapsed_s + LINE_EVERY_S
            self._console.print(self._line(progress), highlight=False, soft_wrap=True)

    def _line(self, now: Progress) -> str:
        parts = [
            f"{max(0.0, now.elapsed_s):5.0f} s",
            f"{now.stage}, {PHASES[now.phase]}",
            _rates(now),
            f"{now.in_flight} in flight",
            f"delay {_pair(now.delay_ms)}",
            f"execution {_pair(now.execution_ms)}",
            f"{now.throttled} × 429",
        ]
        return "  ".join(parts)

    def _panel(self, now: Progress) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", min_width=11)
        table.add_column()
        share = min(1.0, max(0.0, now.elapsed_s / self._duration_s))
        bar = "━" * round(share * 30)
        table.add_row(
            self._name, Text.assemble((bar, "cyan"), ("━" * (30 - len(bar)), "dim"), f" {now.left_s:.0f} s left")
        )
        table.add_row("stage", f"{now.stage}, {PHASES[now.phase]}")
        table.add_row("rate", _rates(now))
        if now.processes + now.lost > 1:
            table.add_row("processes", f"{now.processes} sending" + (f", {now.lost} lost" if now.lost else ""))
        table.add_row("jobs", f"{now.in_flight} in flight, {now.ended} ended, {now.not_completed} not completed")
        table.add_row("delay", _pair(now.delay_ms))
        table.add_row("execution", _pair(now.execution_ms))
        used = ", ".join(f"{op} {share:.0%}" for op, share in sorted(now.limit_used.items()))
        table.add_row("limits used", f"{used or '–'}; {now.throttled} × 429")
        return table


def _rates(now: Progress) -> str:
    achieved = f"{max(0.0, now.achieved_per_s):.1f}/s sent"
    return achieved if now.offered_per_s is None else f"{now.offered_per_s:.1f}/s offered, {achieved}"


def _pair(times_ms: tuple[int, int] | None) -> str:
    return "–" if times_ms is None else f"p50 {times_ms[0]} ms, p95 {times_ms[1]} ms"
