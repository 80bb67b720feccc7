"""Real sockets of the loopback interface: options, TLS, buffers that are too small, and nothing left open."""

from __future__ import annotations

import errno
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

import zk_trio
from tests.support.peer import ScriptedListener, ScriptedServer, buffer, stat
from tests.trio.fake import GET, SET
from zk_sansio.session import HostPort, Probe, Server
from zk_sansio.tls import TlsState
from zk_trio import (
    Client,
    ConnectError,
    FourLetterError,
    InvalidRequestError,
    SocketOptions,
    TlsError,
    four_letter_word,
)
from zk_trio._driver import ask, resolve
from zk_trio._stream import Stream, dial

pytestmark = pytest.mark.trio

CA = trustme.CA()
OTHER_CA = trustme.CA()
SERVER = CA.issue_cert("localhost", "127.0.0.1")
WRONG_NAME = CA.issue_cert("zk.example")
CLIENT = CA.issue_cert("alice@example.org")
S = stat()


def server_context(certificate: trustme.LeafCert = SERVER, *, client_auth: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    CA.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED if client_auth else ssl.CERT_NONE
    return context


def client_context(trust: trustme.CA = CA, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=trust.cert_pem.bytes().decode())
    context.maximum_version = version
    return context


@pytest.fixture
async def listener() -> AsyncIterator[ScriptedListener]:
    async with ScriptedListener() as listening:
        yield listening


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """Every connection that is made."""
    made: list[Stream] = []

    async def remember(*arguments: Any) -> Stream:
        made.append(await dial(*arguments))
        return made[-1]

    monkeypatch.setattr("zk_trio._driver.dial", remember)
    return made


Serve = Callable[[ScriptedServer], Awaitable[None]]


async def secured(server: ScriptedServer, context: ssl.SSLContext) -> ScriptedServer:
    stream: Any = trio.SSLStream(server.stream, context, server_side=True, https_compatible=True)
    await stream.do_handshake()
    return ScriptedServer(stream)


async def answer(server: ScriptedServer) -> None:
    """Serve gets and sets of one value until the client is gone."""
    value: bytes | None = b""
    await server.accept_session()
    while True:
        request = await server.read_request()
        if request.op == SET:
            start = 4 + len(request.path()) + 4
            value = request.body[start:-4]
        record = {GET: buffer(value) + S, SET: S}.get(request.op, b"")
        await server.reply(request.xid, 1, 0, record)
        if request.op == -11:
            await server.aclose()
            return


class TlsByHand:
    """The server's side, where trio's own would not say why it fails."""

    def __init__(self, server: ScriptedServer, context: ssl.SSLContext) -> None:
        self._server = server
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def flush(self) -> None:
        if out := self._outgoing.read():
            await self._server.send_raw(out)

    async def _more(self) -> None:
        await self.flush()
        self._incoming.write(bytes(await self._server.stream.receive_some()))

    async def handshake(self) -> None:
        while True:
            try:
                return self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._more()

    async def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                data += self.tls.read(count - len(data))
            except ssl.SSLWantReadError:
                await self._more()
        return data


@asynccontextmanager
async def served(
    listener: ScriptedListener, *, tls: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[Client]:
    """A client of a server that serves one connection after the other."""
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            while True:
                server = await listener.accept()
                if tls is not None:
                    server = await secured(server, tls)
                async with server:
                    with suppress(EOFError):
                        await answer(server)

        nursery.start_soon(serve)
        async with zk_trio.open_client(listener.hosts, **settings) as client:
            yield client
        nursery.cancel_scope.cancel()


# --- options


def option(stream: Stream, level: int, name: int) -> int:
    return stream.sock.getsockopt(level, name)


async def test_options_are_applied(listener: ScriptedListener, streams: list[Stream]) -> None:
    options = SocketOptions(nodelay=False, keepalive=False, send_buffer=20_000, receive_buffer=30_000)
    async with served(listener, socket=options):
        (stream,) = streams
        assert option(stream, socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        assert option(stream, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        # Linux doubles what it is asked for.
        assert 20_000 <= option(stream, socket.SOL_SOCKET, socket.SO_SNDBUF) <= 40_000
        assert 30_000 <= option(stream, socket.SOL_SOCKET, socket.SO_RCVBUF) <= 60_000


async def test_options_that_are_left_out(listener: ScriptedListener, streams: list[Stream]) -> None:
    async with served(listener):
        (stream,) = streams
        assert option(stream, socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert option(stream, socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        assert not stream.sock.getblocking()
    assert stream.sock.fileno() == -1


async def test_the_address_to_connect_from(listener: ScriptedListener, streams: list[Stream]) -> None:
    async with served(listener, socket=SocketOptions(local_address=("127.0.0.1", 0))):
        assert streams[0].sock.getsockname()[0] == "127.0.0.1"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError) as caught:
            options = SocketOptions(local_address=taken.getsockname())
            async with zk_trio.open_client(listener.hosts, socket=options, open_timeout=0.05):
                pass
    assert caught.value.failures == {listener.hosts: "Address already in use"}


async def test_ipv6(streams: list[Stream], autojump_clock: MockClock) -> None:
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("there is no IPv6 here")
    with listening:
        server = Server(HostPort("::1", listening.getsockname()[1]), "::1")
        stream = await dial(server, SocketOptions(), None)
        stream.close()
        stream.close()


# --- small buffers, large values

TINY = SocketOptions(send_buffer=1, receive_buffer=1)


@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_megabyte_through_tiny_buffers(
    listener: ScriptedListener, streams: list[Stream], version: ssl.TLSVersion | None
) -> None:
    value = bytes(range(256)) * 4000
    tls = None if version is None else server_context()
    context = None if version is None else client_context(version=version)
    async with served(listener, socket=TINY, tls=tls, ssl=context) as client:
        await client.set("/a", value)
        assert (await client.get("/a")).data == value
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(client.set, f"/{number}", value[: 100_000 * number])
        assert not streams[0].unsent
    assert len(streams) == 1


async def test_a_full_kernel_takes_the_rest_later(autojump_clock: MockClock) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        stream = Stream(ours)
        assert stream.receive() is None
        assert stream.receive_into(memoryview(bytearray(1))) is None
        data = bytes(range(256)) * 10_000
        assert not stream.send(data)
        assert 0 < len(stream.unsent) < len(data)
        received = bytearray(theirs.recv(10_000_000))
        assert not stream._send(stream.unsent) or not stream.unsent
        while stream.unsent:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.carry_out, stream.sending())
                await wait_all_tasks_blocked()
                theirs.setblocking(False)
                while True:
                    try:
                        received += theirs.recv(1_000_000)
                    except BlockingIOError:
                        break
                    await wait_all_tasks_blocked()
        assert received[: len(data)] == data
        # Nothing fits at all.
        while stream.send(bytes(100_000)):
            pass
        stream.unsent = b""
        assert not stream.send(b"x")
        assert stream.unsent == b"x"
        stream.close()


async def test_a_kernel_that_changes_its_mind(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """Readiness is a hint: trying may still say that it would block."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        tries: list[int] = []

        class Fickle:
            def fileno(self) -> int:
                return ours.fileno()

            def send(self, data: bytes) -> int:
                tries.append(len(data))
                if len(tries) % 2:
                    raise BlockingIOError
                return ours.send(data[:2])

            def close(self) -> None:
                ours.close()

        stream = Stream(Fickle())  # type: ignore[arg-type]
        assert not stream.send(b"12345")
        await stream.carry_out(stream.sending())
        assert tries == [5, 5, 3, 3, 1, 1]
        assert theirs.recv(10) == b"12345"
        stream.close()


class OwnAnswer:
    """A TLS layer that has something of its own to say, as after a key update."""

    def __init__(self) -> None:
        self.state = TlsState.OPEN
        self.out = b""

    def send_data(self, data: bytes) -> None:
        self.out += data

    def receive_data(self, data: bytes) -> bytes:
        self.out += b"<answer>"
        return b""

    def receive_eof(self) -> None:
        self.state = TlsState.EOF

    def data_to_send(self) -> bytes:
        out, self.out = self.out, b""
        return out

    def close(self) -> None:
        self.out += b"<farewell>"
        self.state = TlsState.CLOSED


async def test_answers_of_tls_go_behind_what_is_unsent(autojump_clock: MockClock) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        stream = Stream(ours, OwnAnswer())  # type: ignore[arg-type]
        theirs.send(b"key update")
        assert stream.receive() is None
        assert theirs.recv(100) == b"<answer>"
        data = bytes(range(256)) * 10_000
        assert not stream.send(data)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.carry_out, stream.sending())
            await wait_all_tasks_blocked()
            theirs.send(b"key update")
            assert stream.receive() is None
            received = bytearray()
            while not received.endswith(b"<answer>"):
                received += theirs.recv(1_000_000)
                await wait_all_tasks_blocked()
        assert received == data + b"<answer>"
        stream.close()
        assert theirs.recv(100) == b"<farewell>"


class SlowHandshake(OwnAnswer):
    """A handshake that takes several rounds."""

    def __init__(self, rounds: int, hello: bytes) -> None:
        super().__init__()
        self.rounds = rounds
        self.out = hello

    def handshake(self) -> bool:
        return self.rounds == 0

    def receive_data(self, data: bytes) -> bytes:
        self.rounds -= 1
        return b"early" if self.rounds == 0 else b""


async def test_a_handshake_in_small_pieces(autojump_clock: MockClock) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)

        class Hasty:
            """Readable before there is anything to read, and taking one byte at a time."""

            def __init__(self) -> None:
                self.hasty = True

            def fileno(self) -> int:
                return ours.fileno()

            def send(self, data: bytes) -> int:
                return ours.send(data[:1])

            def recv(self, count: int) -> bytes:
                self.hasty = not self.hasty
                if not self.hasty:
                    raise BlockingIOError
                return ours.recv(1)

            def close(self) -> None:
                ours.close()

        stream = Stream(Hasty(), SlowHandshake(2, b"hello"))  # type: ignore[arg-type]
        theirs.send(b"12")
        await stream.carry_out(stream.handshaking())
        assert theirs.recv(100) == b"hello"
        # What the server says behind its last word in the handshake is not lost.
        assert stream.receive() == b"early"
        assert stream.receive() is None
        stream.close()


async def test_what_comes_with_the_end_of_the_handshake(listener: ScriptedListener) -> None:
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await listener.accept() as plain:
                peer = TlsByHand(plain, server_context())
                await peer.handshake()
                peer.tls.write(b"welcome")
                await peer.flush()
                await plain.stream.receive_some()

        nursery.start_soon(serve)
        server = Server(HostPort("127.0.0.1", listener.port), "127.0.0.1")
        stream = await dial(server, SocketOptions(), client_context(version=ssl.TLSVersion.TLSv1_2))
        while (said := stream.receive()) is None:
            await stream.wait_readable()
        assert said == b"welcome"
        stream.close()


# --- TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls(listener: ScriptedListener, version: ssl.TLSVersion) -> None:
    async with served(listener, tls=server_context(), ssl=client_context(version=version)) as client:
        await client.set("/a", b"x")
        assert (await client.get("/a")).data == b"x"


async def test_the_server_hears_a_farewell(listener: ScriptedListener) -> None:
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await secured(await listener.accept(), server_context()) as server:
                await server.accept_session()
                await server.read_end()  # without an error: there was a close_notify

        nursery.start_soon(serve)
        async with zk_trio.open_client(listener.hosts, ssl=client_context(), keep_session=True):
            pass


async def test_a_farewell_of_the_server_that_comes_with_its_last_words(listener: ScriptedListener) -> None:
    """The connection itself stays open, and must not be waited for."""
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await listener.accept() as plain:
                peer = TlsByHand(plain, server_context())
                await peer.handshake()
                await peer.flush()
                await peer.read(4 + 45)
                peer.tls.write(struct.pack(">iiiq", 37, 0, 10_000, 5) + buffer(bytes(16)) + b"\0")
                await peer.flush()
                request = await peer.read(4 + 8 + 4 + 2 + 1)
                payload = request[4:8] + struct.pack(">qi", 1, 0) + buffer(b"x") + S
                peer.tls.write(struct.pack(">i", len(payload)) + payload)
                with pytest.raises(ssl.SSLWantReadError):
                    peer.tls.unwrap()
                await peer.flush()
                await left.wait()

        left = trio.Event()
        nursery.start_soon(serve)
        async with zk_trio.open_client(listener.hosts, ssl=client_context(), keep_session=True) as client:
            assert (await client.get("/a")).data == b"x"
            async with client.states() as states:
                async for state in states:
                    if state is zk_trio.SessionState.SUSPENDED:
                        break
            left.set()


async def test_an_authority_that_is_not_trusted(listener: ScriptedListener) -> None:
    heard: list[str] = []

    async def serve(server: ScriptedServer) -> None:
        try:
            await secured(server, server_context())
        except trio.BrokenResourceError as error:
            heard.append(str(error.__cause__))

    async with failing(listener, serve) as failures:
        async with zk_trio.open_client(listener.hosts, ssl=client_context(OTHER_CA), open_timeout=0.1):
            pass
    assert failures[0].startswith("TLS with 127.0.0.1: the server's certificate is not accepted (")
    assert "load the authority that signed it with SSLContext.load_verify_locations" in failures[0]
    # The server's log tells its administrator what is wrong.
    assert any("ALERT_UNKNOWN_CA" in reason.upper().replace(" ", "_") for reason in heard)


@asynccontextmanager
async def failing(listener: ScriptedListener, serve: Serve) -> AsyncIterator[list[str]]:
    """Expect a `ConnectError`, with a server that the test plays; gives the reasons afterwards."""
    failures: list[str] = []
    async with trio.open_nursery() as nursery:

        async def accept() -> None:
            while True:
                async with await listener.accept() as server:
                    await serve(server)

        nursery.start_soon(accept)
        with pytest.raises(ConnectError) as caught:
            yield failures
        failures += caught.value.failures.values()
        nursery.cancel_scope.cancel()


async def test_a_certificate_for_another_name(listener: ScriptedListener) -> None:
    async def serve(server: ScriptedServer) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await secured(server, server_context(WRONG_NAME))

    async with failing(listener, serve) as failures:
        async with zk_trio.open_client(listener.hosts, ssl=client_context(), open_timeout=0.1):
            pass
    assert "connect by a name in the certificate" in failures[0]


async def test_a_server_that_asks_for_a_certificate(listener: ScriptedListener) -> None:
    async def serve(server: ScriptedServer) -> None:
        peer = TlsByHand(server, server_context(client_auth=True))
        with pytest.raises(ssl.SSLError):
            await peer.handshake()
        await peer.flush()  # why

    async with failing(listener, serve) as failures:
        async with zk_trio.open_client(listener.hosts, ssl=client_context(), open_timeout=0.1):
            pass
    assert "the server asks for a client certificate" in failures[0]


async def test_tls_with_a_server_that_has_none(listener: ScriptedListener) -> None:
    async def serve(server: ScriptedServer) -> None:
        await server.send_raw(b"This ZooKeeper instance speaks plain text\n")
        await server.stream.receive_some()

    async with failing(listener, serve) as failures:
        async with zk_trio.open_client(listener.hosts, ssl=client_context(), open_timeout=0.1):
            pass
    assert "what the server sends is no TLS" in failures[0]
    assert "secureClientPort" in failures[0]


async def test_a_server_that_hangs_up_in_the_handshake(listener: ScriptedListener) -> None:
    async def serve(server: ScriptedServer) -> None:
        await server.stream.receive_some()

    async with failing(listener, serve) as failures:
        async with zk_trio.open_client(listener.hosts, ssl=client_context(), open_timeout=0.1):
            pass
    assert "the server closed the connection during the handshake" in failures[0]


async def test_plain_text_with_a_server_that_wants_tls(listener: ScriptedListener) -> None:
    async def serve(server: ScriptedServer) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await secured(server, server_context())

    async with failing(listener, serve) as failures:
        async with zk_trio.open_client(listener.hosts, open_timeout=0.1):
            pass
    assert failures


async def test_a_context_that_is_made_for_each_connection(listener: ScriptedListener) -> None:
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(client_context())
        CLIENT.configure_cert(made[-1])
        return made[-1]

    async with served(listener, tls=server_context(client_auth=True), ssl=make) as client:
        await client.get("/a")
        assert len(made) == 1
        client.set_hosts(f"localhost:{listener.port}")
        await client.get("/a")
    assert len(made) == 2


async def test_a_context_that_cannot_be_used(listener: ScriptedListener, autojump_clock: MockClock) -> None:
    with pytest.raises(ConnectError, match=r"no TLS with '127.0.0.1' and this SSLContext"):
        async with zk_trio.open_client(listener.hosts, ssl=server_context(), open_timeout=1):
            pass


async def test_damaged_bytes_end_the_connection(listener: ScriptedListener) -> None:
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            plain = await listener.accept()
            server = await secured(plain, server_context())
            await server.accept_session()
            await server.read_request()
            await plain.send_raw(b"\x17\x03\x03\x00\x20" + bytes(32))
            with pytest.raises(trio.BrokenResourceError) as caught:
                await server.read_frame()
            assert "ALERT" in str(caught.value.__cause__).upper()
            await plain.aclose()

        nursery.start_soon(serve)
        policy = zk_trio.RetryPolicy(max_attempts=1)
        async with zk_trio.open_client(listener.hosts, ssl=client_context(), retry=policy) as client:
            with pytest.raises(zk_trio.ConnectionLossError) as caught:
                await client.get("/a")
            assert "bad record mac" in caught.value.reason


# --- dialling


async def test_a_dial_that_is_cancelled_in_the_handshake_closes_its_socket(listener: ScriptedListener) -> None:
    async with trio.open_nursery() as nursery:
        cancelled = trio.Event()

        async def serve() -> None:
            async with await listener.accept() as server:
                await server.stream.receive_some()
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await cancelled.wait()
                    assert await server.stream.receive_some() == b""

        nursery.start_soon(serve)
        try:
            await dial(Server(HostPort("127.0.0.1", listener.port), "127.0.0.1"), SocketOptions(), client_context())
        finally:
            cancelled.set()


async def test_a_dial_that_is_cancelled_while_it_connects_closes_its_socket(autojump_clock: MockClock) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        server = Server(HostPort("127.0.0.1", listening.getsockname()[1]), "127.0.0.1")
        streams = []  # type: ignore[var-annotated]
        with trio.move_on_after(1) as scope:
            while len(streams) < 10:  # nobody accepts, so the queue is full at some time
                streams.append(await dial(server, SocketOptions(), None))
        assert scope.cancelled_caught
        for stream in streams:
            stream.close()


async def test_a_refused_connection(autojump_clock: MockClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(OSError, match="Connection refused") as caught:
        await dial(Server(HostPort("127.0.0.1", port), "127.0.0.1"), SocketOptions(), None)
    assert caught.value.errno == errno.ECONNREFUSED


async def test_names_are_looked_up_side_by_side(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    async def look_up(host: str, port: int, **_: object) -> list[Any]:
        await trio.sleep(1)
        return [(0, 0, 0, "", ("10.0.0.1", port)), (0, 0, 0, "", ("::1", port, 0, 0))]

    monkeypatch.setattr("trio.socket.getaddrinfo", look_up)
    hosts = [HostPort("a", 1), HostPort("b", 2)]
    assert await resolve(hosts, 5) == ({host: ["10.0.0.1", "::1"] for host in hosts}, {})
    assert trio.current_time() == 1


# --- four-letter words


@asynccontextmanager
async def four_letter_server(
    listener: ScriptedListener, reply: bytes | None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[list[bytes]]:
    asked: list[bytes] = []
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            server = await listener.accept()
            if tls is not None:
                server = await secured(server, tls)
            async with server:
                asked.append(bytes(await server.stream.receive_some()))
                if reply is None:
                    await trio.sleep_forever()
                await server.send_raw(reply)

        nursery.start_soon(serve)
        yield asked
        nursery.cancel_scope.cancel()


async def test_a_four_letter_word(listener: ScriptedListener) -> None:
    async with four_letter_server(listener, b"imok") as asked:
        assert await four_letter_word(listener.hosts, "ruok") == "imok"
        assert asked == [b"ruok"]


async def test_a_four_letter_word_over_tls(listener: ScriptedListener) -> None:
    async with four_letter_server(listener, b"x" * 50_000, server_context()):
        assert await four_letter_word(listener.hosts, "mntr", ssl=client_context(), socket=TINY) == "x" * 50_000


async def test_an_endless_answer_is_cut(listener: ScriptedListener) -> None:
    async with four_letter_server(listener, b"x" * 1_000_000):
        assert 64 * 1024 <= len(await four_letter_word(listener.hosts, "mntr")) < 1_000_000


async def test_a_question_that_does_not_go_out_at_once(listener: ScriptedListener) -> None:
    question = bytes(5_000_000)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await listener.accept() as server:
                received = 0
                while received < len(question):
                    received += len(await server.stream.receive_some())
                await server.send_raw(b"enough")

        nursery.start_soon(serve)
        server = Server(HostPort("127.0.0.1", listener.port), "127.0.0.1")
        assert await ask(Probe(server, inf, question), SocketOptions(), None) == b"enough"


async def test_a_word_that_is_not_answered(listener: ScriptedListener) -> None:
    async with four_letter_server(listener, b"wchs is not executed because it is not in the whitelist.\n"):
        with pytest.raises(FourLetterError, match="whitelist"):
            await four_letter_word(listener.hosts, "wchs")


async def test_a_server_that_does_not_answer_in_time(listener: ScriptedListener, autojump_clock: MockClock) -> None:
    async with four_letter_server(listener, None):
        with pytest.raises(FourLetterError) as caught:
            await four_letter_word(listener.hosts, "srvr", within=2)
        assert str(caught.value) == f"srvr: no answer from {listener.hosts} within 2 s"
        assert trio.current_time() == 2


async def test_a_server_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ConnectError) as caught:
        await four_letter_word(f"127.0.0.1:{port}", "srvr")
    assert str(caught.value) == f"127.0.0.1:{port} cannot be reached: [Errno 111] Connection refused"

    async def look_up(host: str, port: int, **_: object) -> list[Any]:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("trio.socket.getaddrinfo", look_up)
    with pytest.raises(ConnectError) as caught:
        await four_letter_word("wrong", "srvr")
    assert str(caught.value) == "wrong: the name cannot be resolved: Name or service not known"


async def test_the_second_address_of_a_server(listener: ScriptedListener, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(host: str, port: int, **_: object) -> list[Any]:
        await trio.lowlevel.checkpoint()
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr("trio.socket.getaddrinfo", look_up)
    async with four_letter_server(listener, b"imok"):
        assert await four_letter_word(f"zk:{listener.port}", "ruok") == "imok"


async def test_a_word_for_a_server_that_has_no_tls(listener: ScriptedListener) -> None:
    async with four_letter_server(listener, b"This is not TLS"):
        with pytest.raises(ConnectError, match="what the server sends is no TLS") as caught:
            await four_letter_word(listener.hosts, "ruok", ssl=client_context())
        assert isinstance(caught.value.__cause__, TlsError)


@pytest.mark.parametrize(
    "host, word, message",
    [
        ("a,b", "ruok", "ruok: asks one server, given as host:port, not 'a,b'"),
        ("a/app", "ruok", "ruok: asks one server, given as host:port, not 'a/app'"),
        ("a", "ruok?", "ruok?: is not a word of four letters"),
        ("a", "rüok", "rüok: is not a word of four letters"),
    ],
)
async def test_words_that_are_none(host: str, word: str, message: str, autojump_clock: MockClock) -> None:
    with pytest.raises(FourLetterError) as caught:
        await four_letter_word(host, word)
    assert str(caught.value) == message


async def test_servers_that_are_none(autojump_clock: MockClock) -> None:
    with pytest.raises(InvalidRequestError):
        await four_letter_word("a b", "ruok")
