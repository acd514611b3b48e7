from __future__ import annotations

import pytest

from loadtest.drive.cluster.membership import ABANDON_AFTER_S, REASSIGN_DELAY_S, SILENT_S, Membership, State
from loadtest.drive.cluster.messages import Assignment, Pong, RunFinished, StatusReport
from loadtest.traffic.limit_shares import NO_SHARE, Share
from loadtest.traffic.rate_limit import MARGIN_S

WINDOW_S, LOST_AFTER_S, LEASE_S = 10.0, 3.0, 4.0
QUIET = StatusReport(0, 0, 0, 0, 0, 0, None, {}, [], 0.0, 0, False, 0.0, None, None)


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


def test_the_drift_of_a_clock_is_what_both_round_trips_do_not_explain_and_its_offset_stays() -> None:
    made = Membership(WINDOW_S, LOST_AFTER_S, LEASE_S)
    made.record_pong("a", Pong(sent_at=10.0, at=110.05, pid=7, host="h"), now=10.1)
    made.start_all(["a"], 11.0)
    generator = made.generators["a"]
    for at, sent_at, now in ((120.1, 20.0, 20.1), (130.4, 30.0, 31.0), (145.0, 40.0, 50.0)):
        made.record_pong("a", Pong(sent_at, at, pid=7, host="h"), now)
    assert generator.clock_drift_s == 0.0
    made.record_pong("a", Pong(sent_at=60.0, at=159.85, pid=7, host="h"), now=60.1)
    assert generator.clock_drift_s == pytest.approx(-0.1)
    made.record_pong("a", Pong(sent_at=70.0, at=170.05, pid=7, host="h"), now=70.1)
    assert generator.clock_drift_s == pytest.approx(-0.1), "the most that was seen"
    assert generator.clock_offset_s == pytest.approx(100.0)


def test_no_assignment_is_sent_while_nothing_changes() -> None:
    made = membership("a", "b")
    report(made, 1.0, "a", "b")
    assert made.pending_assignments(1.0) == {}
    assert made.newly_lost(1.0) == []


def test_the_others_get_the_schedule_of_a_lost_generator_at_once_and_its_share_a_window_later() -> None:
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
        "a": Assignment(share=Share(0, 2), started=3),
        "c": Assignment(share=Share(1, 2), started=3),
    }
    assert made.lost() == 1
    assert made.running() == ["a", "c"]


def test_a_late_generator_gets_its_part_of_the_schedule_with_its_share() -> None:
    made = membership("a")
    made.add("b", 4.0)
    assert made.start_late("b", 4.0) == NO_SHARE
    assert made.pending_assignments(4.0) == {"a": Assignment(share=Share(0, 2), started=2)}
    made.confirm("a", Share(0, 2), 4.5)
    later = 4.5 + WINDOW_S + MARGIN_S
    assert made.pending_assignments(later - 0.1) == {}
    assert made.pending_assignments(later) == {
        "a": Assignment(None, Share(0, 2), later + REASSIGN_DELAY_S),
        "b": Assignment(Share(1, 2), Share(1, 2), later + REASSIGN_DELAY_S, started=2),
    }


def test_a_generator_that_returns_is_treated_as_a_late_one() -> None:
    made = membership("a", "b")
    report(made, 6.0, "a")
    assert made.newly_lost(6.0) == ["b"]
    made.pending_assignments(6.0)
    made.pending_assignments(29.0)
    report(made, 30.0, "a", "b")
    assert made.lost() == 0
    assert made.running() == ["a", "b"]
    assert made.pending_assignments(30.0) == {
        "a": Assignment(share=Share(0, 2), started=2),
        "b": Assignment(NO_SHARE, NO_SHARE, 6.0 + REASSIGN_DELAY_S),
    }
    made.confirm("a", Share(0, 2), 30.5)
    assert made.pending_assignments(60.0) == {}
    made.confirm("b", NO_SHARE, 60.0)
    later = 60.0 + WINDOW_S + MARGIN_S
    assert made.pending_assignments(later) == {
        "a": Assignment(None, Share(0, 2), later + REASSIGN_DELAY_S),
        "b": Assignment(Share(1, 2), Share(1, 2), later + REASSIGN_DELAY_S, started=2),
    }


