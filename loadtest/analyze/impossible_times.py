"""Times that cannot be: ends before their starts, negative times, and parts that are longer than the whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadtest.analyze.jobs import IMPOSSIBLE_MS, JobColumns


@dataclass(frozen=True)
class ImpossibleTimes:
    """The numbers of jobs, all and with any impossible time, and with each kind of it."""

    jobs: int
    impossible: int
    by_kind: dict[str, int]

    @property
    def share(self) -> float:
        """Return the share of the jobs with an impossible time, 0 to 1."""
        return self.impossible / self.jobs if self.jobs else 0.0


def impossible_times(jobs: JobColumns) -> ImpossibleTimes:
    """Return how many jobs have times that cannot be, by more than rounding and clocks explain."""
    slack_s = IMPOSSIBLE_MS / 1000
    starts = ((jobs.accepted_at, jobs.sent_at), (jobs.first_chunk_at, jobs.sent_at), (jobs.finished_at, jobs.sent_at))
    on_server_s = (np.nan_to_num(jobs.delay_ms) + np.nan_to_num(jobs.execution_ms)) / 1000
    negative = (jobs.delay_ms < -IMPOSSIBLE_MS) | (jobs.execution_ms < -IMPOSSIBLE_MS)
    kinds = {
        "ended before their start": np.any([end_at < start_at - slack_s for end_at, start_at in starts], axis=0),
        "have a negative delay or execution": negative,
        "report more delay and execution than their response took": (
            on_server_s > jobs.finished_at - jobs.sent_at + slack_s
        ),
    }
    any_kind = np.any(list(kinds.values()), axis=0)
    counts = {kind: int(np.count_nonzero(mask)) for kind, mask in kinds.items()}
    return ImpossibleTimes(len(jobs), int(np.count_nonzero(any_kind)), counts)
