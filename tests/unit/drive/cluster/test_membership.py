from __future__ import annotations

import pytest

from loadtest.drive.cluster.membership import ABANDON_AFTER_S, REASSIGN_DELAY_S, Membership
from loadtest.drive.cluster.messages import Assignment, Pong, RunFinished, StatusReport
from loadtest.record.progress import ProcessCounts
from loadtest.traffic.limit_shares import NO_SHARE, Share
from loadtest.traffic.rate_limit import MARGIN_S

WINDOW_S, LOST_AFTER_S, LEASE_S = 10.0, 3.0, 4.0
QUIET = StatusReport(ProcessCounts(0, 0, 0, 0, 0, 0, None, {}, []), 0.0, 0, False, False, None, None)


def membership(*names: str) -> Membership:
    made = Membership(WINDOW_S, LOST_AFTER_S, LEASE_S)
    for name in names:
        made.add(name, 0.0)
    assert made.start_all(list(names), 0.0) == {name: Share(rank, len(names)) for rank, name in enumerate(names)}
    return made


def report(made: Membership, now: float, *names: str) -> None:
    for name in names:
        made.record_report(name, QUIET, now)


def test_the_clock_is_read_from_the_shortest_round_trip() -> None:
    made = Membership(WINDOW_S, LOST_AFTER_S, LEASE_S)
    made.record_pong("a", Pong(sent_at=10.0, at=112.0, pid=7, host="h"), now=14.0)
    assert made.generators["a"].clock_offset_s == 100.0
    made.record_pong("a", Pong(sent_at=20.0, at=120.6, pid=7, host="h"), now=20.2)
    assert made.generators["a"].clock_offset_s == pytest.approx(100.5)
    made.record_pong("a", Pong(sent_at=30.0, at=131.9, pid=7, host="h"), now=33.0)
    assert made.generators["a"].clock_offset_s == pytest.approx(100.5)


def test_nothing_is_said_while_nothing_changes() -> None:
    made = membership("a", "b")
    report(made, 1.0, "a", "b")
    assert made.pending_assignments(1.0) == {}
    assert made.newly_lost(1.0) == []


def test_the_others_carry_the_schedule_on_at_once_and_have_the_share_later() -> None:
    made = membership("a", "b", "c")
    report(made, 5.0, "a", "c")
    assert made.newly_lost(5.0) == ["b"]
    assert made.newly_lost(5.5) == []
    assert made.pending_assignments(5.0) == {
        "a": Assignment(None, Share(0, 2), 5.0 + REASSIGN_DELAY_S),
        "c": Assignment(None, Share(1, 2), 5.0 + REASSIGN_DELAY_S),
    }
    free_at = LEASE_S + WINDOW_S + MARGIN_S
    report(made, free_at, "a", "c")
    assert made.pending_assignments(free_at - 0.1) == {}
    assert made.pending_assignments(free_at) == {
        "a": Assignment(share=Share(0, 2)),
        "c": Assignment(share=Share(1, 2)),
    }
    assert made.lost() == 1
    assert made.at_work() == ["a", "c"]


def test_a_newcomer_is_dealt_in_when_it_has_its_share() -> None:
    made = membership("a")
    made.add("b", 4.0)
    assert made.start_late("b", 4.0) == NO_SHARE
    assert made.pending_assignments(4.0) == {"a": Assignment(share=Share(0, 2))}
    made.confirm("a", Share(0, 2), 4.5)
    later = 4.5 + WINDOW_S + MARGIN_S
    assert made.pending_assignments(later - 0.1) == {}
    assert made.pending_assignments(later) == {
        "a": Assignment(None, Share(0, 2), later + REASSIGN_DELAY_S),
        "b": Assignment(Share(1, 2), Share(1, 2), later + REASSIGN_DELAY_S),
    }


