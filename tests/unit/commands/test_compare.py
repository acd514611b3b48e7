"""Several run directories compared: one page, tables, and a verdict only for runs of one kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.commands.compare import CompareRequest, compare_runs, comparison_of
from loadtest.errors import UsageError
from loadtest.record.directory import RunDirectory
from loadtest.record.run import Ending
from loadtest.report.pages.comparison import compare_html
from loadtest.scenario.model import Scenario
from tests.conftest import MadeUpRun
from tests.unit.report.pages.test_run import Page

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return `save(made, name)`, which writes a made-up run as a directory."""

    def put(made: MadeUpRun, name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        RunDirectory(folder).write_run(msgspec.structs.replace(made.run, id=name))
        for table in ("samples", "requests", "health"):
            pq.write_table(getattr(made, table), folder / f"{table}.parquet")
        return folder

    return put


def slower(made: MadeUpRun, times: float) -> MadeUpRun:
    """Return the same jobs with this many times the execution."""
    samples = made.samples
    reported = samples.column("execution_ms").to_numpy()
    more_ms = np.round(reported * times) - reported
    ended = samples.column("finished_at").to_numpy() + np.nan_to_num(more_ms) / 1000
    columns = {
        "execution_ms": pa.array(reported + more_ms, from_pandas=True).cast(pa.int64()),
        "finished_at": pa.array(ended, from_pandas=True),
    }
    for name, values in columns.items():
        samples = samples.set_column(samples.schema.get_field_index(name), samples.schema.field(name), values)
    return replace(made, samples=samples)


def compared(*runs: Path, tolerance: float = 0.05) -> tuple[dict[str, str], str | None, str]:
    """Return the verdict of each metric of the last run, why it has none, and the page."""
    comparison = comparison_of(runs, tolerance)
    last = comparison.runs[-1]
    return (
        {each.metric.name: each.standing.value for each in last.compared},
        last.no_verdict,
        compare_html(comparison),
    )


def test_twice_the_execution_is_worse_and_half_is_better(steady: MadeUpRun, save: Save) -> None:
    # The recorded health belongs to the jobs as they were.
    without_health = replace(steady, health=steady.health.slice(0, 0))
    usual, slow = save(without_health, "usual"), save(slower(without_health, 2.0), "slow")
    there, why, page = compared(usual, slow)
    assert (there["run execution_ms p95"], why) == ("worse", None)
    back, *_ = compared(slow, usual)
    assert back["run execution_ms p95"] == "better"
    ratios = [float(row[2]) for row in Page(page).rows["comparison"] if len(row) == 4]
    assert any(ratio == pytest.approx(2, rel=0.01) for ratio in ratios)


def test_runs_of_different_kinds_are_drawn_but_have_no_verdict(steady: MadeUpRun, save: Save) -> None:
    changed = dict(steady.run.scenario, job_timeout="100s")
    of = Scenario.model_validate(changed)
    other = replace(steady, run=msgspec.structs.replace(steady.run, scenario=changed, scenario_hash=of.hash()))
    _, why, page = compared(save(steady, "one"), save(other, "other"))
    assert why is not None
    assert why.startswith("one cannot be its baseline: its scenario is ")
    assert 'job_timeout is "600s" there and "100s" here' in why
    text = Page(page).text
    assert "No verdict on its ratios: one cannot be its baseline" in text
    assert "inconclusive" not in text
    assert '"600s"' in text
    assert '"100s"' in text


def test_run_that_is_invalid_or_was_cut_short_has_no_verdict(steady: MadeUpRun, save: Save) -> None:
    one = save(steady, "one")
    cut = replace(steady, run=msgspec.structs.replace(steady.run, ending=Ending.INTERRUPTED))
    bad = save(cut, "bad")
    assert "bad is not valid" in str(compared(one, bad)[1])
    assert "bad cannot be its baseline: that run was interrupted" in str(compared(bad, one)[1])


def test_page_is_complete_with_empty_runs_and_names_to_escape(
    steady: MadeUpRun, make_run: Callable[..., MadeUpRun], save: Save
) -> None:
    single = make_run(jobs=1)
    none = replace(single, samples=single.samples.slice(0, 0))
    runs = [save(steady, "a<b>&"), save(single, "single"), save(none, "none"), save(none, "none-2")]
    page = Page(compare_html(comparison_of(runs, 0.05)))
    assert page.outside == []
    assert len(page.ids) == len(set(page.ids))
    assert "a<b>&" in page.text
    specs = json.loads(page.scripts["specs"] or "")
    assert {"throughput", "delay-over-time", "in-flight", "delay-run-percentiles"} <= specs.keys()
    assert all(f"plot-{name}" in page.ids for name in specs)
    assert len(page.labels) == len(specs)
    assert all(label.endswith(".") for label in page.labels)
    nothing = Page(compare_html(comparison_of(runs[2:], 0.05)))
    assert "there is nothing to draw" in nothing.text


def test_runs_with_the_same_name_are_labelled_by_their_whole_path(
    steady: MadeUpRun, save: Save, tmp_path: Path
) -> None:
    one = save(steady, "one")
    (tmp_path / "more").mkdir()
    other = one.rename(tmp_path / "more" / "one")
    again = save(steady, "one")
    assert [each.label for each in comparison_of([again, other], 0.05).runs] == [str(again), str(other)]


def test_terminal_shows_differences_then_one_table_per_run(steady: MadeUpRun, save: Save, tmp_path: Path) -> None:
    out = StringIO()
    seeded = replace(steady, run=msgspec.structs.replace(steady.run, seed=9))
    request = CompareRequest([save(steady, "one"), save(seeded, "two")], tmp_path / "page.html")
    compare_runs(request, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert "differs: seed: 1 | 9" in lines
    assert "two against one" in lines
    assert any(line.startswith("throughput") and line.rstrip().endswith("no verdict") for line in lines)
    assert lines[-1].startswith("compared  ")
    assert max(len(line) for line in lines[:-1]) <= 80
    assert request.out.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("count", [1, 9])
def test_fewer_than_two_or_more_than_eight_runs_are_refused_before_any_is_read(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} runs cannot be compared; name 2 to 8, the baseline first"):
        compare_runs(CompareRequest([Path("none")] * count), Console())


def test_bad_usage_is_one_line(steady: MadeUpRun, save: Save, tmp_path: Path) -> None:
    runs = [str(save(steady, name)) for name in ("one", "two")]
    for options in (["--tolerance", "5"], ["--out", str(tmp_path / "no" / "page.html")]):
        refused = CliRunner().invoke(app, ["compare", *runs, *options])
        assert isinstance(refused.exception, UsageError)
        assert "\n" not in str(refused.exception)
