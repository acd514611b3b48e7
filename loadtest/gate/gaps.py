"""The gaps between tokens as a gate measures them: those of all jobs together, with the jobs as independent ones."""

from __future__ import annotations

import numpy as np

from loadtest.arrays import Floats
from loadtest.gate.inputs import NO_WORKER, GateInputs
from loadtest.gate.measures import Times, in_order, of_flows
from loadtest.scenario.metrics import Metric


def gap_times(inputs: GateInputs) -> Times:
    """Return the gaps between tokens of the selected jobs, in the order of their intended start.

    A job that did not complete lacks at least one more, which lasted from its last content until it ended.
    """
    jobs, indices = inputs.jobs, in_order(inputs, of_flows(inputs, Metric.ITL.spec.flows))
    pooled = inputs.gaps.of(indices)
    silent_ms = (inputs.last_seen_at() - jobs.last_content_at)[indices] * 1000
    waited_ms = np.where(jobs.completed[indices], 0.0, np.nan_to_num(np.maximum(0.0, silent_ms)))
    n, job = len(pooled.values_ms), np.repeat(np.arange(len(indices)), pooled.counts)
    lacking = np.flatnonzero(np.isnan(pooled.values_ms))
    first = lacking[np.unique(job[lacking], return_index=True)[1]]
    bounds_ms: Floats = np.zeros(n)
    bounds_ms[first] = waited_ms[job[first]]
    no_worker = np.full(n, NO_WORKER, np.int32)
    return Times(pooled.values_ms, bounds_ms, no_worker, counts=pooled.counts[pooled.counts > 0])
