from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.traffic.arrivals import Schedule, schedule
from loadtest.traffic.deal import Deal, closed_users, in_turn, works_from
from loadtest.traffic.settings import ClosedLoad, OpenLoad
from loadtest.traffic.shares import ALONE, NOWHERE, Place


def plan() -> Schedule:
    load = OpenLoad.model_validate({"arrivals": "constant", "stages": [{"rate": "10/s", "for": "10s"}]})
    return schedule(load, {"run": 0.5, "runsync": 0.5}, seed=3)


def take_all(deal: Deal, until_s: float = 1e9) -> list[int]:
    seqs = []
    while deal.untaken_by(until_s) and (arrival := deal.take()) is not None:
        assert arrival.at_s == arrival.seq / 10
        seqs.append(arrival.seq)
    return seqs


def test_every_arrival_is_dealt_once_and_in_order() -> None:
    deal = Deal(plan(), ALONE)
    assert take_all(deal) == list(range(100))
    assert deal.take() is None


def test_the_union_of_all_processes_is_the_schedule() -> None:
    hands = [Deal(plan(), Place(rank, 3)) for rank in range(3)]
    dealt = [take_all(deal) for deal in hands]
    assert sorted(seq for seqs in dealt for seq in seqs) == list(range(100))
    assert [deal.due_by(10.0) for deal in hands] == [34, 33, 33]


def test_one_who_has_no_place_has_no_arrivals() -> None:
    assert Deal(plan(), NOWHERE).take() is None


def test_what_is_due_and_what_nobody_took() -> None:
    deal = Deal(plan(), ALONE)
    assert deal.due_by(0.95) == 10
    assert deal.untaken_by(0.95) == 10
    take_all(deal, until_s=0.5)
    assert deal.untaken_by(0.95) == 4


def test_a_lost_process_arrivals_go_to_the_others_from_a_time_on() -> None:
    first, second, third = (Deal(plan(), Place(rank, 3)) for rank in range(3))
    ahead = {deal: take_all(deal, until_s=5.95) for deal in (first, second, third)}
    first.redeal(5.0, Place(0, 2))
    third.redeal(5.0, Place(1, 2))
    kept = [seq for deal in (first, third) for seq in ahead[deal] if deal.still_mine(seq)]
    late = [*take_all(first), *take_all(third)]
    assert len(set(kept) | set(late)) == len(kept) + len(late)
    assert set(kept) | set(late) >= set(range(50, 100))
    assert all(seq >= 50 for seq in late)


def test_an_arrival_taken_ahead_may_belong_to_another_now() -> None:
    deal = Deal(plan(), ALONE)
    arrivals = [deal.take() for _ in range(20)]
    deal.redeal(0.0, Place(1, 2))
    for arrival in arrivals:
        assert arrival is not None
        assert deal.still_mine(arrival.seq) == (arrival.seq % 2 == 1)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(0, 200))
def test_turns_keep_to_the_shares_all_along(weights: list[int], count: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    turns = in_turn(shares, count)
    for index, share in enumerate(shares):
        had = np.cumsum([turn == index for turn in turns])
        assert np.all(np.abs(had - share * np.arange(1, count + 1)) < len(shares))


def closed(*stages: tuple[str, str]) -> ClosedLoad:
    return ClosedLoad.model_validate({"model": "closed", "stages": [{"users": u, "for": d} for u, d in stages]})


def test_users_of_a_steady_stage_work_at_once_until_its_end() -> None:
    load = closed(("4", "10s"))
    assert [works_from(load, user, 0.0) for user in range(5)] == [(0.0, 0)] * 4 + [None]
    assert works_from(load, 0, 9.9) == (9.9, 0)
    assert works_from(load, 0, 10.0) is None


def test_a_ramp_lets_users_in_one_by_one_and_out_again() -> None:
    load = closed(("0 to 10", "10s"), ("10 to 0", "10s"))
    assert works_from(load, 0, 0.0) == (0.5, 0)
    assert works_from(load, 9, 0.0) == (9.5, 0)
    assert works_from(load, 9, 10.6) is None
    assert works_from(load, 0, 19.0) == (19.0, 1)


def test_a_user_waits_for_the_stage_that_wants_it() -> None:
    load = closed(("1", "10s"), ("3", "10s"))
    assert works_from(load, 2, 0.0) == (10.0, 1)


def test_the_fullest_stage_says_how_many_users_there_are() -> None:
    assert closed_users(closed(("1 to 7", "10s"), ("3", "10s"))) == 7
