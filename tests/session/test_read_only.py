"""A session on a read-only server, and the search for a better one."""

from __future__ import annotations

import random
import struct
from math import inf
from typing import Any

import pytest

from tests.session.harness import EXPIRED, PASSWORD, SESSION_ID, Peer, T, only, response, watch
from zk_sansio.errors import ConnectionLossError, NotReadOnlyError
from zk_sansio.session import (
    Dial,
    HostPort,
    Probe,
    Rearmed,
    Resolve,
    SessionState,
    WatchersLost,
    WatchKind,
    parse_hosts,
)
from zk_sansio.session._hosts import Server, ServerList
from zk_sansio.session._probe import Prober
from zk_sansio.wire import Create, CreateMode, Exists, GetData, SetData, Sync

READ_ONLY, SUSPENDED, CONNECTED = SessionState.READ_ONLY, SessionState.SUSPENDED, SessionState.CONNECTED
SENTENCE = b"isro is not executed because it is not in the whitelist.\n"
FAKE_ID = 0x55


def read_only_peer(**arguments: Any) -> Peer:
    peer = Peer(read_only=True, **arguments)
    peer.connect(read_only=True, session_id=FAKE_ID)
    return peer


def next_probe(peer: Peer) -> Probe:
    """The next probe, however long the session waits for it."""
    for _ in range(100):
        peer.tick()
        for attempt in peer.attempts:
            if isinstance(attempt, Probe):
                peer.attempts.remove(attempt)
                return attempt
        for attempt in peer.attempts:
            if isinstance(attempt, Resolve):
                peer.resolve(attempt, {host.host: ["10.9.0.1"] for host in attempt.hosts})
        # The server is there, so that time can pass.
        peer.advance(min(1.0, max(peer.session.next_timeout() - peer.now, 0)))
        peer.serve()
    raise AssertionError("the session does not probe")


# --- the session


def test_read_only() -> None:
    peer = read_only_peer()
    assert peer.states() == [READ_ONLY]
    assert peer.session.state.serving
    assert peer.session.session_id == FAKE_ID
    assert peer.session.ticket is None
    read, write = peer.session.submit(GetData("/a")), peer.session.submit(SetData("/a", b""))
    peer.take()
    peer.answer()
    peer.answer(code=-119)
    assert read.error is None
    assert isinstance(write.error, NotReadOnlyError)
    assert peer.session.state is READ_ONLY


def test_its_session_is_not_offered_to_others() -> None:
    peer = read_only_peer()
    peer.lose()
    request = peer.open()
    assert (request.session_id, request.password, request.read_only) == (0, bytes(16), True)
    peer.accept(session_id=77)
    assert peer.states() == [READ_ONLY, SUSPENDED, CONNECTED]
    assert peer.session.session_id == 77
    ticket = peer.session.ticket
    assert ticket is not None
    assert (ticket.session_id, ticket.password) == (77, PASSWORD)
    peer.lose()
    assert peer.open().session_id == 77


def test_a_session_that_was_read_write_before_stays_the_same() -> None:
    # Old servers take a global session back in read-only mode; it is still the one that holds the ephemerals.
    peer = Peer(read_only=True)
    peer.connect()
    ticket = peer.session.ticket
    peer.lose()
    peer.connect(read_only=True)
    assert peer.states() == [CONNECTED, SUSPENDED, READ_ONLY]
    assert peer.session.ticket == ticket
    peer.lose()
    assert peer.open().session_id == SESSION_ID
    peer.receive(EXPIRED)
    assert peer.session.state is SessionState.EXPIRED


def test_no_orphans_are_looked_for_where_none_can_be_removed() -> None:
    peer = Peer(read_only=True)
    peer.connect()
    call = peer.session.submit(Create("/e", mode=CreateMode.EPHEMERAL))
    peer.take()
    peer.session.abandon(call)
    peer.lose()
    peer.connect(read_only=True)
    assert peer.take() == []
    peer.session.disown(Create("/f", mode=CreateMode.EPHEMERAL), 0)
    assert peer.take() == []
    peer.lose()
    peer.connect()
    assert peer.taken() == [Sync("/"), Exists("/e"), Exists("/f")]


