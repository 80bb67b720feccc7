from __future__ import annotations

from math import inf

import pytest

from tests.session.harness import EXPIRED, TICKET, Peer, T, connected, only, pong, response, watch
from zk_sansio.errors import ConnectionLossError, SessionExpiredError
from zk_sansio.session import Notice, SessionState, StateChanged, WatchKind
from zk_sansio.wire import EventType, GetData

PING, SILENCE, LOST, LOCAL_EXPIRY = T / 3, 2 * T / 3, T, 4 * T / 3

CONNECTED, SUSPENDED, PRESUMED_LOST, EXPIRED_STATE = (
    SessionState.CONNECTED,
    SessionState.SUSPENDED,
    SessionState.PRESUMED_LOST,
    SessionState.EXPIRED,
)


class Idle:
    """A mechanism that waits for the server for ever."""

    name = "IDLE"
    done = False

    def start(self) -> bytes:
        return b""

    def step(self, token: bytes | None, /) -> bytes | None:
        return b""


def handle_at(peer: Peer, now: float) -> None:
    peer.now = now
    peer.session.handle_timeout(now)


# --- pings


def test_ping_after_a_third_without_sending() -> None:
    peer = connected()
    start = peer.now
    assert peer.session.next_timeout() == start + PING
    handle_at(peer, start + PING - 0.001)
    assert peer.session.data_to_send(peer.now) == b""
    handle_at(peer, start + PING)
    assert peer.session.data_to_send(peer.now).hex() == "00000008fffffffe0000000b"
    assert peer.session.next_timeout() == start + SILENCE


def test_pings_keep_a_session_alive_for_ever() -> None:
    peer = connected()
    peer.advance_served(20 * T)
    assert peer.pings == 60
    assert peer.drain() == []
    assert peer.session.state is CONNECTED


def test_a_request_takes_the_place_of_a_ping() -> None:
    peer = connected()
    start = peer.now
    peer.advance(PING - 1)
    peer.session.submit(GetData("/a"))
    peer.serve()
    assert peer.session.next_timeout() == start + 2 * PING - 1


def test_a_request_that_is_only_queued_does_not() -> None:
    peer = connected()
    start = peer.now
    peer.advance(PING - 1)
    peer.session.submit(GetData("/a"))
    assert peer.session.next_timeout() == start + PING
    peer.advance(1)
    # The ping passes by what waits in the queue.
    assert peer.session.data_to_send(peer.now).startswith(bytes.fromhex("00000008fffffffe0000000b"))


def test_no_ping_while_the_handshake_is_on_its_way() -> None:
    peer = Peer(connect_timeout=100, hosts="10.0.0.1")
    peer.open()
    peer.advance(T - 0.1)
    assert peer.up()
    assert peer.session.data_to_send(peer.now) == b""


def test_no_ping_while_authenticating_or_closing() -> None:
    peer = Peer(sasl=lambda host: Idle())
    peer.open()
    peer.accept()
    peer.take()
    peer.advance(SILENCE - 0.1)
    assert peer.take() == []
    peer.session.close(peer.now, 100)
    peer.take()
    peer.advance(LOST - SILENCE)
    assert peer.up()
    assert peer.pings == 0


def test_pings_while_restoring() -> None:
    peer = Peer(credentials=[("digest", b"bob:secret")])
    peer.open()
    peer.accept()
    peer.take()
    peer.advance(PING)
    peer.take()
    assert peer.pings == 1
    assert peer.session.state is SessionState.CONNECTING


@pytest.mark.parametrize("late, told", [(T / 6, False), (T / 6 + 0.01, True)])
def test_a_late_ping_is_told_of(late: float, told: bool) -> None:
    peer = connected()
    handle_at(peer, peer.now + PING + late)
    peer.take()
    assert peer.pings == 1
    notices = peer.drained(Notice)
    assert bool(notices) == told
    if told:
        assert "a ping was due 2.01 s ago" in only(notices).message
        assert "the session timeout is 12 s" in only(notices).message


# --- silence


