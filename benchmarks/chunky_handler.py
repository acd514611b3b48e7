"""A handler for `benchmarks.chunks`: a generator that writes to a file when it yielded each chunk to the SDK."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTES_VARIABLE = "CHUNKS_NOTED_IN"
"""The variable with the folder for the notes, one file per job."""


def handler(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield `count` chunks, `gap_s` apart."""
    yielded_at = []
    for index in range(job["input"]["count"]):
        time.sleep(job["input"]["gap_s"])
        yielded_at.append(time.time())
        yield {"index": index}
    Path(os.environ[NOTES_VARIABLE], job["id"]).write_text(json.dumps(yielded_at))