def test_its_last_zxid_stays() -> None:
    peer = read_only_peer()
    peer.session.submit(GetData("/a"))
    peer.take()
    peer.answer(zxid=400)
    peer.lose()
    assert peer.open().last_zxid == 400


def test_its_watches_are_set_again_elsewhere() -> None:
    peer = read_only_peer()
    persistent, data = watch(peer, "/p", WatchKind.PERSISTENT), watch(peer, "/d", WatchKind.DATA)
    peer.lose()
    peer.connect(session_id=77)
    assert only(peer.drained(Rearmed)).watchers == [persistent]
    assert data.armed


def test_from_one_read_only_server_to_the_next() -> None:
    peer = read_only_peer()
    peer.lose()
    peer.connect(read_only=True, session_id=FAKE_ID + 1)
    assert peer.states() == [READ_ONLY, SUSPENDED, READ_ONLY]
    assert peer.session.session_id == FAKE_ID + 1


def test_an_expired_read_only_session() -> None:
    peer = read_only_peer()
    watch(peer, "/d", WatchKind.DATA)
    peer.session.submit(GetData("/a"))
    peer.take()
    peer.answer(code=-112)
    assert len(peer.drained(WatchersLost)) == 1
    assert peer.session.state is SessionState.EXPIRED


# --- the search, as the session has it


def test_the_others_are_asked_one_after_the_other() -> None:
    peer = read_only_peer()
    start = peer.now
    assert peer.session.next_timeout() == start + 0.1
    assert peer.session.next_attempt(start + 0.0999) is None
    first = next_probe(peer)
    assert peer.now == start + 0.1
    assert first.data == b"isro"
    assert first.deadline == peer.now + 1
    assert repr(first).count("isro") == 0
    peer.tick()
    assert peer.attempts == []  # one at a time
    peer.session.probed(first, b"ro", peer.now)
    second = next_probe(peer)
    assert peer.now == start + 0.1
    peer.session.attempt_failed(second, "refused", peer.now)
    assert peer.session.server is not None
    assert {first.server, second.server, peer.session.server} == {
        Server(HostPort(host), host) for host in ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    }
    peer.tick()
    assert peer.attempts == []
    assert peer.session.next_timeout() == start + 0.1 + 0.2
    assert peer.session.failures == {}


def test_the_pause_doubles_up_to_a_minute() -> None:
    peer = read_only_peer()
    pauses = []
    for _ in range(14):
        for _ in range(2):
            probe = next_probe(peer)
            peer.session.probed(probe, b"null", peer.now)
        peer.tick()
        pauses.append(round(peer.session._prober.due - peer.now, 6))
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60, 60, 60, 60]
    assert peer.session.state is READ_ONLY


@pytest.mark.parametrize("answer", [b"rw", b"rw\n", b" rw\r\n"])
def test_moving_to_a_read_write_server(answer: bytes) -> None:
    peer = read_only_peer()
    call, waiting = peer.session.submit(GetData("/a")), None
    peer.take()
    probe = next_probe(peer)
    peer.drain()
    peer.session.probed(probe, answer, peer.now)
    waiting = peer.session.submit(SetData("/a", b""))
    assert not peer.up()
    assert peer.states() == [SUSPENDED]
    assert call.error is None or isinstance(call.error, ConnectionLossError)
    dial = peer.dial()
    assert dial.server == probe.server
    assert peer.session.connection_made(dial, peer.now)
    peer._shaken = False
    peer.take()
    assert peer.handshakes[-1].session_id == 0
    peer.accept(session_id=77)
    assert peer.states() == [CONNECTED]
    assert peer.taken() == [waiting.request]
    assert peer.session.next_attempt(peer.now) is None


