"""A handler as the target: an endpoint with real workers is started for the run, and gone after it."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.integration.conftest import Serve
from tests.integration.run.conftest import Finished, read_journal

HANDLER = Path(__file__).parents[3] / "examples" / "handler.py"
CHUNKS = Path(__file__).parents[1] / "handlers" / "chunks.py"
LOAD = {"arrivals": "constant", "stages": [{"rate": "2/s", "for": "5s"}]}


@pytest.mark.alone
def test_a_run_against_a_handler_shows_the_pause_of_the_sdk_and_leaves_nothing_running(
    run: Callable[..., Finished], tmp_path: Path
) -> None:
    handler = Path(shutil.copy(HANDLER, tmp_path))
    finished = run(
        {
            "target": {"handler": handler.name},
            "load": LOAD,
            "flows": {"run": {"polling": {"every": "50ms"}}},
            "endpoint": {"workers": {"active": 1, "max": 1}},
        }
    )
    assert finished.is_complete(), finished.stderr
    assert [row["outcome"] for row in finished.samples] == ["completed"] * 10
    taken_s = sorted(row["accepted_at"] + row["delay_ms"] / 1000 for row in finished.samples)
    # one job a second and worker, at twice the rate that it can do
    assert all(0.9 < later - earlier < 1.5 for earlier, later in pairwise(taken_s))
    assert max(row["execution_ms"] for row in finished.samples) < 700
    assert len(list((finished.out / "workers").glob("*.log"))) == 1
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert [command for command in commands if str(handler) in command] == []


def test_the_chunks_of_a_generator_are_seen_as_its_worker_posts_them(
    run: Callable[..., Finished], serve: Serve, tmp_path: Path
) -> None:
    server = serve({"workers": {"active": 2, "max": 2}}, handler=str(CHUNKS), logs=str(tmp_path / "logs"))
    load = {"arrivals": "constant", "stages": [{"rate": "1/s", "for": "5s"}]}
    flows = {"stream": {"input": {"count": 6, "gap_s": 0.05}, "polling": {"every": "10ms"}}}
    finished = run({"load": load, "flows": flows}, "--target", server.url)
    server.stop()
    known = read_journal(server.journal).jobs
    first_late_ms, gaps_off_ms = [], []
    for row in finished.samples:
        seen_at, came_at = finished.chunks_of(row), known[row["job_id"]]["chunks_at"]
        assert len(seen_at) == len(came_at) == 6
        first_late_ms.append((row["first_chunk_at"] - came_at[0]) * 1000)
        gaps_off_ms += [abs(gap) * 1000 for gap in np.diff(seen_at) - np.diff(came_at)]
    assert len(first_late_ms) == 5
    assert -1 < statistics.median(first_late_ms) < 5
    assert statistics.median(gaps_off_ms) < 5


def test_a_handler_that_cannot_start_ends_the_run_with_its_last_words(
    run: Callable[..., Finished], tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("import no_such_model\n")
    finished = run({"target": {"handler": "broken.py"}, "load": LOAD})
    assert finished.status == 5
    assert "No module named 'no_such_model'" in finished.run["reason"]
    assert finished.run["reason"].startswith("target: the endpoint did not start: loadtest: ")


def test_a_handler_that_is_not_there_is_refused(run: Callable[..., Finished]) -> None:
    finished = run({"target": {"handler": "no.py"}, "load": LOAD})
    assert finished.status == 2
    assert 'there is no file "no.py"' in finished.stderr