def test_a_generator_that_returns_gives_up_what_others_were_assigned_until_it_has_a_new_part() -> None:
    made = membership("a", "b")
    report(made, 6.0, "a")
    made.newly_lost(6.0)
    made.pending_assignments(6.0)
    revoked = Assignment(NO_SHARE, NO_SHARE, 6.0 + REASSIGN_DELAY_S)
    report(made, 20.0, "a", "b")
    assert made.pending_assignments(20.0)["b"] == revoked
    report(made, 24.0, "a")
    assert made.newly_lost(24.0) == ["b"]
    report(made, 26.0, "a", "b")
    assert made.pending_assignments(26.0)["b"] == revoked


def test_when_all_were_lost_the_first_to_return_keeps_its_part_until_it_has_all() -> None:
    made = membership("a", "b")
    assert made.newly_lost(5.0) == ["a", "b"]
    assert made.pending_assignments(5.0) == {}
    report(made, 20.0, "a")
    assert made.pending_assignments(20.0) == {"a": Assignment(NO_SHARE)}
    made.confirm("a", NO_SHARE, 20.5)
    later = 20.5 + WINDOW_S + MARGIN_S
    report(made, later, "a")
    whole = Assignment(Share(0, 1), Share(0, 1), later + REASSIGN_DELAY_S, started=2)
    assert made.pending_assignments(later) == {"a": whole}
    report(made, later + 1, "a", "b")
    assert made.pending_assignments(later + 1)["b"] == Assignment(NO_SHARE, NO_SHARE, later + REASSIGN_DELAY_S)


def test_a_generator_may_send_for_the_lease_after_its_last_report() -> None:
    made = membership("a")
    assert made.lease_expires_at("a") == LEASE_S
    report(made, 2.5, "a")
    assert made.lease_expires_at("a") == 2.5 + LEASE_S


def test_a_lost_generator_is_expected_for_a_while_unless_it_has_died() -> None:
    made = membership("a", "b")
    made.newly_lost(10.0)
    assert made.expected(ABANDON_AFTER_S - 0.1) == ["a", "b"]
    made.newly_lost(11.0, lambda generator: generator.process == 0)
    assert made.expected(ABANDON_AFTER_S - 0.1) == ["b"]
    assert made.expected(ABANDON_AFTER_S) == []


def test_a_generator_that_has_died_is_lost_at_once_and_returns_if_it_reports_after_all() -> None:
    made = membership("a", "b")
    report(made, 1.5, "a")
    assert made.newly_lost(1.0 + SILENT_S, lambda _: True) == ["b"], "a has just reported"
    assert made.generators["b"].state is State.DEAD
    assert made.newly_lost(1.5 + SILENT_S, lambda _: True) == []
    report(made, 2.6, "b")
    assert made.expected(2.6) == ["a", "b"]


def test_a_generator_that_finished_neither_runs_nor_is_lost() -> None:
    made = membership("a")
    made.record_finished("a", RunFinished(sent=3, ends_at=9.0, cancelled=0, left_over=0))
    assert made.running() == []
    assert made.newly_lost(100.0) == []
    assert made.lost() == 0


def test_its_representation_shows_the_state_of_each_generator() -> None:
    made = membership("a", "b")
    made.add("c", 1.0)
    report(made, 6.0, "a")
    made.newly_lost(6.0)
    assert repr(made) == "<Membership: a RUNNING, b LOST, c CONNECTED>"
    made.record_pong("b", Pong(sent_at=6.0, at=7.0, pid=7, host="far"), now=6.5)
    assert repr(made.generators["b"]) == "<GeneratorState 1 on far: LOST, heard at 0.000>"
