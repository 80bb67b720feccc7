"""Finding a server: what is resolved, who is dialled and when, and who wins."""

from __future__ import annotations

import random
from math import inf

import pytest

from tests.session.harness import Peer, T, connected, only
from zk_sansio.errors import InvalidRequestError, TlsError
from zk_sansio.session import Dial, HostPort, Resolve, SessionState, parse_hosts
from zk_sansio.session._dialer import RESOLVE_TIMEOUT, STAGGER, Dialer
from zk_sansio.session._hosts import Backoff, Server, ServerList

NAMES = "one.example,two.example"


def dials(peer: Peer) -> list[Dial]:
    """The dials that were asked for since the last time."""
    taken = [attempt for attempt in peer.attempts if isinstance(attempt, Dial)]
    peer.attempts = [attempt for attempt in peer.attempts if not isinstance(attempt, Dial)]
    return taken


def fail(peer: Peer, dial: Dial, why: str = "refused") -> None:
    peer.session.attempt_failed(dial, why, peer.now)


def a_round(peer: Peer) -> list[str]:
    """Let every server refuse, and say in which order they were tried."""
    order: list[str] = []
    peer.tick()
    while True:
        found = dials(peer)
        if not found:
            return order
        for dial in found:
            order.append(dial.server.address)
            fail(peer, dial)
        peer.tick()


# --- rounds


