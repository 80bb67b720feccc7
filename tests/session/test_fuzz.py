"""Whatever a server sends, and however the bytes are cut: state and events, never an exception."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle
from math import inf
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.session.harness import DEFAULT, STAT, Peer, T, framed, notification, pong, reply, response, watching
from zk_sansio.session import Call, Event, Notification, Rearmed, StateChanged, Watcher, WatchersLost, WatchKind
from zk_sansio.wire import (
    Create,
    CreateMode,
    Delete,
    EventType,
    Exists,
    GetChildren,
    GetData,
    Multi,
    Request,
    SetData,
    Stat,
    Znode,
)

repeatable = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
Feed = Callable[[Peer, bytes], None]

TAG = "_c_01234567-89ab-cdef-0123-456789abcdef-"
LARGE = Znode(bytes(range(256)) * 257, STAT)


class Proof:
    """A SASL mechanism of two steps."""

    name = "PROOF"
    done = False

    def start(self) -> bytes:
        return b"hello"

    def step(self, token: bytes | None, /) -> bytes | None:
        if token == b"challenge":
            return b"response"
        self.done = True
        return None


# --- cut anywhere


def feed_whole(peer: Peer, data: bytes) -> None:
    peer.receive(data)


def feed_in(sizes: Sequence[int], *, direct: bool) -> Feed:
    """Feed pieces of *sizes*, through the buffer for large frames where there is one and *direct* says so."""
    pieces = cycle(sizes)

    def feed(peer: Peer, data: bytes) -> None:
        at = 0
        while at < len(data):
            size = next(pieces)
            buffer = peer.session.receive_buffer() if direct else None
            if buffer is None:
                peer.receive(data[at : at + size])
            else:
                size = min(size, len(buffer), len(data) - at)
                buffer[:size] = data[at : at + size]
                peer.session.receive_buffer_filled(size, peer.now)
            at += size

    return feed


def summary(events: Sequence[Event]) -> list[object]:
    """What can be compared between two runs."""
    told: list[object] = []
    for event in events:
        match event:
            case Call():
                outcome = repr(event.error) if event.error else event.result
                told.append((event.xid, event.request, outcome))
            case Notification(change, watchers):
                told.append((change, [(w.path, w.kind) for w in watchers]))
            case Rearmed(watchers, new_session):
                told.append((new_session, [(w.path, w.kind) for w in watchers]))
            case WatchersLost(watchers, error):
                told.append((repr(error), [(w.path, w.kind) for w in watchers]))
            case StateChanged(old, new, error):
                told.append((old, new, repr(error)))
            case _:
                told.append(event)
    return told


def answer_all(peer: Peer, feed: Feed) -> None:
    """Answer what was received, all in one piece; data is large."""
    peer.take()
    replies = [peer.answered(LARGE if isinstance(r, GetData) else DEFAULT) for _, r in list(peer.requests)]
    if replies:
        feed(peer, b"".join(replies))


def whole_life(feed: Feed) -> list[object]:
    """Everything that can happen to a session, with the server's bytes delivered by *feed*."""
    peer = Peer(credentials=[("digest", b"bob:secret")], sasl=lambda host: Proof())
    session = peer.session
    for kind in WatchKind:
        session.submit(watching(f"/{kind.value}", kind), Watcher(f"/{kind.value}", kind))
    for _ in range(2):
        peer.open()
        feed(peer, response())
        for token in (b"challenge", None):
            peer.take()
            feed(peer, peer.answered(token))
        answer_all(peer, feed)  # credentials and watches
        answer_all(peer, feed)  # what waited
        requests: list[Request[Any]] = [GetData("/a"), Multi([Create("/b"), Delete("/c")]), SetData("/d", b"")]
        for request in requests:
            session.submit(request)
        session.add_auth("digest", b"eve:secret")
        peer.advance(T / 3)
        peer.take()
        assert peer.requests.pop()[0] == -4
        overtaking = reply(-4)
        frames = [
            notification(EventType.CREATED, "/recursive/x", 5),
            overtaking,
            peer.answered(LARGE),
            pong(),
            notification(EventType.DELETED, "/data"),
            peer.answered(),
            notification(EventType.CHILDREN_CHANGED, "/persistent"),
            peer.answered(code=-101),
        ]
        feed(peer, b"".join(frames))
        peer.lose()
    peer.drain()
    return summary(peer.log)


