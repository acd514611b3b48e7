from __future__ import annotations

import subprocess
import sys


def test_locusts_page_shows_what_locust_would_have_counted() -> None:
    reported = subprocess.run(
        [sys.executable, "-m", "tests.integration.locust_stats.driver"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert reported.returncode == 0, reported.stderr
