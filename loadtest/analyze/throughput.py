"""The span in which jobs could complete: rates of completed jobs count over it.

A job that takes 10 s cannot complete in the first 10 s, and the jobs of the last 10 s complete after the load. Over a
minute of load, 5/s of such jobs would be 4.2/s, however well the endpoint keeps up.
"""

from __future__ import annotations

import numpy as np

from loadtest.analyze.jobs import JobColumns, LoadWindow, last_event_at
from loadtest.arrays import Mask
from loadtest.record.sample import Outcome
from loadtest.scenario.metrics import Metric


def completion_window(jobs: JobColumns, among: Mask, window: LoadWindow) -> LoadWindow:
    """Return the window moved by the mean execution of these jobs.

    Waiting is no part of it: an endpoint that does not keep up must not look as if it did. If the server does not
    report executions, it is the shortest response, and if no job completed, nothing is moved. If jobs were unfinished
    at the end of the run, the window does not reach beyond it: the client no longer looked.
    """
    completed = among & jobs.completed
    execution_ms, response_ms = jobs.execution_ms[completed], jobs.times_ms(Metric.RESPONSE)[completed]
    if not np.isnan(execution_ms).all():
        after_s = max(0.0, float(np.nanmean(execution_ms))) / 1000
    elif len(response_ms):
        after_s = max(0.0, float(response_ms.min())) / 1000
    else:
        return window
    end_at = window.end_at + after_s
    if np.any(jobs.ended(Outcome.CENSORED)):
        end_at = min(end_at, max(window.end_at, last_event_at(jobs, default=window.end_at)))
    return LoadWindow(min(window.start_at + after_s, end_at), end_at)
