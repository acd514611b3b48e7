from __future__ import annotations

import subprocess
import sys


def test_batched_statistics_are_those_that_locust_would_have_counted() -> None:
    reported = subprocess.run(
        [sys.executable, "-m", "tests.integration.locust_stats.driver"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert reported.returncode == 0, reported.stderr
