"""The queue of workers that die has the times, ends and workers of the batch, and so of the whole model."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.capacity.simulation.mortal_workers import MortalWorkers
from loadtest.capacity.simulation.simulated_run import FAILED, UpIntervals, _of_mortal_workers, _run_of
from loadtest.endpoint.batch import Batch
from loadtest.endpoint.settings import EndpointSettings

SETTINGS = st.fixed_dictionaries(
    {
        "workers": st.integers(1, 5).map(lambda n: {"active": n, "max": n}),
        "service": st.just({"median": "1s", "sigma": 0.6}),
        "failure_rate": st.sampled_from(["0 %", "20 %"]),
        "crash_rate": st.sampled_from(["1 %", "10 %", "50 %"]),
        "tries": st.integers(1, 4),
        "take_pause": st.sampled_from(["0s", "150ms", {"after_job": "100ms"}]),
        "cold_start": st.sampled_from(["50ms", {"median": "2s", "sigma": 0.5}]),
    }
)


@given(SETTINGS, st.floats(0.05, 3.0), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_it_has_the_times_the_ends_and_the_workers_of_the_batch(
    config: dict[str, object], mean_gap_s: float, seed: int
) -> None:
    asked = EndpointSettings.model_validate(config)
    at_s = np.cumsum(np.random.default_rng(seed).exponential(mean_gap_s, 60))
    batch = Batch(asked, seed, at_s.tolist())
    end_at = float(at_s[-1])
    batch.run(end_at)
    whole, ours = _run_of(batch.jobs, batch.fleet.all_workers), _of_mortal_workers(asked, at_s, seed)
    assert ours is not None
    np.testing.assert_allclose(ours.taken_at, whole.taken_at, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.execution_s, whole.execution_s, rtol=0, atol=1e-9)
    assert ours.outcome.tolist() == whole.outcome.tolist()
    assert ours.start.tolist() == whole.start.tolist()
    assert sums(ours.up, end_at) == [round(each, 6) for each in sums(whole.up, end_at)]


def sums(up: UpIntervals, end_at: float) -> list[float]:
    return [round(each, 6) for each in (*up.up_and_billed_s(end_at / 5, end_at), up.initializing_s(0.0, end_at))]


def test_job_that_kills_its_workers_fails_and_the_next_one_waits_for_the_replacement() -> None:
    asked = EndpointSettings.model_validate(
        {"workers": {"active": 1, "max": 1}, "service": "1s", "crash_rate": "100 %", "tries": 2, "cold_start": "5s"}
    )
    run = MortalWorkers(asked, 1, np.array([0.0, 0.5]))
    run.run()
    first = run.stopped_at[:2]
    assert run.taken_at.tolist() == [first[0] + 5, run.ready_at[3]]
    assert run.ended_at[0] == first[1]
    assert run.failed.all()
    assert run.waited_for_start.all()
    assert run.started_at[1:] == run.stopped_at[:-1]
    outcome = _of_mortal_workers(asked, np.array([0.0, 0.5]), 1)
    assert outcome is not None
    assert outcome.outcome.tolist() == [FAILED, FAILED]


def test_try_longer_than_the_execution_timeout_needs_the_whole_model() -> None:
    limits = {"policy": {"execution_timeout": "5s"}, "service": ["60s", "1s"], "crash_rate": "50 %", "tries": 9}
    asked = EndpointSettings.model_validate({**limits, "workers": {"active": 2, "max": 2}, "cold_start": "0s"})
    needs = [_of_mortal_workers(asked, np.array([0.0]), seed) is None for seed in range(40)]
    assert 0 < sum(needs) < 40