EXPECTED = whole_life(feed_whole)


def test_the_whole_life_has_all_kinds_of_events() -> None:
    assert len(EXPECTED) > 20


@settings(repeatable, max_examples=100)
@given(st.lists(st.integers(1, 30) | st.integers(1, 60_000), min_size=2, max_size=12), st.booleans())
@example([1], False)
@example([1], True)
@example([2], True)
@example([65536], True)
def test_any_split_gives_the_same_events(sizes: list[int], direct: bool) -> None:
    assert whole_life(feed_in(sizes, direct=direct)) == EXPECTED


# --- nonsense


def busy(rng: random.Random) -> tuple[Peer, list[Call[Any]]]:
    """A session with something of everything under way."""
    peer = Peer(read_only=rng.random() < 0.3, max_reply=10_000, expire_locally=rng.random() < 0.5)
    session = peer.session
    peer.connect(read_only=session.options.read_only)
    for kind in WatchKind:
        for path in ("/a", "/a/b", "/"):
            session.submit(watching(path, kind), Watcher(path, kind))
    peer.serve()
    peer.drain()
    requests: list[Request[Any]] = [
        GetData("/a"),
        Create("/e", mode=CreateMode.EPHEMERAL),
        Create(f"/{TAG}", mode=CreateMode.EPHEMERAL_SEQUENTIAL),
        Multi([Create("/e", mode=CreateMode.EPHEMERAL), Delete("/x")]),
        GetChildren("/"),
        Exists("/a"),
        SetData("/a", b"x"),
    ]
    rng.shuffle(requests)
    calls: list[Call[Any]] = [session.submit(request) for request in requests]
    watcher = Watcher("/w", WatchKind.DATA)
    calls.append(session.submit(GetData("/w", True), watcher))
    calls.append(session.add_auth("digest", b"bob:secret"))
    if rng.random() < 0.5:
        peer.advance(T / 3)
    peer.take()
    for call in calls:
        if rng.random() < 0.4:
            session.abandon(call)
    if rng.random() < 0.2:
        session.close(peer.now, 1)
        peer.take()
    return peer, calls


def good_replies(peer: Peer, rng: random.Random) -> list[bytes]:
    """What a server could answer, events of all kinds in between."""
    frames = []
    for _ in range(len(peer.requests)):
        stat = Stat(200, *STAT[1:7], peer.session.session_id, *STAT[8:])
        request = peer.requests[0][1]
        match request:
            case Exists():
                frames.append(peer.answered(stat))
            case GetChildren():
                frames.append(peer.answered(["e", TAG + "0000000001", TAG + "\0", "é"]))
            case _:
                frames.append(peer.answered(code=rng.choice([0, 0, 0, -101, -110, -5, 77])))
        if rng.random() < 0.4:
            path = rng.choice(["/a", "/a/b", "/a/b/c", "/", "/w", "a", ""])
            frames.append(notification(rng.choice([1, 2, 3, 4, -1, 99]), path, rng.choice([-1, 300])))
    frames += [pong()] * peer.unanswered_pings
    return frames


def mutate(frames: list[bytes], rng: random.Random) -> bytes:
    """Spoil a few bytes, or a few frames."""
    for _ in range(rng.randrange(4)):
        index = rng.randrange(len(frames))
        frame = bytearray(frames[index])
        match rng.randrange(7):
            case 0:
                frames.insert(rng.randrange(len(frames)), bytes(frame))
            case 1:
                del frames[index]
                if not frames:
                    return b""
            case 2:
                frames[index] = framed(bytes(frame[4 : rng.randrange(4, max(5, len(frame) + 1))]))
            case 3:
                frames[index] = framed(bytes(frame[4:20]) + rng.randbytes(rng.randrange(40)))
            case 4:
                frames[index] = framed(rng.randbytes(rng.randrange(60)))
            case _:
                for _ in range(rng.randrange(1, 4) if len(frame) > 4 else 0):
                    frame[rng.randrange(4, len(frame))] = rng.choice([0, 1, 255, 128, rng.randrange(256)])
                frames[index] = bytes(frame)
    data = b"".join(frames)
    return data if rng.random() < 0.8 else data[: rng.randrange(len(data) + 1)]


