"""The index of a folder of runs: each run once, what cannot be read by name, and what changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.commands.runs_index import write_index
from loadtest.errors import UsageError

RECORDED = Path(__file__).parents[2] / "data" / "recorded" / "a"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recorded run with its results."""
    path = Path(shutil.copytree(RECORDED, tmp_path_factory.mktemp("built") / "run"))
    assert CliRunner().invoke(app, ["report", str(path)]).exit_code == 0
    return path


def add_run(built: Path, path: Path, day: int, factor: float = 1.0, valid: bool = True, note: str = "") -> None:
    """Add a copy of a run of another day, whose times are longer by a factor."""
    path.mkdir(parents=True)
    summary = json.loads((built / "summary.json").read_text())
    run = json.loads((built / "run.json").read_text()) | {"note": note}
    summary["run"]["started_at"] += 86_400 * day
    summary["validity"]["valid"] = valid
    for flow in summary["flows"].values():
        for times in (flow["end_to_end_ms"], flow["delay_ms"]):
            times["p95"] = (times["p95"] or 500.0) * factor
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "run.json").write_text(json.dumps(run))


def test_a_slower_release_is_named_with_its_run_and_invalid_runs_do_not_count(built: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for day in range(20):
        factor = float(rng.lognormal(0, 0.02)) * (1.4 if day >= 12 else 1.0)
        add_run(
            built,
            tmp_path / f"night-{day:02}",
            day,
            factor,
            note="<b>" if day == 3 else "",
        )
    add_run(built, tmp_path / "starved", 5, 9.0, valid=False)
    page, runs = write_index(tmp_path)
    text = page.read_text()
    assert runs == 21
    changes = text[text.index('class="changes"') : text.index("</ul>", text.index('class="changes"'))]
    assert changes.count("<li>") == 2
    assert changes.count('href="night-12/report.html"') == 2
    assert "end-to-end p95 from" in changes
    assert changes.count("(+38 %)") == 2
    assert text.count('/report.html">night-') == 20 + 2
    assert "&lt;b&gt;" in text


def test_runs_in_folders_of_a_search_are_found_and_what_cannot_be_read_is_named(built: Path, tmp_path: Path) -> None:
    add_run(built, tmp_path / "search" / "probe-01", 0)
    add_run(built, tmp_path / "no-results", 1)
    (tmp_path / "no-results" / "summary.json").unlink()
    add_run(built, tmp_path / "torn", 2)
    (tmp_path / "torn" / "summary.json").write_text("{")
    result = CliRunner().invoke(app, ["reports", str(tmp_path)])
    assert result.exit_code == 0
    assert result.stdout == f"1 run\nindex  {tmp_path / 'index.html'}\n"
    text = (tmp_path / "index.html").read_text()
    assert 'href="search/probe-01/report.html"' in text
    assert "has no results yet; build them with: loadtest report" in text
    assert "its summary.json cannot be read" in text


@pytest.mark.parametrize("name", ["none", "empty"])
def test_folder_without_runs_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="name the folder that holds your runs"):
        write_index(tmp_path / name)
    assert not list(tmp_path.rglob("index.html"))
