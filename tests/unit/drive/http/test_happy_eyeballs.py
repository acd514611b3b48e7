"""Several addresses of one host, in virtual time: some answer, some refuse, some never do."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

import gevent
import pytest
from gevent import Greenlet
from hypothesis import given
from hypothesis import strategies as st

from loadtest.drive.http.happy_eyeballs import ATTEMPT_DELAY_S, Address, alternate_families, connect_first
from tests.unit.drive.virtual_clock import VirtualClock

FOUR = [(socket.AF_INET, (f"192.0.2.{n}", 1)) for n in range(3)]
SIX = [(socket.AF_INET6, (f"2001:db8::{n}", 1, 0, 0)) for n in range(3)]
NEVER = 1e9


@dataclass
class FakeSocket:
    """A socket that notes whether it was closed."""

    closed: bool = False

    def close(self) -> None:
        self.closed = True


@dataclass
class Network:
    """Addresses that answer after some seconds; a negative time is that after which they refuse."""

    answers_s: dict[Address, float]
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(100.0))
    tried: dict[Address, float] = field(default_factory=dict)
    sockets: dict[Address, FakeSocket] = field(default_factory=dict)

    def connect(self, address: Address) -> FakeSocket:
        self.tried[address] = self.clock.now() - 100.0
        answer_s = self.answers_s[address]
        self.clock.sleep(abs(answer_s))
        if answer_s < 0:
            raise ConnectionRefusedError(111, f"{address[1][0]} refused")
        self.sockets[address] = FakeSocket()
        return self.sockets[address]

    def race(self, until_s: float = 1e6) -> Greenlet[..., tuple[Address, FakeSocket]]:
        racing = gevent.spawn(connect_first, list(self.answers_s), self.connect, self.clock)
        self.clock.run(100.0 + until_s)
        return racing


def test_families_take_turns_from_that_of_the_first_address() -> None:
    assert alternate_families([*SIX, *FOUR, FOUR[0]]) == [SIX[0], FOUR[0], SIX[1], FOUR[1], SIX[2], FOUR[2]]
    assert alternate_families([FOUR[0], *SIX[:2], FOUR[0]]) == [FOUR[0], SIX[0], SIX[1]]


def test_black_hole_delays_the_next_address_and_blocks_none() -> None:
    network = Network({SIX[0]: NEVER, FOUR[0]: 0.05})
    racing = network.race(until_s=0.31)
    assert racing.value == (FOUR[0], network.sockets[FOUR[0]])
    assert network.tried == {SIX[0]: 0.0, FOUR[0]: pytest.approx(ATTEMPT_DELAY_S)}


def test_refusal_lets_the_next_address_begin_at_once() -> None:
    network = Network({SIX[0]: -0.02, SIX[1]: -0.02, FOUR[0]: 0.05})
    assert network.race(until_s=0.1).value is not None
    assert network.tried[FOUR[0]] == pytest.approx(0.04)


def test_slow_first_address_may_still_win() -> None:
    network = Network({SIX[0]: 0.3, FOUR[0]: 0.2})
    address, connected = network.race().get()
    assert address == SIX[0]
    assert not connected.closed


def test_error_of_the_first_address_is_raised_if_all_refuse() -> None:
    network = Network({SIX[0]: -0.4, FOUR[0]: -0.01})
    with pytest.raises(ConnectionRefusedError, match="2001:db8::0 refused"):
        network.race().get()


@given(
    answers_s=st.lists(
        st.one_of(st.floats(0.0, 1.0), st.floats(-1.0, -0.001), st.just(NEVER)), min_size=1, max_size=6
    )
)
def test_any_address_that_answers_is_reached_in_time_and_no_socket_is_left_open(answers_s: list[float]) -> None:
    network = Network(dict(zip([*SIX, *FOUR], answers_s, strict=False)))
    racing = network.race(until_s=60.0)
    times_s = [n * ATTEMPT_DELAY_S + answer_s for n, answer_s in enumerate(answers_s) if 0 <= answer_s < NEVER]
    if not times_s:
        assert racing.value is None
        racing.kill()
    else:
        address, connected = racing.get()
        assert network.tried[address] + network.answers_s[address] <= min(times_s) + 1e-9
        assert not connected.closed
        assert all(each.closed for each in network.sockets.values() if each is not connected)
