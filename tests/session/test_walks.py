"""Random lives of a session: its deadlines are never missed, and never in the way of time."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.session.harness import EXPIRED, OPTIONS, Peer, T, notification, pong, reply, response
from zk_sansio.session import (
    Call,
    Dial,
    Probe,
    Resolve,
    SessionState,
    StateChanged,
    Watcher,
    WatchKind,
    parse_hosts,
)
from zk_sansio.wire import AddWatch, AddWatchMode, Create, CreateMode, GetData, Request, SetData

repeatable = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Mechanism:
    name = "WALK"
    done = False

    def start(self) -> bytes:
        return b""

    def step(self, token: bytes | None, /) -> bytes | None:
        self.done = True
        return None


class Walk:
    """A session driven by chance, beside a model of what it should know of time."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.peer = Peer(
            OPTIONS,
            hosts=rng.choice(["10.0.0.1", "10.0.0.1,10.0.0.2", "one.example,10.0.0.2,10.0.0.3"]),
            credentials=rng.choice([[], [("digest", b"bob:secret")]]),
            read_only=rng.random() < 0.3,
            expire_locally=rng.random() < 0.3,
            sasl=(lambda host: Mechanism()) if rng.random() < 0.2 else None,
            seed=seed,
        )
        self.session = self.peer.session
        self.calls: list[Call[Any]] = []
        self.watchers: list[Watcher] = []
        self.state = SessionState.CONNECTING

    def step(self) -> None:
        """One input, whichever."""
        peer, session, rng = self.peer, self.session, self.rng
        actions: list[Callable[[], object]] = [self.submit, self.abandon, self.auth]
        actions += [self.wait] * 4 + [self.attempt] * 4
        if session.connected:
            actions += [peer.take] * 3
            actions += [self.answer] * 5 + [self.event, self.lose, self.flood, self.unwatch]
        if rng.random() < 0.01:
            actions = [self.close]
        elif rng.random() < 0.01:
            actions = [self.update]
        rng.choice(actions)()
        self.check()

    def wait(self) -> None:
        """Let time pass: to the next deadline, not quite, or far beyond it."""
        peer = self.peer
        due = self.session.next_timeout()
        way = self.rng.random()
        if way < 0.5 and due < inf:
            peer.now = max(peer.now, due)
        elif way < 0.9:
            peer.now += self.rng.random() * 2
        else:
            peer.now += self.rng.random() * 3 * T
        self.look()

    def look(self) -> None:
        """What an adapter does at each deadline: afterwards the next one lies in the future."""
        peer = self.peer
        peer.tick()
        if self.session.next_timeout() <= peer.now:
            peer.tick()  # what a connection's end has made due
        assert self.session.next_timeout() > peer.now
        quiet = (self.session.state, self.session.connected, self.session.next_timeout())
        peer.tick()  # doing it again does nothing
        assert (self.session.state, self.session.connected, self.session.next_timeout()) == quiet

    def attempt(self) -> None:
        peer, session, rng = self.peer, self.session, self.rng
        if not peer.attempts:
            self.look()
        if not peer.attempts:
            return
        attempt = peer.attempts.pop(rng.randrange(len(peer.attempts)))
        match attempt:
            case Resolve():
                found = {host: ["10.0.0.9"] for host in attempt.hosts if rng.random() < 0.7}
                lost = dict.fromkeys(set(attempt.hosts) - set(found), "unknown")
                session.resolved(attempt, found, lost, peer.now)
            case Probe():
                session.probed(attempt, rng.choice([b"", b"ro", b"rw", b"not in the whitelist", response()]), peer.now)
            case Dial() if rng.random() < 0.3:
                session.attempt_failed(attempt, "refused", peer.now)
            case Dial():
                if session.connection_made(attempt, peer.now):
                    peer.reset()
                    peer.take()
                    self.greet()

    def greet(self) -> None:
        """Answer the handshake, mostly."""
        peer, rng = self.peer, self.rng
        way = rng.random()
        asked = peer.handshakes[-1].session_id
        if way < 0.8:
            timeout = rng.choice([12000, 6000, 30])
            peer.receive(
                response(timeout_ms=timeout, session_id=asked or rng.randrange(1, 99), read_only=rng.random() < 0.2)
            )
        elif way < 0.85:
            peer.receive(EXPIRED)
        elif way < 0.9:
            peer.lose()

    def submit(self) -> None:
        request, watcher = self.choose()
        call = self.session.submit(request, watcher)
        if not call.done:
            self.calls.append(call)
        if watcher is not None:
            self.watchers.append(watcher)

    def choose(self) -> tuple[Request[Any], Watcher | None]:
        match self.rng.randrange(4):
            case 0:
                return GetData("/a", True), Watcher("/a", WatchKind.DATA)
            case 1:
                watcher = Watcher("/a", WatchKind.RECURSIVE)
                return AddWatch("/a", AddWatchMode.PERSISTENT_RECURSIVE), watcher
            case 2:
                return Create("/e", mode=CreateMode.EPHEMERAL), None
            case _:
                return SetData("/a", b""), None

    def abandon(self) -> None:
        if self.calls:
            self.session.abandon(self.rng.choice(self.calls))

    def auth(self) -> None:
        self.calls.append(self.session.add_auth("digest", b"eve:secret"))

    def answer(self) -> None:
        peer = self.peer
        if peer.unanswered_pings and self.rng.random() < 0.5:
            peer.unanswered_pings -= 1
            peer.receive(pong())
        elif peer.requests:
            peer.answer(code=self.rng.choice([0] * 20 + [-101, -5, -112, -115]))

    def event(self) -> None:
        self.peer.receive(notification(self.rng.randrange(5), self.rng.choice(["/a", "/a/b", "/e"])))

    def unwatch(self) -> None:
        if self.watchers:
            self.session.unwatch(self.rng.choice(self.watchers))

    def lose(self) -> None:
        if self.rng.random() < 0.2:
            self.peer.lose()

    def flood(self) -> None:
        """Something that a server should not send."""
        if self.rng.random() < 0.05:
            self.peer.receive(reply(self.rng.choice([0, 77, -4, -8]), 9))

    def update(self) -> None:
        servers, _ = parse_hosts(self.rng.choice(["10.0.0.1,10.0.0.2,10.0.0.3", "10.0.0.7", "two.example"]))
        self.session.update_servers(servers, self.peer.now)

    def close(self) -> None:
        self.session.close(self.peer.now, 1.5, keep_session=self.rng.random() < 0.3)

    # --- what holds at all times

    def check(self) -> None:
        session, peer = self.session, self.peer
        due = session.next_timeout()
        for event in peer.drain():
            if isinstance(event, StateChanged):
                assert event.old is self.state
                self.state = event.new
        assert session.state is self.state
        assert session.state.over == (session.error is not None)
        if session.state.over:
            assert due == inf
            assert not session.connected
            return
        deadline = session.deadline
        connection = session._connection
        if session.state is SessionState.SUSPENDED and deadline is not None:
            assert due <= deadline
        if session.state is SessionState.PRESUMED_LOST and session.options.expire_locally and deadline is not None:
            assert due <= deadline + session.timeout / 3 + 1e-9
        if session.state.serving:
            # However long the connection looks well: when the deadline comes, something happens.
            assert deadline is not None
            assert connection is not None
            assert due <= deadline
            assert due <= connection.last_sent + session.timeout / 3 or session._closing
        if connection is not None:
            assert due <= max(connection.deadline, connection.last_heard + connection.read_timeout)
        if connection is None:
            assert session.queued_bytes == session._book.waiting_bytes
            assert not session._book.own
        assert session.in_flight >= 0


