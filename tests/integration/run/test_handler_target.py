"""A handler as the target: an endpoint with real workers is started for the run, and gone after it."""

from __future__ import annotations

import shutil
import statistics
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.integration.conftest import Serve
from tests.integration.run.conftest import LATE_IS_SOUND, Run, journal_of, open_load

HANDLER = Path(__file__).parents[3] / "examples" / "handler.py"
CHUNKS = Path(__file__).parents[1] / "handlers" / "chunks.py"


def test_run_against_a_handler_shows_the_pause_of_the_sdk_and_leaves_no_process(run: Run, tmp_path: Path) -> None:
    handler = Path(shutil.copy(HANDLER, tmp_path))
    scenario = open_load("2/s", "3s", arrivals="constant", flows={"run": {"polling": {"every": "50ms"}}})
    finished = run(
        {**scenario, "target": {"handler": handler.name}, "endpoint": {"workers": {"active": 1, "max": 1}}}
    )
    assert finished.is_complete(), finished.stderr
    assert [row["outcome"] for row in finished.samples] == ["completed"] * 6
    taken_s = sorted(row["accepted_at"] + row["delay_ms"] / 1000 for row in finished.samples)
    # one job a second and worker, at twice the rate that it can do
    gaps_s = [later - earlier for earlier, later in pairwise(taken_s)]
    assert min(gaps_s) > 0.8
    assert statistics.median(gaps_s) < 1.5
    assert statistics.median(row["execution_ms"] for row in finished.samples) < 700
    assert len(list((finished.out / "workers").glob("*.log"))) == 1
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert [command for command in commands if str(handler) in command] == []


@pytest.mark.alone
def test_chunks_of_a_generator_handler_are_seen_as_its_worker_posts_them(
    run: Run, serve: Serve, tmp_path: Path
) -> None:
    server = serve({"workers": {"active": 2, "max": 2}}, handler=str(CHUNKS), logs=str(tmp_path / "logs"))
    flows = {"stream": {"input": {"count": 6, "gap_s": 0.05}, "polling": {"every": "10ms"}}}
    finished = run(open_load("1/s", "4s", arrivals="constant", flows=flows, **LATE_IS_SOUND), "--target", server.url)
    jobs = journal_of(server).jobs
    first_late_ms, gaps_off_ms = [], []
    for row in finished.samples:
        seen_at, posted_at = finished.chunks_of(row), jobs[row["job_id"]]["chunks_at"]
        assert len(seen_at) == len(posted_at) == 6
        first_late_ms.append((row["first_chunk_at"] - posted_at[0]) * 1000)
        gaps_off_ms += [abs(gap) * 1000 for gap in np.diff(seen_at) - np.diff(posted_at)]
    assert len(first_late_ms) == 4
    assert -1 < statistics.median(first_late_ms) < 5
    assert statistics.median(gaps_off_ms) < 5


def test_handler_that_cannot_start_ends_the_run_with_its_last_words(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_model\n")
    finished = run(open_load("2/s", "3s", target={"handler": "broken.py"}))
    assert finished.status == 5
    assert "No module named 'no_such_model'" in finished.run["reason"]
    assert finished.run["reason"].startswith("target: ")