def test_silence_ends_the_connection_after_two_thirds() -> None:
    peer = connected()
    call = peer.session.submit(GetData("/a"))
    peer.take()
    server = str(peer.session.server)
    start = peer.now
    peer.advance(SILENCE - 0.001)
    assert peer.up()
    handle_at(peer, start + SILENCE)
    assert not peer.up()
    failed, change = peer.drain()
    assert failed is call
    assert isinstance(call.error, ConnectionLossError)
    assert call.error.reason == "nothing heard for 8 s"
    assert call.error.maybe_applied
    assert call.error.server == server
    assert isinstance(change, StateChanged)
    assert change.new is SUSPENDED


@pytest.mark.parametrize("what", ["notification", "pong"])
def test_every_frame_counts_as_heard(what: str) -> None:
    peer = connected()
    start = peer.now
    peer.advance(5)
    if what == "pong":
        peer.receive(pong())
    else:
        peer.notify(EventType.CREATED, "/nobody/waits")
    peer.take()
    peer.advance(SILENCE - 0.001)
    # The ping at 4 s was answered in the one case; in the other the session's own deadline comes first.
    assert peer.up() == (what == "pong")
    assert peer.session.deadline == start + (PING if what == "pong" else 0) + LOST


@pytest.mark.parametrize("large", [False, True])
def test_bytes_that_dribble_in_do_not_count_as_heard(large: bool) -> None:
    peer = connected()
    start = peer.now
    peer.session.submit(GetData("/a"))
    peer.take()
    peer.receive(b"\0\2\0\0" if large else b"\0\0\0\x10")
    for _ in range(15):
        peer.advance(0.5)
        if (buffer := peer.session.receive_buffer()) is not None:
            buffer[:1] = b"\0"
            peer.session.receive_buffer_filled(1, peer.now)
        else:
            peer.receive(b"\0")
    assert (peer.session.receive_buffer() is not None) == large
    assert peer.up()
    peer.advance(start + SILENCE - peer.now)
    assert not peer.up()
    assert peer.session.receive_buffer() is None


def test_silence_while_authenticating() -> None:
    peer = Peer(sasl=lambda host: Idle())
    peer.open()
    peer.accept()
    peer.take()
    peer.advance(SILENCE)
    assert not peer.up()
    assert only(list(peer.session.failures.values())) == "nothing heard for 8 s"


def test_a_silent_server_comes_last() -> None:
    peer = connected()
    silent = peer.session.server
    peer.advance(SILENCE)
    order = []
    for _ in range(3):
        dial = peer.dial()
        order.append(dial.server)
        peer.session.attempt_failed(dial, "refused", peer.now)
    assert order[2] == silent


# --- presumed lost


def presumed_lost_at(peer: Peer) -> float:
    """When it happens, if no server is heard any more."""
    before = peer.now
    peer.drain()
    while SessionState.PRESUMED_LOST not in peer.states():
        assert peer.now < before + 10 * T
        peer.now = max(peer.now, peer.session.next_timeout())
        peer.tick()
    return peer.now


def test_no_deadline_before_a_server_has_answered() -> None:
    peer = Peer(ticket=TICKET, expire_locally=True)
    assert peer.session.deadline is None
    peer.open()
    peer.advance(10 * T)
    assert peer.session.deadline is None
    assert peer.drain() == []


def test_presumed_lost_after_the_whole_timeout() -> None:
    peer = connected()
    start = peer.now
    assert peer.session.deadline == start + LOST
    assert presumed_lost_at(peer) == start + LOST


def test_the_time_of_sending_counts_not_that_of_the_answer() -> None:
    peer = connected()
    start = peer.now
    peer.advance(1)
    peer.session.submit(GetData("/a"))
    peer.advance(1)
    peer.take()  # handed over at 2 s, answered at 7 s
    peer.advance(5)
    peer.answer()
    assert peer.session.deadline == start + 2 + LOST
    assert presumed_lost_at(peer) == start + 2 + LOST


def test_the_time_of_the_ping_counts_not_that_of_its_answer() -> None:
    peer = connected()
    start = peer.now
    peer.advance(PING)
    peer.take()
    peer.advance(3.9)
    peer.answer_all()
    assert peer.session.deadline == start + PING + LOST
    assert presumed_lost_at(peer) == start + PING + LOST