def look_at_everything(peer: Peer) -> None:
    session = peer.session
    peer.tick()
    session.data_to_send(peer.now)
    assert session.ticket is None or session.ticket.session_id == session.session_id
    assert session.in_flight >= 0
    assert session.queued_bytes >= 0
    assert session.failures is not None
    assert session.deadline is None or session.deadline < inf
    repr(session.error)
    for event in peer.drain():
        repr(event)


def settle(peer: Peer, calls: list[Call[Any]]) -> None:
    """End the session, and check that every call got one outcome, and its caller heard of it once."""
    session = peer.session
    session.close(peer.now, 0.5)
    look_at_everything(peer)
    peer.advance(5)
    look_at_everything(peer)
    assert session.state.over
    assert session.next_timeout() == inf
    assert not session._book.own
    assert not session._watches.watchers(*(kind for kind in WatchKind if kind.one_shot))
    heard = Counter(event for event in peer.log if isinstance(event, Call))
    for call in calls:
        assert call.done
        if not call.abandoned:
            assert heard[call] == 1
        assert heard[call] <= 1
    assert all(call in calls for call in heard if call.watcher is None), "a call that nobody made"


@settings(repeatable, max_examples=1000)
@given(st.integers(0, 2**32))
def test_mutated_replies(seed: int) -> None:
    rng = random.Random(seed)
    peer, calls = busy(rng)
    calls = [call for call in calls if not (call.abandoned and call.done)]
    data = mutate(good_replies(peer, rng), rng)
    cut = rng.randrange(len(data) + 1)
    for piece in (data[:cut], data[cut:]):
        if piece:
            peer.receive(piece)
        if rng.random() < 0.5:
            look_at_everything(peer)
    if rng.random() < 0.5:
        peer.advance(rng.choice([1, 5, 13, 20]))
        look_at_everything(peer)
    for _ in range(rng.randrange(3)):
        if not peer.up() and not peer.session.state.over:
            again(peer, rng)
    settle(peer, calls)


def again(peer: Peer, rng: random.Random) -> None:
    """Connect once more to a server that is not quite right."""
    peer.advance(2)
    if peer.session.state.over:
        return
    peer.open()
    peer.receive(
        rng.choice(
            [
                response(session_id=peer.session.session_id or 1),
                response(session_id=peer.session.session_id or 1, password=b"", timeout_ms=1),
                response(session_id=0),
                response(timeout_ms=2**31 - 1, session_id=peer.session.session_id, read_only=True),
                mutate([response(session_id=peer.session.session_id)], rng),
            ]
        )
        or b"\0"
    )
    look_at_everything(peer)
    if peer.up():
        peer.take()
        data = mutate(good_replies(peer, rng) or [pong()], rng)
        if data:
            peer.receive(data)
        look_at_everything(peer)


@settings(repeatable, max_examples=300)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.booleans(), st.integers(0, 5))
def test_random_bytes(pieces: list[bytes], frames: bool, stage: int) -> None:
    peer = Peer(credentials=[("digest", b"bob:secret")], sasl=(lambda host: Proof()) if stage == 1 else None)
    call = peer.session.submit(GetData("/a"))
    peer.open()
    if stage:
        peer.accept()
        peer.take()
    if stage > 2:
        peer.answer_all()
        peer.take()
    if stage == 4:
        peer.session.close(peer.now, 3)
        peer.take()
    for piece in pieces:
        peer.receive(framed(piece) if frames else piece)
        look_at_everything(peer)
    settle(peer, [call])
