"""The ways to drive a job, by name."""

from __future__ import annotations

from typing import Literal

FlowName = Literal["run", "runsync", "stream", "webhook"]
