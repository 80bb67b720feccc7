"""The bytes of one connection: what is bounded, and how it ends."""

from __future__ import annotations

import socket
from contextlib import suppress
from random import Random
from typing import Any
from unittest.mock import Mock

import pytest

from tests.testing.kinds import HELLO, Kind, get_frame, read_frame, until
from zk_adapter import Transport, Want
from zk_adapter.serving import _links
from zk_adapter.serving._links import ENOUGH_QUEUED, MOST_OUTSTANDING, MOST_QUEUED, SocketLink, accept_one
from zk_adapter.serving._memory import MemoryTransport
from zk_sansio.server import Connection, Ensemble, Faults
from zk_sansio.wire import Create, Delete, SetData

BIG = 1_000_000


class Scene:
    """An ensemble with one znode of a megabyte, and one connection to it."""

    def __init__(self) -> None:
        self.ensemble = Ensemble(random=Random(0), now=0.0)
        self.ensemble.execute(Create("/big", bytes(BIG)), 0.0)
        connection = self.ensemble.servers[0].accept(0.0)
        assert connection is not None
        self.connection: Connection = connection
        self.left: list[Any] = []
        self.writes = 0

    def pump(self) -> None:
        for connection in self.ensemble.take_ready():
            assert connection is self.connection
            self.link.collect()

    link: Any

    def change(self, times: int) -> None:
        """Let the client be notified of so many changes."""
        for _ in range(times):
            self.ensemble.execute(Create("/big/x"), 0.0)
            self.ensemble.execute(Delete("/big/x", -1), 0.0)


class SocketScene(Scene):
    """The connection has a socket, whose other end is `client`."""

    def __init__(self) -> None:
        super().__init__()
        self.client, self.server = socket.socketpair()
        for sock in (self.client, self.server):
            sock.setblocking(False)
        self.link = SocketLink(self.connection, Transport(self.server), lambda: 0.0, self.write, self.leave)

    def write(self, link: SocketLink) -> None:
        self.writes += 1

    def leave(self, link: SocketLink) -> None:
        self.left.append(link)
        link.transport.close()

    def __enter__(self) -> SocketScene:
        self.client.send(HELLO)
        self.link.receive()
        self.pump()
        read_frame(self.client)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.close()


class MemoryStreamOfTest(MemoryTransport):
    """Counts how often somebody was woken."""

    __slots__ = ("woken",)

    def changed(self) -> None:
        self.woken = getattr(self, "woken", 0) + 1


