"""Which jobs repeat an input: the same ones in every process, and never a repeat of a repeat."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.traffic.repeats import RepeatPlan

JOBS = 3000


@pytest.mark.parametrize("every", [2, 5, 20])
def test_one_job_of_each_so_many_repeats_an_earlier_one_that_is_no_repeat(every: int) -> None:
    plan = RepeatPlan(every, seed=3, flow=0)
    repeats, sources = plan.pairs(JOBS)
    assert len(repeats) == JOBS // every - 1
    assert (sources < repeats).all()
    assert not set(sources) & set(repeats)
    assert np.unique(repeats // every).tolist() == list(range(1, JOBS // every))
    expected = dict(zip(repeats.tolist(), sources.tolist(), strict=True))
    assert {seq: plan.source_of(seq) for seq in range(JOBS)} == {seq: expected.get(seq, seq) for seq in range(JOBS)}


def test_some_repeats_follow_closely_and_others_late() -> None:
    repeats, sources = RepeatPlan(5, seed=1, flow=0).pairs(JOBS)
    distance = repeats - sources
    assert np.mean(distance < 50) > 0.08
    assert np.mean(distance > 300) > 0.3


def test_jobs_of_a_flow_repeat_jobs_of_that_flow() -> None:
    seqs = np.flatnonzero(np.random.default_rng(2).random(JOBS) < 0.3)
    plan = RepeatPlan(5, seed=1, flow=2, seqs=seqs)
    repeats, sources = plan.pairs(len(seqs))
    assert set(repeats) | set(sources) <= set(seqs)
    assert [plan.source_of(int(seq)) for seq in repeats] == sources.tolist()


def test_the_seed_and_the_flow_decide_and_an_unfinished_block_is_cut() -> None:
    first, other, flow = (
        RepeatPlan(5, seed, number).pairs(203)[0].tolist() for seed, number in ((1, 0), (2, 0), (1, 1))
    )
    assert first == RepeatPlan(5, 1, 0).pairs(203)[0].tolist()
    assert first != other
    assert first != flow
    assert max(first + other + flow) < 203
