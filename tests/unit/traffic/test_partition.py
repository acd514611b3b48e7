from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.traffic.arrivals import Schedule, draw_schedule
from loadtest.traffic.limit_shares import NO_SHARE, WHOLE, Share
from loadtest.traffic.partition import SchedulePartition, max_users, next_active_period, weighted_round_robin
from loadtest.traffic.settings import ClosedLoad, OpenLoad


def plan() -> Schedule:
    load = OpenLoad.model_validate({"arrivals": "constant", "stages": [{"rate": "10/s", "for": "10s"}]})
    return draw_schedule(load, {"run": 0.5, "runsync": 0.5}, seed=3)


def take_all(partition: SchedulePartition, until_s: float = 1e9) -> list[int]:
    seqs = []
    while partition.pending_by(until_s) and (arrival := partition.next()) is not None:
        assert arrival.at_s == arrival.seq / 10
        seqs.append(arrival.seq)
    return seqs


def test_every_arrival_is_assigned_once_and_in_order() -> None:
    partition = SchedulePartition(plan(), WHOLE)
    assert take_all(partition) == list(range(100))
    assert partition.next() is None


def test_the_union_of_all_processes_is_the_schedule() -> None:
    generators = [SchedulePartition(plan(), Share(rank, 3)) for rank in range(3)]
    taken = [take_all(partition) for partition in generators]
    assert sorted(seq for seqs in taken for seq in seqs) == list(range(100))
    assert [partition.due_by(10.0) for partition in generators] == [34, 33, 33]


def test_a_process_without_a_share_has_no_arrivals() -> None:
    assert SchedulePartition(plan(), NO_SHARE).next() is None


def test_due_and_pending_arrivals_are_counted() -> None:
    partition = SchedulePartition(plan(), WHOLE)
    assert partition.due_by(0.95) == 10
    assert partition.pending_by(0.95) == 10
    take_all(partition, until_s=0.5)
    assert partition.pending_by(0.95) == 4


def test_arrivals_of_a_lost_process_go_to_the_others_from_a_time_on() -> None:
    first, second, third = (SchedulePartition(plan(), Share(rank, 3)) for rank in range(3))
    ahead = {partition: take_all(partition, until_s=5.95) for partition in (first, second, third)}
    first.reassign(5.0, Share(0, 2))
    third.reassign(5.0, Share(1, 2))
    kept = [seq for partition in (first, third) for seq in ahead[partition] if partition.owns(seq)]
    late = [*take_all(first), *take_all(third)]
    assert len(set(kept) | set(late)) == len(kept) + len(late)
    assert set(kept) | set(late) >= set(range(50, 100))
    assert all(seq >= 50 for seq in late)


def test_an_arrival_taken_in_advance_may_be_reassigned() -> None:
    partition = SchedulePartition(plan(), WHOLE)
    arrivals = [partition.next() for _ in range(20)]
    partition.reassign(0.0, Share(1, 2))
    for arrival in arrivals:
        assert arrival is not None
        assert partition.owns(arrival.seq) == (arrival.seq % 2 == 1)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(0, 200))
def test_turns_keep_to_the_shares_at_every_point(weights: list[int], count: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    turns = weighted_round_robin(shares, count)
    for index, share in enumerate(shares):
        had = np.cumsum([turn == index for turn in turns])
        assert np.all(np.abs(had - share * np.arange(1, count + 1)) < len(shares))


def closed(*stages: tuple[str, str]) -> ClosedLoad:
    return ClosedLoad.model_validate({"model": "closed", "stages": [{"users": u, "for": d} for u, d in stages]})


def test_users_of_a_steady_stage_work_at_once_until_its_end() -> None:
    load = closed(("4", "10s"))
    assert [next_active_period(load, user, 0.0) for user in range(5)] == [(0.0, 0)] * 4 + [None]
    assert next_active_period(load, 0, 9.9) == (9.9, 0)
    assert next_active_period(load, 0, 10.0) is None


def test_a_ramp_lets_users_in_one_by_one_and_out_again() -> None:
    load = closed(("0 to 10", "10s"), ("10 to 0", "10s"))
    assert next_active_period(load, 0, 0.0) == (0.5, 0)
    assert next_active_period(load, 9, 0.0) == (9.5, 0)
    assert next_active_period(load, 9, 10.6) is None
    assert next_active_period(load, 0, 19.0) == (19.0, 1)


def test_a_user_waits_for_the_stage_that_needs_it() -> None:
    load = closed(("1", "10s"), ("3", "10s"))
    assert next_active_period(load, 2, 0.0) == (10.0, 1)


def test_max_users_is_that_of_the_largest_stage() -> None:
    assert max_users(closed(("1 to 7", "10s"), ("3", "10s"))) == 7