def test_every_server_once_a_round_in_an_order_drawn_anew() -> None:
    orders = []
    peer = Peer()
    for _ in range(20):
        orders.append(a_round(peer))
        peer.now = peer.session.next_timeout()
    assert all(sorted(order) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"] for order in orders)
    assert len(set(map(tuple, orders))) > 3


def test_the_pause_between_rounds_grows_and_has_a_cap() -> None:
    peer = Peer()
    pauses = []
    for _ in range(10):
        a_round(peer)
        assert peer.session.next_attempt(peer.now) is None
        pauses.append(peer.session.next_timeout() - peer.now)
        peer.now += pauses[-1]
    for number, pause in enumerate(pauses):
        most = min(0.1 * 2**number, T / 10)
        assert most / 2 <= pause <= most + 1e-9


def test_nothing_is_tried_before_the_pause_is_over() -> None:
    peer = Peer()
    a_round(peer)
    due = peer.session.next_timeout()
    assert peer.session.next_attempt(due - 0.0001) is None
    assert isinstance(peer.session.next_attempt(due), Dial)


def test_the_pause_is_short_again_after_a_good_connection() -> None:
    peer = Peer(hosts="10.0.0.1")
    for _ in range(8):
        a_round(peer)
        peer.now = peer.session.next_timeout()
    peer.connect()
    peer.advance_served(T)
    peer.lose()
    assert peer.session.next_timeout() - peer.now <= 0.1


def test_the_pause_goes_on_growing_when_connections_do_not_last() -> None:
    peer = Peer(hosts="10.0.0.1")
    for _ in range(8):
        peer.connect()
        peer.lose()
    assert peer.session.next_timeout() - peer.now > 0.5


def test_after_a_handshake_that_failed_the_round_goes_on() -> None:
    peer = Peer()
    seen = set()
    for _ in range(3):
        dial = peer.dial()
        seen.add(dial.server)
        assert peer.session.connection_made(dial, peer.now)
        peer.lose()
    assert len(seen) == 3
    peer.tick()
    assert peer.attempts == []
    assert peer.session.next_timeout() > peer.now


# --- staggered


def test_a_second_server_is_dialled_beside_a_slow_one() -> None:
    peer = Peer()
    start = peer.now
    peer.tick()
    first = only(dials(peer))
    assert peer.session.next_timeout() == start + STAGGER
    peer.advance(STAGGER - 0.001)
    assert dials(peer) == []
    peer.advance(0.001)
    second = only(dials(peer))
    peer.advance(STAGGER)
    third = only(dials(peer))
    assert len({first.server, second.server, third.server}) == 3
    peer.advance(1)
    assert dials(peer) == []
    assert peer.session.next_timeout() == inf


def test_a_failure_makes_place_at_once() -> None:
    peer = Peer()
    peer.tick()
    fail(peer, only(dials(peer)))
    assert peer.session.next_timeout() <= peer.now
    peer.tick()
    assert len(dials(peer)) == 1


def test_a_failure_makes_place_at_once_beside_a_slow_one() -> None:
    peer = Peer()
    peer.tick()
    peer.advance(STAGGER)
    slow, failing = dials(peer)
    fail(peer, failing)
    assert peer.session.next_timeout() <= peer.now
    peer.tick()
    assert only(dials(peer)).server not in (slow.server, failing.server)


def test_the_first_connection_wins() -> None:
    peer = Peer()
    peer.tick()
    peer.advance(2 * STAGGER)
    first, second, third = dials(peer)
    assert peer.session.connection_made(second, peer.now)
    assert peer.session.server == second.server
    assert not peer.session.connection_made(first, peer.now)
    fail(peer, third, "too late")
    assert peer.session.failures == {}
    assert not peer.session.connection_made(third, peer.now)
    peer.take()
    peer.accept()
    assert peer.session.state is SessionState.CONNECTED


def test_a_late_connection_is_refused_even_if_the_winner_is_gone() -> None:
    peer = Peer()
    peer.tick()
    peer.advance(STAGGER)
    first, second = dials(peer)
    assert peer.session.connection_made(second, peer.now)
    peer.lose()
    assert not peer.session.connection_made(first, peer.now)


def test_a_connection_after_the_end_is_refused() -> None:
    peer = Peer()
    dial = peer.dial()
    peer.session.close(peer.now, 1)
    assert not peer.session.connection_made(dial, peer.now)
    assert peer.session.next_attempt(peer.now) is None
    fail(peer, dial)


def test_when_all_are_slow_the_round_ends_with_the_last() -> None:
    peer = Peer()
    peer.tick()
    peer.advance(1)
    first, second, third = dials(peer)
    fail(peer, first)
    fail(peer, third)
    peer.tick()
    assert peer.attempts == []
    assert peer.session.next_timeout() == inf
    fail(peer, second)
    assert peer.now < peer.session.next_timeout() <= peer.now + 0.1
    fail(peer, second)  # twice
    peer.advance(0.1)
    assert len(dials(peer)) == 1


def test_the_last_failure_and_the_end_of_the_round_in_either_order() -> None:
    peer = Peer(hosts="10.0.0.1")
    peer.tick()
    dial = only(dials(peer))
    peer.advance(1)  # the round has no more to give, one dial is out
    fail(peer, dial)
    assert peer.now < peer.session.next_timeout() <= peer.now + 0.1


# --- how long each may take


def test_the_time_left_is_shared() -> None:
    peer = Peer(connect_timeout=100)
    peer.tick()
    peer.advance(1)
    deadlines = [dial.deadline for dial in dials(peer)]
    assert deadlines == [1000 + T / 3, 1000.25 + T / 3, 1000.5 + T / 3]


def test_what_is_left_of_the_session_counts() -> None:
    peer = connected(connect_timeout=100)
    lost = peer.session.deadline
    assert lost is not None
    peer.advance(5)
    peer.lose()
    dial = peer.dial()
    assert dial.deadline == pytest.approx(peer.now + (lost - peer.now) / 3)


def test_a_session_that_is_presumed_lost_takes_its_time() -> None:
    peer = connected(connect_timeout=100, hosts="10.0.0.1")
    peer.lose()
    peer.jump(10 * T)
    dial = peer.dial()
    assert dial.deadline == peer.now + T


def test_many_servers_leave_each_a_second() -> None:
    peer = Peer(hosts=",".join(f"10.0.{n}.1" for n in range(200)))
    assert peer.dial().deadline == peer.now + 1.0


# --- names


def test_names_are_resolved_first_all_at_once() -> None:
    peer = Peer(hosts=NAMES)
    peer.tick()
    resolve = only(peer.attempts)
    assert isinstance(resolve, Resolve)
    assert resolve.hosts == (HostPort("one.example"), HostPort("two.example"))
    assert resolve.deadline == peer.now + T / 4
    assert peer.session.next_timeout() == inf
    peer.resolve(resolve, {"one.example": ["10.0.0.1", "2001:db8::1"], "two.example": ["10.0.0.2"]})
    assert peer.session.next_timeout() <= peer.now
    assert sorted(a_round(peer)) == ["10.0.0.1", "10.0.0.2", "2001:db8::1"]


def test_looking_up_names_may_not_take_all_the_time_there_is() -> None:
    dialer = make_dialer("a.example")
    for remaining, patience in [(100, RESOLVE_TIMEOUT), (8, 2), (1, 0.5), (-5, 0.5)]:
        dialer.start()
        attempt = dialer.next_attempt(1000, remaining, 10)
        assert isinstance(attempt, Resolve)
        assert attempt.deadline == 1000 + patience


def test_addresses_of_before_are_tried_when_the_resolver_fails() -> None:
    peer = Peer(hosts="one.example")
    for found in ({"one.example": ["10.0.0.1"]}, {}):
        peer.advance(1)
        resolve = only(peer.attempts)
        assert isinstance(resolve, Resolve)
        peer.resolve(resolve, found)
        assert a_round(peer) == ["10.0.0.1"]


def test_addresses_need_no_resolving() -> None:
    peer = Peer(hosts="10.0.0.1,[2001:db8::1]")
    assert sorted(a_round(peer)) == ["10.0.0.1", "2001:db8::1"]


def test_names_are_resolved_anew_for_each_round() -> None:
    peer = Peer(hosts="one.example")
    for address in ("10.0.0.1", "10.0.0.2"):
        peer.advance(1)
        peer.resolve(only([a for a in peer.attempts if isinstance(a, Resolve)]), {"one.example": [address]})
        assert a_round(peer) == [address]


def test_a_name_that_does_not_resolve() -> None:
    peer = Peer(hosts=NAMES)
    peer.tick()
    resolve = peer.attempts[0]
    assert isinstance(resolve, Resolve)
    peer.resolve(resolve, {"one.example": ["10.0.0.1"]})
    assert peer.session.failures == {"two.example:2181": "unknown name"}
    assert a_round(peer) == ["10.0.0.1"]
    assert peer.session.failures == {"two.example:2181": "unknown name", "one.example:2181 (10.0.0.1)": "refused"}


def test_when_no_name_resolves_there_is_a_pause() -> None:
    peer = Peer(hosts=NAMES)
    peer.tick()
    resolve = peer.attempts[0]
    assert isinstance(resolve, Resolve)
    peer.resolve(resolve, {})
    peer.tick()
    assert peer.attempts == []
    assert peer.now < peer.session.next_timeout() <= peer.now + 0.1
    peer.advance(0.1)
    assert isinstance(only(peer.attempts), Resolve)


def test_addresses_that_come_too_late_are_ignored() -> None:
    peer = Peer(hosts=NAMES)
    peer.tick()
    stale = peer.attempts[0]
    assert isinstance(stale, Resolve)
    moved = parse_hosts("10.0.0.9,10.0.0.8,10.0.0.7")[0]
    peer.session.update_servers(moved, peer.now)
    peer.session.resolved(stale, {HostPort("one.example"): ["10.0.0.1"]}, {HostPort("two.example"): "no"}, peer.now)
    peer.attempts = []
    assert sorted(a_round(peer)) == ["10.0.0.7", "10.0.0.8", "10.0.0.9"]
    assert "two.example:2181" not in peer.session.failures


# --- failures


def test_failures_are_kept_until_a_server_accepts() -> None:
    peer = Peer(hosts="10.0.0.1,10.0.0.2")
    fail(peer, peer.dial(), "no route")
    peer.session.attempt_failed(peer.dial(), OSError(111, "Connection refused"), peer.now)
    assert sorted(peer.session.failures.values()) == ["Connection refused", "no route"]
    dial = peer.dial()
    peer.session.attempt_failed(dial, TlsError("bad certificate"), peer.now)
    assert peer.session.failures[str(dial.server)] == "TLS: bad certificate"
    peer.connect()
    assert peer.session.failures == {}


def test_who_has_been_asked_and_has_not_answered() -> None:
    peer = Peer(hosts=NAMES)
    assert peer.session.trying == []
    peer.tick()
    assert peer.session.trying == ["one.example:2181", "two.example:2181"]
    resolve = peer.attempts[0]
    assert isinstance(resolve, Resolve)
    peer.resolve(resolve, {"one.example": ["10.0.0.1"], "two.example": ["10.0.0.2"]})
    peer.attempts = []
    peer.advance(2 * STAGGER)
    assert peer.session.trying == ["one.example:2181 (10.0.0.1)", "two.example:2181 (10.0.0.2)"]
    first, second = dials(peer)
    fail(peer, first)
    assert peer.session.trying == [str(second.server)]
    assert peer.session.connection_made(second, peer.now)
    assert peer.session.trying == [str(second.server)]
    peer.reset()
    peer.take()
    peer.accept()
    assert peer.session.trying == []


# --- another list


def test_another_list_while_connecting() -> None:
    peer = Peer()
    stale = peer.dial()
    peer.session.update_servers(parse_hosts("10.0.1.1")[0], peer.now)
    assert not peer.session.connection_made(stale, peer.now)
    assert peer.dial().server.address == "10.0.1.1"


def test_another_list_moves_the_client() -> None:
    peer = connected()
    peer.session.update_servers(parse_hosts("10.0.1.1,10.0.1.2")[0], peer.now)
    assert peer.states() == [SessionState.SUSPENDED]
    assert peer.session.next_timeout() <= peer.now  # at once
    peer.tick()
    assert only(dials(peer)).server.address.startswith("10.0.1.")


def test_the_same_list_moves_nobody() -> None:
    peer = connected()
    peer.session.update_servers(parse_hosts("10.0.0.1,10.0.0.2,10.0.0.3")[0], peer.now)
    assert peer.drain() == []
    assert peer.up()


def test_a_smaller_list_with_the_server_in_use_moves_nobody() -> None:
    peer = connected()
    server = peer.session.server
    assert server is not None
    peer.session.update_servers([server.host], peer.now)
    assert peer.up()
    peer.lose()
    peer.now = peer.session.next_timeout()
    assert a_round(peer) == [server.address]


def test_an_empty_list_is_refused() -> None:
    peer = connected()
    with pytest.raises(InvalidRequestError):
        peer.session.update_servers([], peer.now)
    assert peer.up()


def test_another_list_during_a_handshake() -> None:
    peer = Peer()
    peer.open()
    peer.session.update_servers(parse_hosts("10.0.1.1")[0], peer.now)
    assert not peer.up()
    assert peer.dial().server.address == "10.0.1.1"


def test_another_list_after_the_end_or_while_closing() -> None:
    peer = connected()
    peer.session.close(peer.now, 1)
    peer.session.update_servers(parse_hosts("10.0.1.1")[0], peer.now)
    assert peer.up()
    peer.serve()
    assert peer.states() == [SessionState.CLOSED]
    peer.session.update_servers(parse_hosts("10.0.1.1")[0], peer.now)
    assert peer.session.next_attempt(peer.now) is None


# --- the dialer alone


def make_dialer(*hosts: str) -> Dialer:
    source = random.Random(1)
    return Dialer(ServerList([HostPort(host) for host in hosts], source), Backoff(source), 5.0)


def test_no_new_round_while_dials_are_out() -> None:
    dialer = make_dialer("10.0.0.1")
    first = dialer.next_attempt(0, 10, 10)
    assert isinstance(first, Dial)
    assert dialer.next_attempt(STAGGER, 10, 10) is None  # the round is over
    assert dialer.next_attempt(STAGGER, 10, 10) is None
    assert dialer.next_time() == inf
    assert dialer.outstanding(first)


def test_nothing_else_while_names_are_resolved() -> None:
    dialer = make_dialer("a.example")
    resolve = dialer.next_attempt(0, 10, 10)
    assert isinstance(resolve, Resolve)
    assert dialer.next_attempt(1, 10, 10) is None
    assert dialer.next_time() == inf
    dialer.start(7)
    assert dialer.next_time() == 7
    assert dialer.next_attempt(6, 10, 10) is None
    again = dialer.next_attempt(7, 10, 10)
    assert isinstance(again, Resolve)
    assert again is not resolve


def test_one_failure_takes_all_dials_of_that_server() -> None:
    dialer = make_dialer("10.0.0.1", "10.0.0.2")
    first, second = dialer.next_attempt(0, 10, 10), dialer.next_attempt(STAGGER, 10, 10)
    assert isinstance(first, Dial)
    assert isinstance(second, Dial)
    dialer.failed(Server(first.server.host, first.server.address), "refused", 1, 10)
    assert not dialer.outstanding(first)
    assert dialer.outstanding(second)


def test_attempts_are_told_apart_although_they_look_the_same() -> None:
    server = Server(HostPort("10.0.0.1"), "10.0.0.1")
    assert Dial(server, 1.0) != Dial(server, 1.0)
