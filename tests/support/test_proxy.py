"""The proxy: every fault does what its name says, and nothing is left behind."""

import gc
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.proxy import ChaosProxy
from tests.support.raw import CREATE, DELETE, GET_DATA, SET_DATA, RawClient, RawError, four_letter
from tests.support.servers import HOST, AnyServer
from tests.support.waiting import eventually


class Echo(threading.Thread):
    """A server that sends back what it gets, and notes whether connections end by FIN or by RST."""

    def __init__(self) -> None:
        super().__init__(name="echo", daemon=True)
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.received = b""
        self.ends: list[str] = []

    def run(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                try:
                    while data := connection.recv(65536):
                        if data == b"stop":
                            self._listener.close()
                            return
                        self.received += data
                        connection.sendall(data)
                    self.ends.append("FIN")
                except ConnectionResetError:
                    self.ends.append("RST")


@contextmanager
def echo() -> Iterator[tuple[Echo, ChaosProxy]]:
    """Run an echo server behind a proxy."""
    server = Echo()
    server.start()
    try:
        with ChaosProxy(server.port) as proxy:
            yield server, proxy
    finally:
        with socket.create_connection((HOST, server.port)) as last:
            last.sendall(b"stop")
            server.join(10)


@contextmanager
def connected(proxy: ChaosProxy) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, proxy.port), 5) as connection:
        yield connection


def frame(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


def exactly(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        assert chunk
        received += chunk
    return received


def silent(connection: socket.socket, seconds: float = 0.15) -> bool:
    """Tell whether nothing arrives, no end either."""
    connection.settimeout(seconds)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)
    return False


def open_raw(proxy: ChaosProxy) -> RawClient:
    return RawClient(HOST, proxy.port, timeout=5)


def test_passes_a_session_on_and_counts(proxy: ChaosProxy, root: str) -> None:
    with open_raw(proxy) as client:
        client.create(f"{root}/a", b"x")
        assert client.get(f"{root}/a") == b"x"
        assert proxy.live == 1
        assert proxy.opcodes == [CREATE, GET_DATA]
        assert (proxy.requests, proxy.replies, proxy.connections, proxy.notifications) == (2, 2, 1, 0)
    assert proxy.opcodes == [CREATE, GET_DATA, -11]
    eventually(lambda: proxy.live == 0)
    assert "Mode:" in four_letter(HOST, proxy.port, "srvr")
    assert four_letter(HOST, proxy.port, "isro") == "rw"
    assert proxy.requests == 3
    proxy.close()
    proxy.close()
    with pytest.raises(RuntimeError, match="ended"):
        proxy.cut()


def test_counts_notifications(proxy: ChaosProxy) -> None:
    with connected(proxy) as connection:
        connection.sendall(frame(struct.pack(">iqiqi", 0, 0, 5000, 0, 16) + bytes(17)))
        exactly(connection, 41)
        path = struct.pack(">i", 1) + b"/"
        connection.sendall(frame(struct.pack(">ii", 1, 106) + path + struct.pack(">i", 0)))
        exactly(connection, 24)
        with open_raw(proxy) as client:
            client.create("/notified")
            client.delete("/notified")
        eventually(lambda: proxy.notifications == 2)
        connection.sendall(frame(struct.pack(">ii", 2, -11)))


def test_large_frames_pass(proxy: ChaosProxy, root: str) -> None:
    with open_raw(proxy) as client:
        data = bytes(range(256)) * 4000
        client.create(f"{root}/large", data)
        assert client.get(f"{root}/large") == data


def test_cut_ends_connections_by_fin() -> None:
    with echo() as (server, proxy), connected(proxy) as connection:
        connection.sendall(frame(b"hello"))
        assert exactly(connection, 9) == frame(b"hello")
        proxy.cut()
        assert connection.recv(1) == b""
        eventually(lambda: server.ends == ["FIN"])
        assert proxy.live == 0


def test_reset_ends_connections_by_rst() -> None:
    with echo() as (server, proxy), connected(proxy) as connection:
        connection.sendall(frame(b"hello"))
        assert exactly(connection, 9) == frame(b"hello")
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        eventually(lambda: server.ends == ["RST"])


def test_refuse_and_listen_again() -> None:
    with echo() as (_, proxy), connected(proxy) as connection:
        proxy.refuse()
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError), connected(proxy):
            pass
        connection.sendall(frame(b"still"))
        assert exactly(connection, 9) == frame(b"still")
        proxy.listen_again()
        proxy.listen_again()
        with connected(proxy) as other:
            connection.close()
            other.sendall(frame(b"x"))
            assert exactly(other, 5) == frame(b"x")