def test_one_that_comes_back_is_as_one_that_comes_late() -> None:
    made = membership("a", "b")
    report(made, 6.0, "a")
    assert made.newly_lost(6.0) == ["b"]
    made.pending_assignments(6.0)
    made.pending_assignments(29.0)
    report(made, 30.0, "a", "b")
    assert made.lost() == 0
    assert made.at_work() == ["a", "b"]
    assert made.pending_assignments(30.0) == {
        "a": Assignment(share=Share(0, 2)),
        "b": Assignment(NO_SHARE, NO_SHARE, 6.0 + REASSIGN_DELAY_S),
    }
    made.confirm("a", Share(0, 2), 30.5)
    assert made.pending_assignments(60.0) == {}
    made.confirm("b", NO_SHARE, 60.0)
    later = 60.0 + WINDOW_S + MARGIN_S
    assert made.pending_assignments(later) == {
        "a": Assignment(None, Share(0, 2), later + REASSIGN_DELAY_S),
        "b": Assignment(Share(1, 2), Share(1, 2), later + REASSIGN_DELAY_S),
    }


def test_what_was_dealt_to_others_is_given_back_each_time_until_there_is_a_new_part() -> None:
    made = membership("a", "b")
    report(made, 6.0, "a")
    made.newly_lost(6.0)
    made.pending_assignments(6.0)
    given_back = Assignment(NO_SHARE, NO_SHARE, 6.0 + REASSIGN_DELAY_S)
    report(made, 20.0, "a", "b")
    assert made.pending_assignments(20.0)["b"] == given_back
    report(made, 24.0, "a")
    assert made.newly_lost(24.0) == ["b"]
    report(made, 26.0, "a", "b")
    assert made.pending_assignments(26.0)["b"] == given_back


def test_when_all_were_lost_the_first_that_is_back_keeps_its_part_until_it_has_all() -> None:
    made = membership("a", "b")
    assert made.newly_lost(5.0) == ["a", "b"]
    assert made.pending_assignments(5.0) == {}
    report(made, 20.0, "a")
    assert made.pending_assignments(20.0) == {"a": Assignment(NO_SHARE)}
    made.confirm("a", NO_SHARE, 20.5)
    later = 20.5 + WINDOW_S + MARGIN_S
    report(made, later, "a")
    assert made.pending_assignments(later) == {"a": Assignment(Share(0, 1), Share(0, 1), later + REASSIGN_DELAY_S)}
    report(made, later + 1, "a", "b")
    assert made.pending_assignments(later + 1)["b"] == Assignment(NO_SHARE, NO_SHARE, later + REASSIGN_DELAY_S)


def test_a_hand_may_send_for_a_while_after_it_was_last_heard_of() -> None:
    made = membership("a")
    assert made.lease_expires_at("a") == LEASE_S
    report(made, 2.5, "a")
    assert made.lease_expires_at("a") == 2.5 + LEASE_S


def test_a_lost_one_is_awaited_for_a_while_unless_it_is_known_to_have_died() -> None:
    made = membership("a", "b")
    made.newly_lost(10.0)
    assert made.expected(ABANDON_AFTER_S - 0.1) == ["a", "b"]
    made.generators["a"].dead = True
    assert made.expected(ABANDON_AFTER_S - 0.1) == ["b"]
    assert made.expected(ABANDON_AFTER_S) == []


def test_one_that_is_known_to_have_died_is_lost_at_once() -> None:
    made = membership("a", "b")
    report(made, 1.5, "a")
    assert made.suspects(1.5) == ["b"]
    assert made.newly_lost(1.5) == []
    made.generators["b"].dead = True
    assert made.newly_lost(1.5) == ["b"]
    assert made.newly_lost(1.6) == []
    report(made, 2.0, "b")
    assert made.expected(2.0) == ["a", "b"]


def test_one_that_is_done_is_neither_at_work_nor_lost() -> None:
    made = membership("a")
    made.generators["a"].done = RunFinished(sent=3, ends_at=9.0, cancelled=0, left_over=0)
    assert made.at_work() == []
    assert made.newly_lost(100.0) == []
