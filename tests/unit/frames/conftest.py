"""Recorded runs in the folder `reports` of a directory of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

RECORDED = Path(__file__).parents[2] / "data" / "recorded"


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a", "b", "c"):
        shutil.copytree(RECORDED / name, tmp_path / "reports" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "reports"