class MemoryScene(Scene):
    """The connection is in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.link = self.stream = MemoryStreamOfTest(self.connection, lambda: 0.0, self.pump, self.left.append)

    def __enter__(self) -> MemoryScene:
        assert self.stream.send(HELLO)
        assert self.stream.receive()
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_nothing_is_read_while_much_is_to_be_sent() -> None:
    requests = b"".join(get_frame("/big", i) for i in range(500))
    with SocketScene() as scene:
        scene.client.send(requests)
        scene.link.receive()
        scene.pump()
        assert ENOUGH_QUEUED < scene.link.queued < MOST_QUEUED / 2
        assert scene.link.serving
        assert not scene.link.reading
        assert not scene.link.resumes
        assert scene.writes == 1
        resumed = scene.link.resume = Mock()
        received = bytearray()
        whole = 500 * (4 + 16 + 4 + BIG + 68)
        while len(received) < whole:
            if scene.link.flush():
                scene.link.writing = False
            if scene.link.resumes:
                scene.link.receive()
                scene.pump()
            received += scene.client.recv(1 << 24)
        assert len(received) == whole
        resumed.assert_called_once_with()
        scene.pump()
        assert scene.link.reading
        assert scene.link.queued == 0


def test_nothing_is_read_while_many_requests_wait() -> None:
    ensemble = Ensemble(3, random=Random(0), now=0.0)
    follower = next(each for each in ensemble.servers if each is not ensemble.leader)
    connection = follower.accept(0.0)
    assert connection is not None
    one, two = socket.socketpair()
    with one, two:
        for sock in (one, two):
            sock.setblocking(False)
        link = SocketLink(connection, Transport(two), lambda: 0.0, Mock(), Mock())

        def pump() -> None:
            while ready := ensemble.take_ready():
                for each in ready:
                    assert each is connection
                    link.collect()

        one.send(HELLO)
        link.receive()
        pump()
        read_frame(one)
        follower.hold()
        one.send(SetData("/", b"", -1).encode(1) + b"".join(get_frame("/", i) for i in range(3 * MOST_OUTSTANDING)))
        link.receive()
        pump()
        assert MOST_OUTSTANDING < connection.outstanding < 2 * MOST_OUTSTANDING
        assert not link.reading
        link.resume = link.receive
        follower.release(0.0)
        pump()
        while link.resumes:
            link.receive()
            pump()
        link.receive()
        pump()
        assert connection.outstanding == 0
        one.settimeout(5)
        for _ in range(3 * MOST_OUTSTANDING + 1):
            link.flush()
            read_frame(one)


def test_reading_goes_on_though_nothing_is_answered() -> None:
    ensemble, faults = Ensemble(3, random=Random(0), now=0.0), Faults()
    follower = next(each for each in ensemble.servers if each is not ensemble.leader)
    connection = follower.accept(0.0, faults=faults)
    assert connection is not None
    one, two = socket.socketpair()
    with one, two:
        for sock in (one, two):
            sock.setblocking(False)
        link = SocketLink(connection, Transport(two), lambda: 0.0, Mock(), Mock())
        one.send(HELLO)
        link.receive()
        follower.hold()
        faults.black_hole("replies")
        one.send(b"".join(SetData("/", b"", -1).encode(i) for i in range(2 * MOST_OUTSTANDING)))
        link.receive()
        assert not link.reading
        resumed = link.resume = Mock()
        ensemble.take_ready()
        follower.release(0.0)
        for each in ensemble.take_ready():
            assert each is connection
            link.collect()
        resumed.assert_called_once_with()
        assert link.resumes


def test_who_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_links, "MOST_QUEUED", 3 * BIG)
    with SocketScene() as scene:
        scene.client.send(get_frame("/big", 1) * 3)
        scene.link.receive()
        scene.pump()
        assert not scene.link.ended
        scene.connection.queue(bytes(2 * BIG))
        scene.pump()
        assert scene.left == [scene.link]
        assert scene.link.ended
        assert scene.connection.closed
        assert not scene.link.serving
        scene.link.collect()
        assert scene.link.flush()


def test_what_was_said_last_gets_there() -> None:
    with SocketScene() as scene:
        scene.client.send(get_frame("/big", 1))
        scene.link.receive()
        scene.pump()
        scene.client.send(b"more")
        scene.connection.close()
        scene.pump()
        assert not scene.link.ended  # there is more to send
        assert not scene.link.reading
        received = bytearray()
        while True:
            scene.link.flush()
            try:
                data = scene.client.recv(1 << 20)
            except BlockingIOError:
                continue
            if not data:
                break
            received += data
        assert len(received) == 4 + 16 + 4 + BIG + 68
        assert scene.left == [scene.link]


def test_the_client_goes() -> None:
    for reset in False, True:
        with SocketScene() as scene:
            if reset:
                scene.client.send(get_frame("/big", 1) * 9)
                scene.link.receive()
                scene.pump()
                assert scene.link.queued
                scene.client.close()
                assert scene.link.flush()
            else:
                scene.client.close()
                scene.link.receive()
                scene.pump()
            assert scene.left == [scene.link]
            assert scene.connection.closed


def test_an_end_that_a_fault_holds_back_is_read_once() -> None:
    with SocketScene() as scene:
        faults = Faults()
        connection = scene.ensemble.servers[0].accept(0.0, faults=faults)
        assert connection is not None
        one, two = socket.socketpair()
        link = SocketLink(connection, Transport(two), lambda: 0.0, Mock(), Mock())
        with one, two:
            faults.black_hole()
            one.sendall(HELLO)
            link.receive()
            assert link.reading
            one.shutdown(socket.SHUT_WR)
            link.receive()
            assert not connection.closed
            assert not link.reading
            assert not link.serving
            assert not link.resumes
            faults.heal()
            scene.ensemble.handle_timeout(0.0)
            assert connection.closed
            link.collect()
            assert link.ended


def test_a_broken_socket_is_an_end() -> None:
    with SocketScene() as scene:
        scene.server.close()
        scene.link.receive()
        assert scene.connection.closed
    with SocketScene() as scene:
        scene.client.send(get_frame("/big", 1))
        scene.client.close()
        scene.link.receive()
        scene.pump()
        assert scene.link.ended


def test_what_is_queued_at_the_end_of_writing_is_written(kind: Kind) -> None:
    async def main() -> None:
        client, sock = socket.socketpair()
        with client:
            for end in client, sock:
                end.setblocking(False)
            async with kind.testing.open_server() as server:
                server._admit(kind.zk._stream.Stream(sock), server.faults, 0, "127.0.0.1", 0)
                ((link, _),) = server._links.values()
                received = bytearray()

                def all_received() -> bool:
                    with suppress(BlockingIOError):
                        received.extend(client.recv(1 << 20))
                    return len(received) >= 4 * BIG

                pump, later = server._pump, [bytes(BIG)]

                def pump_that_has_news() -> None:
                    if later and link.queued == 0:  # the first one is written, and somebody else's turn adds a second
                        link.connection.queue(later.pop())
                    pump()

                link.connection.queue(bytes(3 * BIG))
                server.touch()
                assert link.writing
                server._pump = pump_that_has_news
                await until(all_received)
                assert later == []
                await until(lambda: not link.writing)
                assert link.queued == 0

    kind.run(main)


# --- in memory


@pytest.mark.parametrize("answered", [True, False])
def test_a_client_in_memory_waits_while_many_requests_wait(answered: bool) -> None:
    ensemble, faults = Ensemble(3, random=Random(0), now=0.0), Faults()
    follower = next(each for each in ensemble.servers if each is not ensemble.leader)
    connection = follower.accept(0.0, faults=faults)
    assert connection is not None

    def pump() -> None:
        while ready := ensemble.take_ready():
            assert ready == [connection]
            stream.collect()

    stream = MemoryStreamOfTest(connection, lambda: 0.0, pump, Mock())
    assert stream.send(HELLO)
    assert stream.receive()
    follower.hold()
    if not answered:
        faults.black_hole("replies")  # nothing but the room for more tells the client to go on
    count = 3 * MOST_OUTSTANDING
    assert not stream.send(b"".join(SetData("/", b"", -1).encode(i) for i in range(count)))
    assert MOST_OUTSTANDING < connection.outstanding < 2 * MOST_OUTSTANDING
    for want in stream.sending():
        assert want is Want.WRITABLE
        assert not stream.writable
        before = stream.woken
        follower.release(0.0)
        pump()
        assert stream.writable
        assert stream.woken > before
        follower.hold()
    follower.release(0.0)
    pump()
    assert connection.outstanding == 0
    assert follower.tree.nodes["/"].version == count
    assert bool(stream.receive()) == answered


def test_a_client_in_memory_is_bounded() -> None:
    requests = b"".join(get_frame("/big", i) for i in range(500))
    with MemoryScene() as scene:
        stream = scene.stream
        assert not stream.send(requests)
        assert stream.unsent
        assert ENOUGH_QUEUED < stream.waiting < MOST_QUEUED / 2
        assert stream.readable
        assert not stream.writable
        unsent = stream.unsent
        stream.send_more()
        assert stream.unsent == unsent
        received = 0
        for want in stream.sending():
            assert want is Want.WRITABLE
            received += len(stream.receive() or b"")
        received += len(stream.receive() or b"")
        assert received == 500 * (4 + 16 + 4 + BIG + 68)
        stream.send_more()
        assert stream.receive() is None
        assert not stream.readable
        assert not stream.ended


def test_a_client_in_memory_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zk_adapter.serving._memory.MOST_QUEUED", 3 * BIG)
    with MemoryScene() as scene:
        for _ in range(4):
            scene.connection.queue(bytes(BIG))
            scene.pump()
        assert scene.connection.closed
        assert len(scene.stream.receive() or b"") == 4 * BIG
        assert scene.stream.receive() == b""
        with pytest.raises(BrokenPipeError):
            scene.stream.send(b"x")
        scene.stream.hang_up()
        scene.stream.collect()
        assert scene.left == [scene.stream]


def test_a_client_in_memory_hangs_up() -> None:
    with MemoryScene() as scene:
        scene.stream.close()
        scene.stream.close()
        assert scene.connection.closed
        assert scene.stream.receive() == b""
        assert scene.left == [scene.stream]


# --- listeners


def test_accepting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        assert accept_one(listener) is None
        with socket.create_connection(listener.getsockname()) as client:
            accepted = accept_one(listener)
            assert accepted is not None
            sock, address, port = accepted
            with sock:
                assert (address, port) == client.getsockname()
                assert not sock.getblocking()


def test_a_client_that_has_gone_before_it_is_accepted() -> None:
    answers: list[Any] = [ConnectionAbortedError, BlockingIOError]
    assert accept_one(Mock(accept=Mock(side_effect=answers))) is None
    with pytest.raises(OSError, match="files"):
        accept_one(Mock(accept=Mock(side_effect=OSError(24, "Too many open files"))))
