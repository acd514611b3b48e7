from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.protocol import Limit
from loadtest.traffic.arrivals import fullest
from loadtest.traffic.budget import MARGIN_S, RateBudget
from loadtest.traffic.shares import NOWHERE, Place, Shares, part

LIMIT = Limit(100, 10)
WINDOW_S = LIMIT.per_s + MARGIN_S


@given(st.integers(0, 5000), st.integers(1, 40))
def test_parts_are_the_whole(whole: int, processes: int) -> None:
    parts = [part(whole, Place(rank, processes)) for rank in range(processes)]
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1
    assert part(whole, NOWHERE) == 0


def joined(*processes: str) -> Shares:
    shares = Shares(LIMIT.per_s)
    for process in processes:
        shares.join(process)
    assert shares.due(0.0) == {name: Place(rank, len(processes)) for rank, name in enumerate(processes)}
    return shares


def test_those_who_begin_together_have_their_parts_at_once() -> None:
    assert joined("a", "b", "c").due(1.0) == {}


def test_a_newcomer_waits_until_the_others_gave_way_and_a_window_has_passed() -> None:
    shares = joined("a", "b")
    shares.join("c")
    assert shares.due(5.0) == {"a": Place(0, 3), "b": Place(1, 3)}
    assert shares.due(5.5) == {}
    shares.confirmed("a", Place(0, 3), 6.0)
    assert shares.due(30.0) == {}
    shares.confirmed("b", Place(1, 3), 31.0)
    assert shares.due(31.0 + WINDOW_S - 0.01) == {}
    assert shares.due(31.0 + WINDOW_S) == {"c": Place(2, 3)}


def test_an_answer_to_an_earlier_word_is_none_to_the_last() -> None:
    shares = joined("a")
    shares.join("b")
    assert shares.due(1.0) == {"a": Place(0, 2)}
    shares.join("c")
    assert shares.due(1.1) == {"a": Place(0, 3)}
    shares.confirmed("a", Place(0, 2), 1.2)
    assert shares.due(60.0) == {}
    shares.confirmed("a", Place(0, 3), 60.0)
    assert shares.due(60.0 + WINDOW_S) == {"b": Place(1, 3), "c": Place(2, 3)}


def test_what_a_lost_process_held_is_free_a_window_after_it_fell_silent() -> None:
    shares = joined("a", "b", "c")
    shares.lost("b", silent_at=8.0)
    assert shares.due(8.0 + WINDOW_S - 0.01) == {}
    assert shares.due(8.0 + WINDOW_S) == {"a": Place(0, 2), "c": Place(1, 2)}


def test_the_loss_of_one_that_had_nothing_changes_nothing() -> None:
    shares = joined("a")
    shares.join("b")
    shares.due(1.0)
    shares.lost("b", silent_at=2.0)
    shares.confirmed("a", Place(0, 2), 2.0)
    assert shares.due(2.0 + WINDOW_S) == {"a": Place(0, 1)}


events = st.lists(st.tuples(st.sampled_from(["join", "lose"]), st.floats(0, 12), st.floats(0, 2)), max_size=6)


@given(events, st.integers(0, 1000))
def test_all_processes_together_never_pass_the_limit(changes: list[tuple[str, float, float]], seed: int) -> None:
    """Each pushes as hard as it can; messages arrive up to 2 s late; a lost one sends on for as long."""
    random = np.random.default_rng(seed)
    shares = joined("p0", "p1")
    budgets = {name: RateBudget(LIMIT) for name in ("p0", "p1")}
    for rank, budget in enumerate(budgets.values()):
        budget.resize(part(LIMIT.requests, Place(rank, 2)))
    pending: list[tuple[float, str, Place]] = []
    dying: dict[str, float] = {}
    agenda = [(float(np.cumsum([gap for _, gap, _ in changes])[i]), *changes[i]) for i in range(len(changes))]
    sent: list[float] = []
    for now in np.arange(0.0, 60.0, 0.25):
        while agenda and agenda[0][0] <= now:
            _, kind, _, late_s = agenda.pop(0)
            if kind == "join":
                name = f"p{len(budgets)}"
                budgets[name] = RateBudget(LIMIT)
                budgets[name].resize(0)
                shares.join(name)
            elif len(shares.held) > 1:
                name = sorted(shares.held)[0]
                dying[name] = now + late_s
                shares.lost(name, now + late_s)
        for name, place in shares.due(float(now)).items():
            before = max((at for at, to, _ in pending if to == name), default=0.0)
            pending.append((max(before, float(now + random.uniform(0, 2))), name, place))
        for at, name, place in [each for each in pending if each[0] <= now]:
            budgets[name].resize(part(LIMIT.requests, place))
            shares.confirmed(name, place, float(now))
            pending.remove((at, name, place))
        for name, budget in budgets.items():
            while dying.get(name, np.inf) >= now and budget.next_at(float(now)) <= now:
                budget.take(float(now))
                sent.append(float(now))
    assert fullest(np.array(sent), LIMIT.per_s) <= LIMIT.requests
