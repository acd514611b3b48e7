"""The signals that end a run."""

from __future__ import annotations

import signal

import pytest

from loadtest.errors import ExitCode
from loadtest.process import SIGNAL_EXIT_CODES, ending_signals


@pytest.mark.parametrize("ignored", list(SIGNAL_EXIT_CODES))
def test_only_an_ignored_hang_up_stays_ignored(monkeypatch: pytest.MonkeyPatch, ignored: signal.Signals) -> None:
    """A shell lets what runs in the background ignore SIGINT and SIGQUIT."""
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN if number is ignored else signal.SIG_DFL)
    assert set(SIGNAL_EXIT_CODES) - set(ending_signals()) == ({ignored} if ignored is signal.SIGHUP else set())


def test_every_ending_by_a_signal_is_documented() -> None:
    assert set(SIGNAL_EXIT_CODES.values()) == {ExitCode.SIGINT, ExitCode.SIGTERM}
