from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.protocol.operations import Limit
from loadtest.traffic.arrivals import max_in_window
from loadtest.traffic.limit_shares import NO_SHARE, Share, ShareAllocator, cancel_share, share_of
from loadtest.traffic.rate_limit import MARGIN_S, SlidingWindowLimiter

LIMIT = Limit(100, 10)
WINDOW_S = LIMIT.per_s + MARGIN_S


@given(st.integers(0, 5000), st.integers(1, 40))
def test_shares_add_up_to_the_whole(whole: int, processes: int) -> None:
    parts = [share_of(whole, Share(rank, processes)) for rank in range(processes)]
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1
    assert share_of(whole, NO_SHARE) == 0


@given(st.integers(1, 5000), st.integers(1, 20), st.integers(0, 19))
def test_shares_of_cancels_leave_that_of_a_lost_process_to_itself(whole: int, started: int, lost: int) -> None:
    lost = min(lost, started - 1)
    before = [share_of(whole, cancel_share(Share(rank, started), started)) for rank in range(started)]
    assert sum(before) == whole
    left = started - lost
    after = [share_of(whole, cancel_share(Share(rank, left), started)) for rank in range(left)]
    assert sum(after) + sum(sorted(before)[left:]) <= whole
    assert min(after) >= whole // started
    assert share_of(whole, cancel_share(NO_SHARE, started)) == 0


def joined(*processes: str) -> ShareAllocator:
    shares = ShareAllocator(LIMIT.per_s)
    for process in processes:
        shares.join(process)
    assert shares.pending_changes(0.0) == {name: Share(rank, len(processes)) for rank, name in enumerate(processes)}
    return shares


def test_processes_that_start_together_have_their_shares_at_once() -> None:
    assert joined("a", "b", "c").pending_changes(1.0) == {}


def test_a_newcomer_waits_until_the_others_confirm_and_a_window_has_passed() -> None:
    shares = joined("a", "b")
    shares.join("c")
    assert shares.pending_changes(5.0) == {"a": Share(0, 3), "b": Share(1, 3)}
    assert shares.pending_changes(5.5) == {}
    shares.confirmed("a", Share(0, 3), 6.0)
    assert shares.pending_changes(30.0) == {}
    shares.confirmed("b", Share(1, 3), 31.0)
    assert shares.pending_changes(31.0 + WINDOW_S - 0.01) == {}
    assert shares.pending_changes(31.0 + WINDOW_S) == {"c": Share(2, 3)}


def test_a_confirmation_of_an_earlier_share_does_not_confirm_the_last() -> None:
    shares = joined("a")
    shares.join("b")
    assert shares.pending_changes(1.0) == {"a": Share(0, 2)}
    shares.join("c")
    assert shares.pending_changes(1.1) == {"a": Share(0, 3)}
    shares.confirmed("a", Share(0, 2), 1.2)
    assert shares.pending_changes(60.0) == {}
    shares.confirmed("a", Share(0, 3), 60.0)
    assert shares.pending_changes(60.0 + WINDOW_S) == {"b": Share(1, 3), "c": Share(2, 3)}


def test_the_share_of_a_lost_process_is_free_a_window_after_its_last_message() -> None:
    shares = joined("a", "b", "c")
    shares.remove("b", silent_at=8.0)
    assert shares.pending_changes(8.0 + WINDOW_S - 0.01) == {}
    assert shares.pending_changes(8.0 + WINDOW_S) == {"a": Share(0, 2), "c": Share(1, 2)}


def test_the_loss_of_a_process_without_a_share_changes_nothing() -> None:
    shares = joined("a")
    shares.join("b")
    shares.pending_changes(1.0)
    shares.remove("b", silent_at=2.0)
    shares.confirmed("a", Share(0, 2), 2.0)
    assert shares.pending_changes(2.0 + WINDOW_S) == {"a": Share(0, 1)}


events = st.lists(st.tuples(st.sampled_from(["join", "lose"]), st.floats(0, 12), st.floats(0, 2)), max_size=6)


@given(events, st.integers(0, 1000))
def test_all_processes_together_never_pass_the_limit(changes: list[tuple[str, float, float]], seed: int) -> None:
    """Each process sends as fast as it can; messages arrive up to 2 s late; a lost process sends on for as long."""
    random = np.random.default_rng(seed)
    shares = joined("p0", "p1")
    budgets = {name: SlidingWindowLimiter(LIMIT) for name in ("p0", "p1")}
    for rank, budget in enumerate(budgets.values()):
        budget.set_limit(share_of(LIMIT.requests, Share(rank, 2)))
    pending: list[tuple[float, str, Share]] = []
    dying: dict[str, float] = {}
    agenda = [(float(np.cumsum([gap for _, gap, _ in changes])[i]), *changes[i]) for i in range(len(changes))]
    sent: list[float] = []
    for now in np.arange(0.0, 60.0, 0.25):
        while agenda and agenda[0][0] <= now:
            _, kind, _, late_s = agenda.pop(0)
            if kind == "join":
                name = f"p{len(budgets)}"
                budgets[name] = SlidingWindowLimiter(LIMIT)
                budgets[name].set_limit(0)
                shares.join(name)
            elif len(shares.allocated) > 1:
                name = sorted(shares.allocated)[0]
                dying[name] = now + late_s
                shares.remove(name, now + late_s)
        for name, share in shares.pending_changes(float(now)).items():
            before = max((at for at, to, _ in pending if to == name), default=0.0)
            pending.append((max(before, float(now + random.uniform(0, 2))), name, share))
        for at, name, share in [each for each in pending if each[0] <= now]:
            budgets[name].set_limit(share_of(LIMIT.requests, share))
            shares.confirmed(name, share, float(now))
            pending.remove((at, name, share))
        for name, budget in budgets.items():
            while dying.get(name, np.inf) >= now and budget.next_at(float(now)) <= now:
                budget.record(float(now))
                sent.append(float(now))
    assert max_in_window(np.array(sent), LIMIT.per_s) <= LIMIT.requests