@pytest.mark.parametrize("answer", [b"", b"ro", b"null", b"rwx", b"wr", b"This ZooKeeper instance is not serving"])
def test_other_answers_change_nothing(answer: bytes) -> None:
    peer = read_only_peer()
    probe = next_probe(peer)
    peer.session.probed(probe, answer, peer.now)
    assert peer.session.state is READ_ONLY
    assert next_probe(peer).server != probe.server


def test_if_the_better_server_refuses_the_round_goes_on() -> None:
    peer = read_only_peer()
    probe = next_probe(peer)
    peer.session.probed(probe, b"rw", peer.now)
    seen = []
    for _ in range(3):
        dial = peer.dial()
        seen.append(dial.server)
        peer.session.attempt_failed(dial, "refused", peer.now)
    assert seen[0] == probe.server
    assert len(set(seen)) == 3


def test_where_isro_is_not_allowed_a_session_is_offered() -> None:
    peer = read_only_peer()
    probe = next_probe(peer)
    peer.session.probed(probe, SENTENCE, peer.now)
    handshake = next_probe(peer)
    assert handshake.server == probe.server
    # A new session, no last zxid, not read-only; and closeSession right behind it.
    request = struct.pack(">iiqiqi", 45, 0, 0, 1000, 0, 16) + bytes(16) + b"\0"
    assert handshake.data == request + struct.pack(">iii", 8, 1, -11)
    peer.session.probed(handshake, response(session_id=99) + b"rest", peer.now)
    assert peer.states()[-1] is SUSPENDED
    assert peer.dial().server == probe.server


@pytest.mark.parametrize(
    "answer", [b"", b"\0\0\0", response(timeout_ms=0), b"\0\0\0\x05abcde", b"\x7f\xff\xff\xff", SENTENCE, b"rw"]
)
def test_a_session_that_is_not_accepted(answer: bytes) -> None:
    peer = read_only_peer()
    peer.session.probed(next_probe(peer), SENTENCE, peer.now)
    handshake = next_probe(peer)
    peer.session.probed(handshake, answer, peer.now)
    assert peer.session.state is READ_ONLY
    assert next_probe(peer).server != handshake.server


def test_names_are_resolved_for_each_round_of_the_search() -> None:
    peer = Peer(read_only=True, hosts="one.example,two.example")
    peer.tick()
    resolve = peer.attempts[0]
    assert isinstance(resolve, Resolve)
    peer.resolve(resolve, {"one.example": ["10.0.0.1"], "two.example": ["10.0.0.2"]})
    peer.connect(read_only=True, session_id=FAKE_ID)
    peer.advance(0.1)
    resolve = only(peer.attempts)
    assert isinstance(resolve, Resolve)
    assert resolve.hosts == (HostPort("one.example"), HostPort("two.example"))
    peer.advance(0.5)
    assert len(peer.attempts) == 1
    peer.resolve(resolve, {"one.example": ["10.0.0.1"], "two.example": ["10.0.0.9"]})
    servers = set()
    while peer.session.next_timeout() <= peer.now:
        peer.tick()
        if not peer.attempts:
            break
        probe = peer.attempts.pop()
        assert isinstance(probe, Probe)
        servers.add(probe.server.address)
        peer.session.probed(probe, b"ro", peer.now)
    assert "10.0.0.9" in servers
    assert peer.session.server is not None
    assert peer.session.server.address not in servers
    # Addresses that come twice do no harm.
    peer.session.resolved(resolve, {}, {}, peer.now)
    assert peer.session.next_timeout() > peer.now


def test_the_search_ends_with_the_connection() -> None:
    peer = read_only_peer()
    probe = next_probe(peer)
    peer.lose()
    peer.tick()
    assert all(isinstance(attempt, Dial) for attempt in peer.attempts)
    peer.session.probed(probe, b"rw", peer.now)
    peer.session.attempt_failed(probe, "refused", peer.now)
    assert peer.session.state is SUSPENDED
    peer.connect(session_id=77)
    assert peer.session.next_timeout() == peer.now + T / 3
    peer.session.probed(probe, b"rw", peer.now)
    assert peer.session.state is CONNECTED


