from __future__ import annotations

from loadtest.traffic.arrivals import schedule
from loadtest.traffic.deal import Deal, closed_users, works_from
from loadtest.traffic.settings import ClosedLoad, OpenLoad


def dealt() -> Deal:
    load = OpenLoad.model_validate({"arrivals": "constant", "stages": [{"rate": "10/s", "for": "10s"}]})
    return Deal(schedule(load, {"run": 0.5, "runsync": 0.5}, seed=3))


def test_every_arrival_is_dealt_once_and_in_order() -> None:
    deal = dealt()
    seen = {flow: [] for flow in ("run", "runsync")}  # type: dict[str, list[int]]
    for flow, seqs in seen.items():
        while (arrival := deal.take(flow)) is not None:
            assert arrival.at_s == arrival.seq / 10
            seqs.append(arrival.seq)
        assert seqs == sorted(seqs)
    assert sorted(seen["run"] + seen["runsync"]) == list(range(100))


def test_what_is_due_and_what_nobody_took() -> None:
    deal = dealt()
    assert deal.due_by(0.95) == 10
    assert deal.due_between("run", -1, 0.95) + deal.due_between("runsync", -1, 0.95) == 10
    assert deal.untaken_by(0.95) == 10
    while (arrival := deal.take("run")) is not None and arrival.at_s < 5:
        pass
    assert deal.untaken_by(0.95) == deal.due_between("runsync", -1, 0.95)


def closed(*stages: tuple[str, str]) -> ClosedLoad:
    return ClosedLoad.model_validate({"model": "closed", "stages": [{"users": u, "for": d} for u, d in stages]})


def test_users_of_a_steady_stage_work_at_once_until_its_end() -> None:
    load = closed(("4", "10s"))
    assert [works_from(load, 1.0, user, 0.0) for user in range(5)] == [(0.0, 0)] * 4 + [None]
    assert works_from(load, 1.0, 0, 9.9) == (9.9, 0)
    assert works_from(load, 1.0, 0, 10.0) is None


def test_a_ramp_lets_users_in_one_by_one_and_out_again() -> None:
    load = closed(("0 to 10", "10s"), ("10 to 0", "10s"))
    assert works_from(load, 1.0, 0, 0.0) == (0.5, 0)
    assert works_from(load, 1.0, 9, 0.0) == (9.5, 0)
    assert works_from(load, 1.0, 9, 10.6) is None
    assert works_from(load, 1.0, 0, 19.0) == (19.0, 1)


def test_a_user_waits_for_the_stage_that_wants_it() -> None:
    load = closed(("1", "10s"), ("3", "10s"))
    assert works_from(load, 1.0, 2, 0.0) == (10.0, 1)


def test_shares_divide_the_users() -> None:
    load = closed(("10", "10s"))
    assert closed_users(load, 0.7) + closed_users(load, 0.3) == 10
    assert [works_from(load, 0.3, user, 0.0) is not None for user in range(4)] == [True, True, True, False]