def test_black_hole_and_heal() -> None:
    with echo() as (server, proxy), connected(proxy) as connection:
        connection.sendall(frame(b"1"))
        exactly(connection, 5)
        proxy.black_hole()
        connection.sendall(frame(b"2"))
        assert silent(connection)
        assert server.received == frame(b"1")
        assert proxy.live == 1
        proxy.heal()
        assert exactly(connection, 5) == frame(b"2")


def test_black_hole_takes_new_connections_in(proxy: ChaosProxy) -> None:
    proxy.black_hole()
    with connected(proxy) as connection:
        connection.sendall(frame(struct.pack(">iqiqi", 0, 0, 5000, 0, 16) + bytes(17)))
        assert silent(connection)
        proxy.heal()
        assert len(exactly(connection, 41)) == 41
        connection.sendall(frame(struct.pack(">ii", 1, -11)))
        exactly(connection, 20)
    proxy.black_hole()
    with pytest.raises(TimeoutError):
        RawClient(HOST, proxy.port, timeout=0.2)


def test_black_hole_in_one_direction() -> None:
    with echo() as (server, proxy), connected(proxy) as connection:
        proxy.black_hole("replies")
        connection.sendall(frame(b"1"))
        eventually(lambda: server.received == frame(b"1"))
        assert silent(connection)
        proxy.black_hole("requests")
        assert exactly(connection, 5) == frame(b"1")
        connection.sendall(frame(b"2"))
        assert silent(connection)
        assert server.received == frame(b"1")


def test_black_hole_costs_no_cpu(proxy: ChaosProxy) -> None:
    """Ends that are not read yet must not keep the thread awake."""
    client = open_raw(proxy)
    proxy.black_hole()
    client.abandon()
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1
    proxy.heal()
    eventually(lambda: proxy.live == 0)


