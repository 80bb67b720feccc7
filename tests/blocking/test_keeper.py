"""The keeper: time goes on while nobody calls, and costs nothing."""

from __future__ import annotations

import os
import resource
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trustme

import zk_blocking as zk
from tests.blocking.tools import GET, LIMIT, Background, Peer, Played, connected, driver_of, refusing, runtime_of
from tests.support.peer import PING, buffer, stat
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient, expire
from tests.support.servers import HOST, AnyServer
from tests.support.waiting import eventually
from zk_blocking import SessionState, SocketOptions, _driver
from zk_blocking._bell import wait_for
from zk_blocking._stream import Stream, dial

CA = trustme.CA()
CERTIFICATE = CA.issue_cert("localhost", "127.0.0.1")


def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CERTIFICATE.configure_cert(context)
    return context


def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.cert_pem.bytes().decode())
    context.maximum_version = version
    return context


def data_of(client: zk.Client, path: str) -> bytes | None:
    return client.get(path).data


def live(server: Played) -> None:
    server.accept_session()
    server.serve()


# --- pings


def test_sessions_live_on(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    """While nobody calls; while one waits; while one waits and others call. All at once, for three timeouts."""
    settings: Any = {"session_timeout": 1.0, "on_expiry": "raise"}
    hosts = proxy.hosts + root
    with (
        zk.open_client(hosts, **settings) as idle,
        zk.open_client(hosts, **settings) as waiting,
        zk.open_client(hosts, **settings) as busy,
    ):
        clients = (idle, waiting, busy)
        assert [client.session_timeout for client in clients] == [1.0] * 3
        for number, client in enumerate(clients):
            client.create(f"/{number}", ephemeral=True)
        threads = [Background(partial(client.wait_for, "/end", timeout=10)) for client in clients[1:]]
        until = time.monotonic() + 3.1
        while time.monotonic() < until:
            busy.get("/")
            time.sleep(0.005)
        for number, client in enumerate(clients):
            stat = witness.exists(f"{root}/{number}")
            assert stat is not None
            assert stat.ephemeral_owner == client.session_id
            assert client.state is SessionState.CONNECTED
        assert proxy.connections == 3
        assert proxy.opcodes.count(PING) >= 12
        witness.create(f"{root}/end")
        for thread in threads:
            assert thread.result().ephemeral_owner == 0


def test_a_black_hole_is_noticed_in_time(proxy: ChaosProxy, server: AnyServer, root: str) -> None:
    """With somebody who waits for a reply, and for whom nobody else would look at the clock."""
    with zk.open_client(proxy.hosts + root, session_timeout=1.0) as client:
        with client.states() as states:
            seen: list[tuple[SessionState, float]] = []

            def watch() -> None:
                for state in states:
                    seen.append((state, time.monotonic()))

            watching = Background(watch)
            eventually(lambda: seen)
            before = client.session_id
            expected = [
                SessionState.CONNECTED,
                SessionState.SUSPENDED,
                SessionState.PRESUMED_LOST,
            ]
            began = time.monotonic()
            proxy.black_hole()
            calls = [Background(lambda: client.get("/")) for _ in range(3)]
            eventually(lambda: len(seen) == 3)
            assert [state for state, _ in seen] == expected
            # Not before its time, and long before anybody would give up.
            assert 0.3 < seen[1][1] - began < seen[2][1] - began < 10
            ticket = client.ticket
            assert ticket is not None
            with suppress(ConnectionResetError):  # the server has expired it already
                expire(HOST, server.port, (ticket.session_id, ticket.password))
            proxy.heal()
            for call in calls:
                outcome = call.outcome()
                assert isinstance(outcome, zk.SessionExpiredError | zk.Znode)
            eventually(lambda: client.state is SessionState.CONNECTED)
            assert client.session_id != before
            assert client.get("/").data == b""
            assert SessionState.EXPIRED in [state for state, _ in seen]
        watching.result()


def test_an_expired_session_ends_the_scope(proxy: ChaosProxy, server: AnyServer, root: str) -> None:
    with pytest.raises(zk.SessionExpiredError):
        with zk.open_client(proxy.hosts + root, on_expiry="raise") as client:
            ticket = client.ticket
            assert ticket is not None
            waiting = Background(lambda: client.wait_for("/nothing"))
            eventually(lambda: runtime_of(client).parked or driver_of(client)._leader)
            expire(HOST, server.port, (ticket.session_id, ticket.password))
            assert isinstance(waiting.outcome(), zk.SessionExpiredError)
            with pytest.raises(zk.SessionExpiredError):
                client.get("/")


@pytest.mark.parametrize("way", ["cut", "reset"])
def test_callers_wait_for_the_next_connection(proxy: ChaosProxy, root: str, way: str) -> None:
    with zk.open_client(proxy.hosts + root) as client:
        session = client.session_id
        with client.watch("/") as changes:
            proxy.refuse()
            cut: Callable[[], None] = getattr(proxy, way)
            cut()
            threads = [Background(lambda: client.get("/")) for _ in range(5)]
            consumer = Background(lambda: next(changes))
            eventually(lambda: len(runtime_of(client).parked) == 6)
            proxy.listen_again()
            assert [thread.result().data for thread in threads] == [b""] * 5
            assert isinstance(consumer.result(), zk.Gap)
        assert client.session_id == session
        assert proxy.connections == 2


def test_every_reply_may_be_the_last(proxy: ChaosProxy, root: str) -> None:
    """The connection is cut again and again while many threads call: reads are answered all the same."""
    with zk.open_client(proxy.hosts + root) as client:
        ended = False

        def work() -> int:
            turns = 0
            while not ended:
                assert client.get("/").data == b""
                turns += 1
            return turns

        threads = [Background(work) for _ in range(4)]
        for turn in range(6):
            before = proxy.replies
            eventually(lambda before=before: proxy.replies > before + 20)  # type: ignore[misc]
            (proxy.cut if turn % 2 else proxy.reset)()
        ended = True
        assert all(thread.result() for thread in threads)
        assert proxy.connections == 7


# --- large and small

TINY = SocketOptions(send_buffer=1)


def test_large_values(server: AnyServer, root: str) -> None:
    value = bytes(range(256)) * 4000
    with zk.open_client(server.hosts + root) as client:
        client.set("/", value)
        for number in range(3):
            client.create(f"/{number}", value[number:])
        threads = [Background(partial(data_of, client, f"/{number}")) for number in range(3)]
        assert [thread.result() for thread in threads] == [value[number:] for number in range(3)]
        assert client.get("/").data == value


@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_megabyte_through_tiny_buffers(version: ssl.TLSVersion | None) -> None:
    """The server does not read for a while; the kernel takes little; other threads queue behind the large request."""
    value = bytes(range(256)) * 3900
    stored: dict[str, bytes] = {}
    goes_on = threading.Event()

    def play(server: Played) -> None:
        server.accept_session()
        goes_on.wait(LIMIT)
        while True:
            request = server.read_request()
            if request.op == 5:
                path = request.path()
                stored[path] = request.body[4 + len(path) + 4 : -4]
                server.reply(request.xid, stat())
            elif request.op == GET:
                server.reply(request.xid, buffer(stored[request.path()]) + stat())
            else:
                server.answer(request)

    with Peer(play, tls=None if version is None else server_context()) as peer:
        context = None if version is None else client_context(version)
        with zk.open_client(peer.hosts, socket=TINY, ssl=context, session_timeout=30, high_water=500_000) as client:
            sets = [Background(lambda: client.set("/a", value))]
            stream = driver_of(client)._stream
            assert stream is not None
            eventually(lambda: stream.unsent)
            sets += [Background(partial(client.set, f"/{n}", value[: 200_000 * n])) for n in range(1, 5)]
            eventually(lambda: len(runtime_of(client).parked) == 4)
            goes_on.set()
            for each in sets:
                each.result()
            assert client.get("/a").data == value
            gets = [Background(partial(data_of, client, f"/{n}")) for n in range(1, 5)]
            assert [each.result() for each in gets] == [value[: 200_000 * n] for n in range(1, 5)]
            assert not stream.unsent
        assert peer.connections == 1


def test_a_connection_that_breaks_with_bytes_unsent() -> None:
    """Nothing spins on it, and what was not sent whole is told."""
    cut = threading.Event()

    def play(server: Played) -> None:
        server.accept_session()
        if peer.connections == 1:
            cut.wait(LIMIT)
        else:
            server.serve()

    with Peer(play) as peer:
        with zk.open_client(peer.hosts, socket=TINY, session_timeout=30) as client:
            setting = Background(lambda: client.set("/", bytes(1_000_000)))
            stream = driver_of(client)._stream
            assert stream is not None
            eventually(lambda: stream.unsent)
            cut.set()
            outcome = setting.outcome()
            assert isinstance(outcome, zk.ConnectionLossError)
            assert outcome.maybe_applied
            assert client.get("/a", timeout=10).data == b"/a"


# --- TLS


def test_tls() -> None:
    with Peer(live, tls=server_context()) as peer:
        port = peer.hosts.rpartition(":")[2]
        with zk.open_client(f"localhost:{port}", ssl=client_context) as client:
            threads = [Background(partial(data_of, client, f"/{n}")) for n in range(5)]
            assert [thread.result() for thread in threads] == [f"/{n}".encode() for n in range(5)]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_comes_with_the_end_of_the_handshake(version: ssl.TLSVersion) -> None:
    """One segment brings the server's last word in the handshake and the answer to ours; no byte follows."""

    def play(server: Played) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server_context().wrap_bio(incoming, outgoing, server_side=True)
        done = False
        while not done:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                server.sock.sendall(outgoing.read())
                incoming.write(server.sock.recv(65536))
        payload = connected(30_000)
        tls.write(framed(payload))
        server.sock.sendall(outgoing.read())
        while data := server.sock.recv(65536):
            incoming.write(data)
            outgoing.read()

    with Peer(play) as peer:
        context = client_context(version)
        with zk.open_client(peer.hosts, ssl=context, open_timeout=5, close_grace=0.05) as client:
            assert client.state is SessionState.CONNECTED
            assert client.session_id == 0x1234


@pytest.mark.parametrize("idle", [True, False])
def test_a_farewell_of_tls_comes_together_with_the_last_reply(idle: bool) -> None:
    """The socket is never readable again; the end is noticed all the same, with and without anybody who waits."""
    noticed = threading.Event()

    def reply(xid: int) -> bytes:
        return framed(struct.pack(">iqi", xid, 1, 0) + buffer(b"answer") + stat())

    def play(server: Played) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server_context().wrap_bio(incoming, outgoing, server_side=True)
        step: Callable[[], object] = tls.do_handshake
        for answer in (b"", framed(connected(30_000)), reply(1), reply(2)):
            while True:
                try:
                    step()
                    break
                except ssl.SSLWantReadError:
                    server.sock.sendall(outgoing.read())
                    incoming.write(server.sock.recv(65536))
            if answer:
                tls.write(answer)
            step = partial(tls.read, 65536)
        with suppress(ssl.SSLWantReadError):
            tls.unwrap()
        server.sock.sendall(outgoing.read())  # the last reply and the farewell in one piece, and no end of the stream
        noticed.wait(LIMIT)

    with Peer(play) as peer:
        with zk.open_client(peer.hosts, ssl=client_context(), session_timeout=30, close_grace=0.05) as client:
            for _ in range(2):  # behind the first one the keeper has left reading to those who call
                assert client.get("/").data == b"answer"
            if not idle:
                with pytest.raises(zk.CallTimeoutError):
                    client.get("/", timeout=0.3)
            eventually(lambda: client.state is SessionState.SUSPENDED, 3)
            noticed.set()


def framed(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


# --- work that is not done


class Waits:
    """Counts how often the threads of a client wait, by their names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.callers = 0

        def counted(*arguments: Any, **more: Any) -> tuple[bool, bool]:
            if threading.current_thread().name == "zk-keeper":
                self.count += 1
            else:
                self.callers += 1
            return wait_for(*arguments, **more)

        monkeypatch.setattr(_driver, "wait_for", counted)

    @contextmanager
    def at_most(self, most: int) -> Iterator[None]:
        """At most so many times in the scope."""
        before = self.count
        yield
        assert self.count - before <= most


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    return Waits(monkeypatch)


def test_the_keeper_does_nothing_while_there_is_nothing_to_do(waits: Waits) -> None:
    """Idle, behind many calls, and while a thread waits for long."""
    with Peer(live) as peer:
        with zk.open_client(peer.hosts, session_timeout=30) as client:
            with waits.at_most(3):
                time.sleep(0.5)
            with waits.at_most(100):
                until = time.monotonic() + 0.3
                while time.monotonic() < until:
                    client.get("/")
            with waits.at_most(10):
                time.sleep(0.5)
            callers = waits.callers
            with client.watch("/") as changes:
                with waits.at_most(10):
                    with pytest.raises(zk.CallTimeoutError):
                        changes.next(timeout=0.5)
            assert waits.callers - callers <= 6
            waiting = [Background(lambda: client.wait_for("/a", timeout=0.7)) for _ in range(4)]
            with waits.at_most(20):
                for each in waiting:
                    each.outcome()


def test_the_keeper_does_not_spin_without_a_server(waits: Waits) -> None:
    with refusing() as hosts:
        with zk.open_client(hosts, open_timeout=0) as client:
            with waits.at_most(60):
                with pytest.raises(zk.CallTimeoutError):
                    client.get("/", timeout=1)


def test_the_keeper_does_not_spin_while_a_server_is_silent(waits: Waits) -> None:
    silent = threading.Event()

    def play(server: Played) -> None:
        server.accept_session()
        silent.wait(LIMIT)

    with Peer(play) as peer:
        with zk.open_client(peer.hosts, session_timeout=30, socket=TINY, close_grace=0.05) as client:
            setting = Background(lambda: client.set("/", bytes(1_000_000), timeout=1))
            others = [Background(lambda: client.get("/", timeout=1)) for _ in range(2)]
            with waits.at_most(40):
                assert isinstance(setting.outcome(), zk.CallTimeoutError)
                for each in others:
                    assert isinstance(each.outcome(), zk.CallTimeoutError)
            silent.set()


def test_answers_come_without_the_keeper(waits: Waits) -> None:
    """Calls in sequence are read by the caller: the keeper looks up now and then, and not for each."""
    with Peer(live) as peer:
        with zk.open_client(peer.hosts, session_timeout=30) as client:
            client.get("/")
            before, began = waits.count, time.monotonic()
            for _ in range(500):
                client.get("/")
            assert waits.count - before <= 10 + (time.monotonic() - began) / 0.02


# --- when the process runs out of something


def test_no_file_descriptors_left() -> None:
    """A reconnect fails like any other attempt, and succeeds when there are some again."""
    cut = threading.Event()

    def play(server: Played) -> None:
        server.accept_session()
        if peer.connections == 1:
            cut.wait(LIMIT)
        else:
            server.serve()

    with Peer(play) as peer:
        with zk.open_client(peer.hosts) as client:
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
            try:
                cut.set()
                eventually(lambda: client.state is SessionState.SUSPENDED)
                with pytest.raises(zk.CallTimeoutError):
                    client.get("/a", timeout=0.3)
                assert "Too many open files" in str(client._core._engine.session.failures)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert client.get("/a", timeout=20).data == b"/a"


@pytest.mark.parametrize("name", ["zk-attempt", "zk-resolve"])
def test_no_threads_left(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As at the end of the interpreter, too, when threads of the user's still make calls."""
    real = threading.Thread.start
    refused: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if thread.name == name and len(refused) < 2:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with Peer(live) as peer:
        with zk.open_client(f"localhost:{peer.hosts.rpartition(':')[2]}") as client:
            assert client.get("/a", timeout=20).data == b"/a"
    assert len(refused) == 2


def test_a_thread_that_is_too_late_to_be_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers: the slower connection is closed when the faster one is made."""
    made: list[Stream] = []

    def remember(*arguments: Any) -> Stream:
        made.append(dial(*arguments))
        return made[-1]

    monkeypatch.setattr(_driver, "dial", remember)
    with Peer(live) as first, Peer(live) as second:
        with zk.open_client(f"{first.hosts},{second.hosts}") as client:
            assert client.get("/a").data == b"/a"
            assert [stream.sock.fileno() >= 0 for stream in made].count(True) == 1