@settings(repeatable, max_examples=400)
@given(st.integers(0, 2**32))
@example(1)
def test_deadlines_are_kept_and_time_goes_on(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(walk.rng.randrange(5, 120)):
        if walk.session.state.over:
            break
        walk.step()
    if not walk.session.state.over:
        walk.session.close(walk.peer.now, 1)
        walk.look()
        walk.peer.advance(2)
        walk.check()
    assert walk.session.state.over
    assert all(call.done for call in walk.calls)
    told = [event for event in walk.peer.log if isinstance(event, Call)]
    assert len(told) == len(set(told))
    assert all(call in told for call in walk.calls if not call.abandoned and call.xid != -4)


@settings(repeatable, max_examples=20)
@given(st.integers(0, 2**32))
def test_time_never_stands_still(seed: int) -> None:
    # With nobody to answer, minute after minute: a bounded number of deadlines, each later than the one before.
    walk = Walk(seed)
    for _ in range(walk.rng.randrange(40)):
        if not walk.session.state.over:
            walk.step()
    peer = walk.peer
    end = peer.now + 300
    looks = 0
    while peer.now < end and (due := walk.session.next_timeout()) < inf:
        peer.now = max(peer.now, due)
        walk.look()
        for attempt in peer.attempts:
            if isinstance(attempt, Resolve):
                walk.session.resolved(attempt, {}, dict.fromkeys(attempt.hosts, "unknown"), peer.now)
            else:
                walk.session.attempt_failed(attempt, "refused", peer.now)
        peer.attempts = []
        peer.drain()
        looks += 1
    assert looks < 300 * 20 * 4