def test_cut_before_request(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    with open_raw(proxy) as client:
        client.create(f"{root}/a")
        proxy.cut_before_request()
        with pytest.raises(ConnectionError):
            client.create(f"{root}/b")
    assert witness.children(root) == ["a"]
    assert proxy.cuts == 1


@pytest.mark.parametrize("reset", [False, True])
def test_cut_before_reply(proxy: ChaosProxy, root: str, witness: RawClient, *, reset: bool) -> None:
    proxy.cut_before_reply(op=CREATE, reset=reset)
    with open_raw(proxy) as client:
        assert client.children(root) == []
        with pytest.raises(ConnectionError):
            client.create(f"{root}/a")
    assert witness.children(root) == ["a"]
    with open_raw(proxy) as client:
        client.create(f"{root}/b")  # Once is enough.


def test_cut_after_request(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    proxy.cut_after_request(2)
    with open_raw(proxy) as client:
        client.create(f"{root}/a")
        with pytest.raises(ConnectionError):
            client.create(f"{root}/b")
    # Handed to a server that was still reading: it does carry it out, though nobody could know.
    eventually(lambda: witness.children(root) == ["a", "b"])


def test_cut_by_number_and_at_the_handshake(proxy: ChaosProxy) -> None:
    for arm in (proxy.cut_before_request, proxy.cut_after_request, proxy.cut_before_reply):
        arm(0)
        with pytest.raises(ConnectionError):
            open_raw(proxy)
    assert proxy.cuts == 3
    open_raw(proxy).close()


def test_requests_behind_the_cut_are_not_forwarded(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    """All are in one segment; what is before the cut is answered, what is behind never arrives."""
    with connected(proxy) as connection:
        connection.sendall(frame(struct.pack(">iqiqi", 0, 0, 5000, 0, 16) + bytes(17)))
        exactly(connection, 41)
        proxy.cut_before_reply(2)
        path = root.encode()
        body = struct.pack(">i", len(path)) + path + struct.pack(">i", 1) + b"x" + struct.pack(">i", -1)
        connection.sendall(b"".join(frame(struct.pack(">ii", xid, SET_DATA) + body) for xid in (1, 2, 3)))
        answers = b""
        while chunk := connection.recv(4096):
            answers += chunk
        assert len(answers) == 4 + 16 + 68
    stat = witness.exists(root)
    assert stat is not None
    assert stat.version == 2


def test_drop_reply_when(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    with RawClient(HOST, proxy.port, timeout=0.3) as client:
        client.create(f"{root}/a")
        proxy.drop_reply_when(lambda payload: struct.unpack_from(">i", payload)[0] == 2)
        with pytest.raises(TimeoutError):
            client.delete(f"{root}/a")
        assert client.children(root) == []
    assert DELETE in proxy.opcodes


def test_failing_predicate_comes_out_of_close(server: AnyServer) -> None:
    proxy = ChaosProxy(server.port)
    proxy.drop_reply_when(lambda payload: bool(1 // 0))
    with pytest.raises(ConnectionError):
        open_raw(proxy)
    with pytest.raises(RuntimeError, match="ended"):
        proxy.heal()
    with pytest.raises(ZeroDivisionError):
        proxy.close()
    proxy.close()


def test_delay() -> None:
    with echo() as (_, proxy), connected(proxy) as connection:
        proxy.delay(0.1)
        began = time.monotonic()
        connection.sendall(frame(b"slow"))
        assert exactly(connection, 8) == frame(b"slow")
        assert time.monotonic() - began >= 0.2
        proxy.heal()
        began = time.monotonic()
        connection.sendall(frame(b"fast"))
        exactly(connection, 8)
        assert time.monotonic() - began < 0.2


def test_throttle() -> None:
    with echo() as (_, proxy), connected(proxy) as connection:
        proxy.throttle(100_000)
        began = time.monotonic()
        data = frame(bytes(20_000))
        connection.sendall(data)
        assert exactly(connection, len(data)) == data
        assert time.monotonic() - began >= 0.15


def test_dribble(proxy: ChaosProxy, root: str) -> None:
    proxy.dribble()
    with open_raw(proxy) as client:
        client.create(f"{root}/a", b"x" * 20)
        assert client.get(f"{root}/a") == b"x" * 20
    with echo() as (_, other), connected(other) as connection:
        other.dribble(0.01)
        connection.sendall(frame(b"0123456789"))
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < 14:
            pieces.append(connection.recv(100))
        assert len(pieces) > 10


def test_half_closed_connections_pass() -> None:
    with echo() as (server, proxy), connected(proxy) as connection:
        connection.sendall(frame(b"1") + b"ab")
        connection.shutdown(socket.SHUT_WR)
        assert exactly(connection, 7) == frame(b"1") + b"ab"
        assert connection.recv(1) == b""
        eventually(lambda: server.ends == ["FIN"])
        eventually(lambda: proxy.live == 0)


def test_dead_target_resets_the_client() -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        with ChaosProxy(unused.getsockname()[1]) as proxy, pytest.raises(ConnectionError):
            open_raw(proxy)


def test_session_moves_to_another_target(proxy: ChaosProxy, server: AnyServer) -> None:
    with ChaosProxy(proxy.port) as outer:
        client = open_raw(outer)
        outer.target = (HOST, server.port)
        outer.cut()
        client.abandon()
        with RawClient(HOST, outer.port, session=(client.session_id, client.password)) as again:
            assert again.session_id == client.session_id
        assert proxy.connections == 1
    with pytest.raises(RawError, match="-112"):
        RawClient(HOST, proxy.port, session=(client.session_id, client.password))


def test_nothing_is_left_behind(server: AnyServer) -> None:
    """An open socket would be a ResourceWarning, which is an error here; a thread would be found by the leak check."""
    proxy = ChaosProxy(server.port)
    proxy.black_hole()
    clients = [socket.create_connection((HOST, proxy.port)) for _ in range(3)]
    eventually(lambda: proxy.live == 3)
    proxy.close()
    for client in clients:
        with client:
            assert client.recv(1) == b""
    gc.collect()
