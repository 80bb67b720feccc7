"""Faults at a real in-memory server: what it has done, what its client gets, however the bytes are split."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk_sansio.acl import ACL, ANYONE
from zk_sansio.server import Connection, Ensemble, Faults, Server, ServerOptions
from zk_sansio.wire import (
    HEADER,
    XID_PING,
    CloseSession,
    ConnectRequest,
    ConnectResponse,
    Create,
    CreateMode,
    Delete,
    FrameDecoder,
    GetData,
    OpCode,
    Ping,
)

OPEN = [ACL(31, ANYONE)]
GREETING = 37
"""Bytes of the answer to a handshake; no other frame here has as many."""

COUNT = 5
"""Frames of a client: the handshake, a ping, and creates."""


class World:
    """One server, one `Faults`, and a witness whose connection has none."""

    def __init__(self, options: ServerOptions | None = None, size: int = 1) -> None:
        self.now = 0.0
        self.ensemble = Ensemble(size, options, random=Random(1), now=0.0)
        self.server = self.ensemble.servers[0]
        self.faults = Faults()

    def accept(self) -> Connection:
        connection = self.server.accept(self.now, faults=self.faults)
        assert connection is not None
        return connection

    def settle(self, seconds: float = 0.0) -> None:
        """Let that much time pass, and do all that is due meanwhile."""
        until = self.now + seconds
        for _ in range(1000):
            due = self.ensemble.next_timeout()
            if due > until:
                self.now = until
                return
            self.now = max(self.now, due)
            self.ensemble.handle_timeout(self.now)
        raise AssertionError("it asks to be called again and again")

    def feed(self, connection: Connection, *frames: bytes, size: int | None = None) -> None:
        data = b"".join(frames)
        for start in range(0, len(data), size or max(len(data), 1)):
            connection.receive_data(data[start : start + (size or len(data))], self.now)
            self.settle()

    @property
    def made(self) -> list[str]:
        return [path for path in self.server.tree.nodes if path.startswith("/n")]


def handshake(session_id: int = 0, password: bytes = bytes(16), last_zxid: int = 0) -> bytes:
    return ConnectRequest(
        timeout_ms=10_000, last_zxid=last_zxid, session_id=session_id, password=password, read_only=False
    ).encode()


def create(number: int) -> bytes:
    return Create(f"/n{number}", b"", OPEN, CreateMode.PERSISTENT).encode(number)


def conversation() -> list[bytes]:
    return [handshake(), Ping().encode(XID_PING), *(create(number) for number in range(2, COUNT))]


def got(connection: Connection) -> list[int]:
    """The xids of all that the client got; 0 is the answer to the handshake."""
    frames = FrameDecoder(1 << 20).receive_data(connection.data_to_send())
    return [0 if len(frame) == GREETING else HEADER.unpack_from(frame)[0] for frame in frames]


XIDS = [0, XID_PING, 2, 3, 4]
CUTS: dict[str, tuple[Callable[[Faults, int], None], int, int]] = {
    "before request": (lambda faults, k: faults.cut_before_request(k), 0, 0),
    "after request": (lambda faults, k: faults.cut_after_request(k), 1, 0),
    "before reply": (lambda faults, k: faults.cut_before_reply(k), 1, 0),
    "after reply": (lambda faults, k: faults.cut_after_reply(k), 1, 1),
}
"""How to cut, and whether the request itself is carried out, and answered."""


@pytest.mark.parametrize("k", range(COUNT))
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("size", [None, 1, 3, 10])
def test_cuts_at_every_request_and_any_split(cut: str, k: int, size: int | None) -> None:
    world = World()
    arm, processed, answered = CUTS[cut]
    arm(world.faults, k)
    connection = world.accept()
    world.feed(connection, *conversation(), size=size)
    assert connection.closed
    assert connection in world.ensemble.take_ready()
    assert world.faults.cuts == 1
    assert world.made == [f"/n{number}" for number in range(2, k + processed)]
    assert got(connection) == XIDS[: k + answered]
    assert connection not in world.server.connections


@given(st.lists(st.integers(1, 200), max_size=20), st.sampled_from(list(CUTS)), st.integers(0, COUNT - 1))
def test_cuts_at_any_split(sizes: list[int], cut: str, k: int) -> None:
    world = World()
    arm, processed, answered = CUTS[cut]
    arm(world.faults, k)
    connection = world.accept()
    data = b"".join(conversation())
    for size in [*sizes, len(data)]:
        if data and not connection.closed:
            connection.receive_data(data[:size], 0.0)
            data = data[size:]
            world.settle()
    assert connection.closed
    assert world.made == [f"/n{number}" for number in range(2, k + processed)]
    assert got(connection) == XIDS[: k + answered]


@pytest.mark.parametrize("lag", [0.0, 0.5])
@pytest.mark.parametrize("cut", CUTS)
def test_cuts_at_a_follower_that_lags(cut: str, lag: float) -> None:
    """There a write is answered later; whatever becomes of its connection, it is carried out once it was let in."""
    world = World(size=3)
    world.server = next(each for each in world.ensemble.servers if each is not world.ensemble.leader)
    connection = world.accept()
    world.feed(connection, handshake())
    world.server.lag = lag
    arm, processed, answered = CUTS[cut]
    arm(world.faults, 1)
    world.feed(connection, create(1), create(2))
    world.settle(1.0)
    assert connection.closed
    assert world.made == ["/n1"] * processed
    assert got(connection) == [0, 1][: 1 + answered]


@pytest.mark.parametrize("k", range(COUNT))
def test_drops(k: int) -> None:
    world = World()
    world.faults.drop_reply(k)
    connection = world.accept()
    world.feed(connection, *conversation())
    assert world.made == ["/n2", "/n3", "/n4"]
    frames = FrameDecoder(1 << 20).receive_data(connection.data_to_send())
    xids = [HEADER.unpack_from(frame)[0] for frame in frames]
    if k:
        assert xids[1:] == [xid for xid in XIDS[1:] if xid != XIDS[k]]
    else:
        assert xids == XIDS[1:]
    assert not connection.closed

    world = World()
    world.faults.drop_request(k)
    connection = world.accept()
    world.feed(connection, *conversation())
    assert connection.closed == (k == 0)  # where a ping is the first frame, it is no handshake
    if k:
        assert world.made == [f"/n{number}" for number in range(2, COUNT) if number != k]
        assert got(connection) == [xid for index, xid in enumerate(XIDS) if index != k]


def test_a_corrupted_request_is_answered_by_a_wrong_xid() -> None:
    world = World()
    world.faults.corrupt_request(op=OpCode.CREATE)
    connection = world.accept()
    world.feed(connection, *conversation())
    assert world.made == ["/n2", "/n3", "/n4"]
    assert got(connection) == [0, XID_PING, 2 - 2**31, 3, 4]


def test_a_corrupted_opcode_closes_the_connection() -> None:
    world = World()
    world.faults.corrupt_request(op=OpCode.CREATE, at=4)
    connection = world.accept()
    world.feed(connection, *conversation())
    assert world.made == []
    assert connection.closed


@pytest.mark.parametrize("k", range(COUNT))
def test_corrupted_replies(k: int) -> None:
    world = World()
    world.faults.corrupt_reply(k)
    connection = world.accept()
    world.feed(connection, *conversation())
    assert world.made == ["/n2", "/n3", "/n4"]
    expected: list[int] = list(XIDS)
    if k:
        expected[k] ^= -(2**31)
    assert got(connection) == expected


@pytest.mark.parametrize("direction", ["both", "requests", "replies"])
def test_black_hole_and_heal(direction: Literal["both", "requests", "replies"]) -> None:
    world = World()
    connection = world.accept()
    world.feed(connection, handshake())
    assert got(connection) == [0]
    world.faults.black_hole(direction)
    world.feed(connection, create(1), GetData("/n1", False).encode(2), size=7)
    world.settle(3.0)
    assert world.made == (["/n1"] if direction == "replies" else [])
    assert connection.data_to_send() == b""
    world.faults.heal()
    assert world.ensemble.next_timeout() <= world.now
    world.ensemble.take_ready()
    world.settle()
    assert world.ensemble.take_ready() == [connection]
    assert world.made == ["/n1"]
    assert got(connection) == [1, 2]


def test_what_is_held_is_processed_at_the_time_of_healing() -> None:
    """A session is heard of when its requests get through, not when they were sent."""
    world = World()
    connection = world.accept()
    world.feed(connection, handshake())
    world.settle(1.0)
    world.faults.black_hole()
    world.feed(connection, Ping().encode(XID_PING))
    world.settle(8.0)
    world.faults.heal()
    world.settle()
    world.settle(9.0)
    assert connection.session_id in world.ensemble.sessions
    world.settle(3.0)
    assert connection.session_id not in world.ensemble.sessions


def test_a_session_expires_in_a_black_hole_without_its_client_being_told() -> None:
    world = World()
    connection = world.accept()
    world.feed(connection, handshake())
    got(connection)
    world.faults.black_hole()
    world.settle(30.0)
    assert world.ensemble.sessions == {}
    assert connection not in world.server.connections
    assert not connection.closed
    world.feed(connection, create(1))
    world.faults.heal()
    world.settle()
    assert connection.closed
    assert world.made == []
    assert got(connection) == []


def test_a_client_that_leaves_a_black_hole_is_missed_when_it_heals() -> None:
    world = World()
    connection = world.accept()
    world.feed(connection, handshake())
    world.faults.black_hole()
    world.feed(connection, create(1))
    connection.receive_data(b"", world.now)
    assert connection in world.server.connections
    world.faults.heal()
    world.settle()
    assert world.made == ["/n1"]
    assert connection.closed
    assert connection not in world.server.connections


def test_an_answer_before_the_end_is_not_lost_by_a_delay() -> None:
    """That a session is over is told, and the connection is closed behind that."""
    world = World()
    world.faults.delay(1.0)
    connection = world.accept()
    world.feed(connection, handshake(17, b"p" * 16))
    world.settle(1.5)
    assert not connection.closed
    world.settle(0.5)
    assert connection.closed
    (frame,) = FrameDecoder(100).receive_data(connection.data_to_send())
    assert ConnectResponse.decode(frame).session_id == 0

    connection = world.accept()
    world.feed(connection, handshake())
    world.feed(connection, CloseSession().encode(1))
    world.settle(2.0)
    assert connection.closed
    assert got(connection) == [0, 1]
    assert world.faults.next_timeout() == math.inf


def test_delays_are_served_by_the_ensemble() -> None:
    world = World()
    world.faults.delay(0.5, "requests")
    world.faults.delay(0.25, "replies")
    connection = world.accept()
    world.feed(connection, handshake(), create(1))
    world.settle(0.49)
    assert world.made == []
    world.settle(0.01)
    assert world.made == ["/n1"]
    assert connection.data_to_send() == b""
    world.settle(0.25)
    assert got(connection) == [0, 1]


def test_a_notification_is_delayed_from_the_change_on() -> None:
    """Though the change comes by a connection that these faults know nothing of."""
    world = World()
    watcher = world.accept()
    world.feed(watcher, handshake(), create(1), GetData("/n1", True).encode(2))
    got(watcher)
    world.faults.delay(1.0, "replies")
    world.now = 5.0
    world.ensemble.execute(Delete("/n1", -1), world.now)
    world.settle(0.9)
    assert watcher.data_to_send() == b""
    world.settle(0.1)
    assert len(watcher.data_to_send()) > 0


def test_refused_connections() -> None:
    world = World()
    world.faults.refuse()
    assert world.server.accept(0.0, faults=world.faults) is None
    assert world.server.accept(0.0) is not None
    assert world.faults.connections == 0
    world.faults.listen_again()
    assert world.accept() in world.server.connections
    assert world.faults.connections == 1


def test_a_cut_leaves_the_session() -> None:
    world = World()
    connection = world.accept()
    world.feed(connection, handshake())
    session_id = connection.session_id
    world.faults.cut()
    assert connection.closed
    assert connection in world.ensemble.take_ready()
    assert session_id in world.ensemble.sessions
    password = world.ensemble.sessions[session_id].password
    again = world.accept()
    world.feed(again, handshake(session_id, password))
    assert again.session_id == session_id


def test_one_object_serves_several_servers() -> None:
    world = World(size=3)
    connections: list[tuple[Server, Connection]] = []
    for server in world.ensemble.servers:
        world.server = server
        connections.append((server, world.accept()))
        world.feed(connections[-1][1], handshake())
    assert world.faults.connections == 3
    world.faults.cut()
    assert all(connection.closed for _, connection in connections)
    assert not any(server.connections for server, _ in connections)


def test_a_stopped_server_forgets_its_links() -> None:
    world = World()
    connection = world.accept()
    world.feed(connection, handshake())
    world.faults.black_hole()
    world.feed(connection, create(1))
    world.server.stop(world.now)
    assert connection.closed
    world.faults.heal()
    world.settle()
    assert world.made == []
    assert world.faults.next_timeout() == math.inf


def test_faults_of_the_past_are_forgotten() -> None:
    world = World()
    faults = Faults()
    connection = world.ensemble.servers[0].accept(world.now, faults=faults)
    assert connection is not None
    faults.delay(0.5)
    connection.receive_data(b"\0", world.now)
    connection.close()
    world.ensemble.forget(faults)
    faults.heal()
    assert world.ensemble.next_timeout() == math.inf