def test_an_answer_that_comes_too_late_is_that_of_another_search() -> None:
    peer = read_only_peer()
    probe = next_probe(peer)
    peer.lose()
    peer.connect(read_only=True, session_id=FAKE_ID)
    peer.session.probed(probe, b"rw", peer.now)
    assert peer.session.state is READ_ONLY
    assert peer.session.next_timeout() == peer.now + 0.1


def test_the_search_ends_when_the_session_is_being_closed() -> None:
    peer = read_only_peer()
    probe = next_probe(peer)
    peer.session.close(peer.now, 5)
    peer.take()
    assert peer.session.next_timeout() == peer.now + 5
    assert peer.session.next_attempt(peer.now) is None
    peer.session.probed(probe, b"rw", peer.now)
    assert peer.up()
    peer.answer_all()
    assert peer.session.state is SessionState.CLOSED


def test_closing_while_a_probe_is_due() -> None:
    peer = read_only_peer()
    peer.jump(0.2)
    peer.session.close(peer.now, 5)
    peer.advance(4.9)
    assert peer.up()
    peer.advance(0.2)
    assert peer.session.state is SessionState.CLOSED


def test_another_list_of_servers_during_the_search() -> None:
    peer = read_only_peer()
    probe = next_probe(peer)
    peer.session.update_servers(parse_hosts("10.0.1.1")[0], peer.now)
    peer.session.probed(probe, b"rw", peer.now)
    assert peer.dial().server.address == "10.0.1.1"


def test_one_server_alone_has_nobody_to_ask() -> None:
    peer = Peer(read_only=True, hosts="10.0.0.1")
    peer.connect(read_only=True)
    peer.advance_served(30)
    assert peer.attempts == []
    assert peer.session.state is READ_ONLY


def test_the_search_begins_anew_with_each_connection() -> None:
    peer = read_only_peer()
    for _ in range(4):
        peer.session.probed(next_probe(peer), b"ro", peer.now)
    mute = next_probe(peer)
    peer.session.probed(mute, SENTENCE, peer.now)
    peer.lose()
    peer.connect(read_only=True, session_id=FAKE_ID)
    assert peer.session.next_timeout() == peer.now + 0.1
    assert next_probe(peer).data == b"isro"


# --- the prober alone


def make_prober(count: int) -> tuple[Prober, ServerList, Server]:
    hosts = [HostPort(f"10.0.0.{number}") for number in range(count)]
    prober = Prober()
    prober.start(0.0)
    return prober, ServerList(hosts, random.Random(1)), Server(hosts[0], hosts[0].host)


def test_the_server_in_use_is_passed_over_wherever_it_is_in_the_round() -> None:
    for count in range(1, 5):
        prober, servers, current = make_prober(count)
        for _ in range(10):
            now = prober.due
            asked = []
            while (probe := prober.next_probe(servers, current, now)) is not None:
                assert isinstance(probe, Probe)
                asked.append(probe.server)
                assert prober.due == inf
                assert not prober.answered(probe, b"ro", now)
            assert len(asked) == count - 1
            assert current not in asked
            assert prober.due > now


def test_nothing_is_due_before_it_begins() -> None:
    assert Prober().due == inf


def test_an_attempt_is_answered_once() -> None:
    prober, servers, current = make_prober(3)
    probe = prober.next_probe(servers, current, 0.1)
    assert isinstance(probe, Probe)
    assert prober.answered(probe, b"rw", 0.2)
    assert not prober.answered(probe, b"rw", 0.2)
    prober.stop()
    assert prober.due == inf
    assert prober.next_probe(servers, current, 10.0) is None