def test_each_ping_has_its_own_time() -> None:
    peer = connected()
    start = peer.now
    peer.notify(EventType.CREATED, "/a")
    peer.advance(PING)
    peer.take()
    peer.notify(EventType.CREATED, "/a")
    peer.advance(PING)
    peer.take()
    peer.receive(pong())
    assert peer.session.deadline == start + PING + LOST
    peer.receive(pong())
    assert peer.session.deadline == start + 2 * PING + LOST


def test_each_handing_over_has_its_own_time() -> None:
    peer = connected()
    start = peer.now
    for _ in range(3):
        for _ in range(2):
            peer.session.submit(GetData("/a"))
        peer.take()
        peer.advance(1)
    deadlines = []
    for _ in range(6):
        peer.answer()
        deadlines.append(peer.session.deadline)
    assert deadlines == [start + LOST + n for n in (0, 0, 1, 1, 2, 2)]


def test_a_late_answer_to_an_early_request_never_shortens_the_time() -> None:
    peer = connected()
    start = peer.now
    peer.session.submit(GetData("/a"))
    peer.take()
    peer.advance(PING)
    peer.take()
    peer.receive(pong())
    peer.answer()
    assert peer.session.deadline == start + PING + LOST


def test_presumed_lost_although_the_connection_is_up() -> None:
    peer = connected()
    start = peer.now
    while peer.up():
        # The server talks, but answers nothing: for all we know it has not read a byte since.
        peer.notify(EventType.CREATED, "/a")
        peer.take()
        peer.advance(0.5)
        assert peer.now < start + 2 * T
    assert peer.now == start + LOST
    assert peer.states() == [SUSPENDED, PRESUMED_LOST]


def test_presumed_lost_between_a_late_look_and_the_reply() -> None:
    # The program slept through the deadline; the answer that has come meanwhile is too old to count.
    peer = connected()
    peer.session.submit(GetData("/a"))
    peer.take()
    peer.jump(T + 1)
    peer.answer()
    assert peer.session.next_timeout() <= peer.now
    peer.tick()
    assert peer.states() == [SUSPENDED, PRESUMED_LOST]


def test_both_at_once_after_a_long_sleep() -> None:
    peer = connected()
    peer.jump(T + 0.001)
    peer.lose()
    assert peer.states() == [SUSPENDED, PRESUMED_LOST]


def test_presumed_lost_while_a_server_makes_up_its_mind() -> None:
    peer = connected(hosts="10.0.0.1")
    start = peer.now
    peer.lose()
    dial = peer.dial()
    while peer.now < start + LOST - 0.9:
        peer.session.attempt_failed(dial, "refused", peer.now)
        dial = peer.dial()
    assert peer.session.connection_made(dial, peer.now)
    assert dial.deadline > start + LOST
    made = peer.now
    peer.advance(start + LOST - peer.now - 0.01)
    assert peer.states() == [SUSPENDED]
    peer.advance(0.01)
    assert peer.up()
    assert peer.states() == [PRESUMED_LOST]
    peer.receive(response())
    assert peer.states() == [CONNECTED]
    assert peer.session.deadline == made + LOST


def test_an_accepted_handshake_puts_it_off() -> None:
    peer = Peer(credentials=[("digest", b"bob:secret")])
    peer.connect()
    peer.lose()
    peer.open()
    reopened = peer.now
    peer.jump(1)
    peer.accept()
    assert peer.session.deadline == reopened + LOST
    assert peer.session.state is SUSPENDED


def test_even_a_refusal_to_restore_puts_it_off() -> None:
    peer = connected()
    watch(peer, "/a", WatchKind.DATA)
    peer.lose()
    peer.open()
    peer.jump(1)
    peer.accept()
    peer.take()
    sent = peer.now
    peer.jump(1)
    peer.answer(code=-5)
    assert not peer.up()
    assert peer.session.deadline == sent + LOST


def test_a_fruitless_handshake_does_not() -> None:
    peer = connected()
    start = peer.now
    peer.lose()
    peer.open()
    peer.lose()
    assert peer.session.deadline == start + LOST


