from __future__ import annotations

import pytest

from loadtest.drive.crew import DEALT_AHEAD_S, GIVEN_UP_AFTER_S, Crew
from loadtest.drive.messages import Done, Pong, Report, Turn
from loadtest.record.progress import Counts
from loadtest.traffic.budget import MARGIN_S
from loadtest.traffic.shares import NOWHERE, Place

WINDOW_S, LOST_AFTER_S, LEASE_S = 10.0, 3.0, 4.0
QUIET = Report(Counts(0, 0, 0, 0, 0, 0, None, {}, []), 0.0, 0, False, False, None, None)


def crew(*names: str) -> Crew:
    made = Crew(WINDOW_S, LOST_AFTER_S, LEASE_S)
    for name in names:
        made.join(name, 0.0)
    assert made.begin(list(names), 0.0) == {name: Place(rank, len(names)) for rank, name in enumerate(names)}
    return made


def report(made: Crew, now: float, *names: str) -> None:
    for name in names:
        made.report(name, QUIET, now)


def test_the_clock_is_read_from_the_shortest_round_trip() -> None:
    made = Crew(WINDOW_S, LOST_AFTER_S, LEASE_S)
    made.tell_time("a", Pong(sent_at=10.0, at=112.0, pid=7, host="h"), now=14.0)
    assert made.members["a"].clock_offset_s == 100.0
    made.tell_time("a", Pong(sent_at=20.0, at=120.6, pid=7, host="h"), now=20.2)
    assert made.members["a"].clock_offset_s == pytest.approx(100.5)
    made.tell_time("a", Pong(sent_at=30.0, at=131.9, pid=7, host="h"), now=33.0)
    assert made.members["a"].clock_offset_s == pytest.approx(100.5)


def test_nothing_is_said_while_nothing_changes() -> None:
    made = crew("a", "b")
    report(made, 1.0, "a", "b")
    assert made.turns(1.0) == {}
    assert made.newly_lost(1.0) == []


def test_the_others_carry_the_schedule_on_at_once_and_have_the_share_later() -> None:
    made = crew("a", "b", "c")
    report(made, 5.0, "a", "c")
    assert made.newly_lost(5.0) == ["b"]
    assert made.newly_lost(5.5) == []
    assert made.turns(5.0) == {
        "a": Turn(None, Place(0, 2), 5.0 + DEALT_AHEAD_S),
        "c": Turn(None, Place(1, 2), 5.0 + DEALT_AHEAD_S),
    }
    free_at = LEASE_S + WINDOW_S + MARGIN_S
    report(made, free_at, "a", "c")
    assert made.turns(free_at - 0.1) == {}
    assert made.turns(free_at) == {"a": Turn(share=Place(0, 2)), "c": Turn(share=Place(1, 2))}
    assert made.lost() == 1
    assert made.at_work() == ["a", "c"]


def test_a_newcomer_is_dealt_in_when_it_has_its_share() -> None:
    made = crew("a")
    made.join("b", 4.0)
    assert made.begin_late("b", 4.0) == NOWHERE
    assert made.turns(4.0) == {"a": Turn(share=Place(0, 2))}
    made.confirm("a", Place(0, 2), 4.5)
    later = 4.5 + WINDOW_S + MARGIN_S
    assert made.turns(later - 0.1) == {}
    assert made.turns(later) == {
        "a": Turn(None, Place(0, 2), later + DEALT_AHEAD_S),
        "b": Turn(Place(1, 2), Place(1, 2), later + DEALT_AHEAD_S),
    }


def test_one_that_comes_back_is_as_one_that_comes_late() -> None:
    made = crew("a", "b")
    report(made, 6.0, "a")
    assert made.newly_lost(6.0) == ["b"]
    made.turns(6.0)
    made.turns(29.0)
    report(made, 30.0, "a", "b")
    assert made.lost() == 0
    assert made.at_work() == ["a", "b"]
    assert made.turns(30.0) == {"a": Turn(share=Place(0, 2)), "b": Turn(NOWHERE, NOWHERE, 6.0 + DEALT_AHEAD_S)}
    made.confirm("a", Place(0, 2), 30.5)
    assert made.turns(60.0) == {}
    made.confirm("b", NOWHERE, 60.0)
    later = 60.0 + WINDOW_S + MARGIN_S
    assert made.turns(later) == {
        "a": Turn(None, Place(0, 2), later + DEALT_AHEAD_S),
        "b": Turn(Place(1, 2), Place(1, 2), later + DEALT_AHEAD_S),
    }


def test_what_was_dealt_to_others_is_given_back_each_time_until_there_is_a_new_part() -> None:
    made = crew("a", "b")
    report(made, 6.0, "a")
    made.newly_lost(6.0)
    made.turns(6.0)
    given_back = Turn(NOWHERE, NOWHERE, 6.0 + DEALT_AHEAD_S)
    report(made, 20.0, "a", "b")
    assert made.turns(20.0)["b"] == given_back
    report(made, 24.0, "a")
    assert made.newly_lost(24.0) == ["b"]
    report(made, 26.0, "a", "b")
    assert made.turns(26.0)["b"] == given_back


def test_when_all_were_lost_the_first_that_is_back_keeps_its_part_until_it_has_all() -> None:
    made = crew("a", "b")
    assert made.newly_lost(5.0) == ["a", "b"]
    assert made.turns(5.0) == {}
    report(made, 20.0, "a")
    assert made.turns(20.0) == {"a": Turn(NOWHERE)}
    made.confirm("a", NOWHERE, 20.5)
    later = 20.5 + WINDOW_S + MARGIN_S
    report(made, later, "a")
    assert made.turns(later) == {"a": Turn(Place(0, 1), Place(0, 1), later + DEALT_AHEAD_S)}
    report(made, later + 1, "a", "b")
    assert made.turns(later + 1)["b"] == Turn(NOWHERE, NOWHERE, later + DEALT_AHEAD_S)


def test_a_hand_may_send_for_a_while_after_it_was_last_heard_of() -> None:
    made = crew("a")
    assert made.may_send_until("a") == LEASE_S
    report(made, 2.5, "a")
    assert made.may_send_until("a") == 2.5 + LEASE_S


def test_a_lost_one_is_awaited_for_a_while_unless_it_is_known_to_have_died() -> None:
    made = crew("a", "b")
    made.newly_lost(10.0)
    assert made.awaited(GIVEN_UP_AFTER_S - 0.1) == ["a", "b"]
    made.members["a"].gone = True
    assert made.awaited(GIVEN_UP_AFTER_S - 0.1) == ["b"]
    assert made.awaited(GIVEN_UP_AFTER_S) == []


def test_one_that_is_known_to_have_died_is_lost_at_once() -> None:
    made = crew("a", "b")
    report(made, 1.5, "a")
    assert made.silent(1.5) == ["b"]
    assert made.newly_lost(1.5) == []
    made.members["b"].gone = True
    assert made.newly_lost(1.5) == ["b"]
    assert made.newly_lost(1.6) == []
    report(made, 2.0, "b")
    assert made.awaited(2.0) == ["a", "b"]


def test_one_that_is_done_is_neither_at_work_nor_lost() -> None:
    made = crew("a")
    made.members["a"].done = Done(sent=3, ends_at=9.0, cancelled=0, left_over=0)
    assert made.at_work() == []
    assert made.newly_lost(100.0) == []
