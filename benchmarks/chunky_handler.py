"""A handler for `benchmarks.chunks`: a generator that notes in a file when it gave each chunk to the SDK."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTES_VARIABLE = "CHUNKS_NOTED_IN"
"""Names the folder for the notes, one file a job."""


def handler(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Gives `count` chunks, `gap_s` apart."""
    given_at = []
    for index in range(job["input"]["count"]):
        time.sleep(job["input"]["gap_s"])
        given_at.append(time.time())
        yield {"index": index}
    Path(os.environ[NOTES_VARIABLE], job["id"]).write_text(json.dumps(given_at))