def test_the_timeout_of_the_latest_handshake_counts() -> None:
    peer = connected()
    peer.lose()
    peer.open()
    start = peer.now
    peer.accept(timeout_ms=6000)
    assert peer.session.next_timeout() == start + 2
    assert presumed_lost_at(peer) == start + 6


def test_after_it_was_presumed_lost_the_session_goes_on_trying() -> None:
    peer = connected()
    peer.lose()
    peer.advance(100 * T)
    assert peer.states() == [SUSPENDED, PRESUMED_LOST]
    peer.connect()
    assert peer.states() == [CONNECTED]


# --- expiry without a server's word


def test_expires_locally_after_four_thirds() -> None:
    peer = connected(expire_locally=True)
    start = peer.now
    call = peer.session.submit(GetData("/a"))
    peer.take()
    peer.lose()
    waiting = peer.session.submit(GetData("/b"))
    while peer.session.error is None:
        peer.now = max(peer.now, peer.session.next_timeout())
        peer.tick()
    assert peer.now == start + LOCAL_EXPIRY
    assert peer.states() == [SUSPENDED, PRESUMED_LOST, EXPIRED_STATE]
    assert isinstance(call.error, ConnectionLossError)
    assert isinstance(waiting.error, SessionExpiredError)
    assert waiting.error.reason == "no server was reached for 16 s"
    assert peer.session.next_timeout() == inf
    assert peer.session.next_attempt(peer.now) is None


def test_expires_locally_in_the_middle_of_a_handshake() -> None:
    peer = connected(expire_locally=True, hosts="10.0.0.1")
    start = peer.now
    peer.lose()
    peer.advance(LOCAL_EXPIRY - 1)
    peer.open()
    peer.advance(start + LOCAL_EXPIRY - peer.now)
    assert not peer.up()
    assert peer.session.state is EXPIRED_STATE
    peer.receive(response())
    assert peer.session.state is EXPIRED_STATE


def test_does_not_expire_locally_while_a_server_restores_it() -> None:
    peer = Peer(credentials=[("digest", b"bob:secret")], expire_locally=True, hosts="10.0.0.1")
    peer.connect()
    start = peer.now
    peer.lose()
    peer.advance(LOCAL_EXPIRY - 0.5)
    peer.open()
    peer.accept()
    peer.take()
    peer.advance(start + LOCAL_EXPIRY - peer.now)
    assert peer.session.state is PRESUMED_LOST
    peer.answer_all()
    assert peer.session.state is CONNECTED


def test_does_not_expire_by_itself_unless_told_to() -> None:
    peer = connected()
    peer.lose()
    peer.advance(100 * T)
    assert peer.session.state is PRESUMED_LOST
    peer.open()
    peer.receive(EXPIRED)
    assert peer.states()[-1] is EXPIRED_STATE


# --- what is due, and when


def test_early_calls_do_nothing() -> None:
    peer = connected(expire_locally=True)
    for step in range(4):
        due = peer.session.next_timeout()
        handle_at(peer, (peer.now + due) / 2)
        assert peer.session.next_timeout() == due
        assert peer.drain() == []
        assert peer.session.data_to_send(peer.now) == b""
        if step == 2:
            peer.lose()
            peer.drain()
            for _ in range(3):
                peer.session.attempt_failed(peer.dial(), "refused", peer.now)
            peer.tick()
        elif step < 2:
            handle_at(peer, due)
            peer.take()
            peer.answer_all()


def test_the_next_deadline_while_suspended() -> None:
    peer = connected(expire_locally=True, hosts="10.0.0.1")
    start = peer.now
    peer.advance(PING + 1)
    peer.lose()
    assert peer.now < peer.session.next_timeout() <= peer.now + 0.1  # the next attempt
    dial = peer.dial()
    peer.advance(1)
    assert peer.session.next_timeout() == start + LOST
    peer.advance(start + LOST - peer.now)
    assert peer.session.next_timeout() == start + LOCAL_EXPIRY
    assert peer.session.state is PRESUMED_LOST
    peer.session.attempt_failed(dial, "refused", peer.now)
    assert peer.session.next_timeout() < start + LOCAL_EXPIRY
