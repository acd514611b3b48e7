"""Two runs of one scenario, compared: a page, a table, and exit code 0 whatever they say."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.run.conftest import LATE_IS_SOUND, Started, steady

pytestmark = pytest.mark.alone

FAST = {"workers": {"active": 10, "max": 10}, "service": "30ms"}


def test_two_runs_are_laid_over_each_other(
    start: Callable[..., Started], command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    asked = {**steady("40/s", "4s"), "endpoint": FAST, **LATE_IS_SOUND}
    at_once = [start(asked), start(asked, "--set", "endpoint.service=90ms")]
    first, slow = (begun.finish() for begun in at_once)
    assert first.is_complete()
    assert slow.is_complete()
    page = tmp_path / "page.html"
    reported = command("compare", str(first.out), str(slow.out), "--out", str(page))
    assert (reported.returncode, reported.stderr) == (0, "")
    assert 'differs: endpoint.service.constant: "30ms" | "90ms"' in reported.stdout
    assert "run1 against run0" in reported.stdout
    assert "worse" in reported.stdout
    assert page.read_text().startswith("<!doctype html>")
    again = command("compare", str(first.out), str(first.out), "--out", str(page))
    assert (again.returncode, "inconclusive" in again.stdout) == (0, True)
    refused = command("compare", str(first.out))
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
