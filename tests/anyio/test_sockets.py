"""Real sockets: large replies, buffers that are too small, TLS, servers that vanish, and errors in callbacks."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from random import Random
from typing import Any

import anyio
import pytest
import trio

import zk_anyio
from tests.anyio.runs import GET, SET, Backend, obey, obeying, peer
from tests.conftest import Shared
from tests.support.certificates import Certificates
from tests.support.peer import CLOSE_SESSION, ScriptedListener, ScriptedServer, buffer, stat
from tests.support.servers import AnyServer, ZooKeeperServer
from tests.support.settings import Options
from zk_anyio import Client, ConnectError, RetryPolicy, SessionState, SocketOptions
from zk_anyio._stream import Stream
from zk_sansio.session import Session

LARGE = bytes(range(256)) * 4_000  # nearly 1 MB, the most that servers take


@pytest.fixture(scope="module")
def tls(shared: Shared, certificates: Certificates) -> Iterator[ZooKeeperServer]:
    """A server with TLS that demands client certificates."""
    with shared.open(ZooKeeperServer(Options(certificates=certificates))) as server:
        yield server


async def reach(client: Client, wanted: SessionState) -> None:
    async with client.states() as states:
        async for state in states:
            if state is wanted:
                return


# --- large and many


def test_large_values(backend: Backend, server: AnyServer, root: str) -> None:
    async def main() -> None:
        async with zk_anyio.open_client(server.hosts) as client:
            await client.set(root, LARGE)
            for _ in range(3):
                assert (await client.get(root)).data == LARGE

    backend.run(main)


@pytest.mark.server("TLS")
def test_large_values_over_tls(
    backend: Backend, tls: ZooKeeperServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        hosts = f"127.0.0.1:{tls.secure_port}"
        small = SocketOptions(send_buffer=5_000, receive_buffer=5_000)
        async with zk_anyio.open_client(hosts, ssl=certificates.client_context, socket=small) as client:
            await client.create("/large", LARGE)
            assert (await client.get("/large")).data == LARGE
            await client.delete("/large")
        assert await zk_anyio.four_letter_word(hosts, "ruok", ssl=certificates.client_context()) == "imok"

    backend.run(main)


def test_a_server_that_reads_slowly(backend: Backend) -> None:
    """What the kernel does not take is sent when it does, and what was asked meanwhile behind it."""

    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session()
            await trio.sleep(0.1)
            for _ in range(3):
                request = await server.read_request(SET)
                assert LARGE in request.body
                await server.reply(request.xid, 1, 0, stat())
            request = await server.read_request(GET)
            await server.reply(request.xid, 1, 0, buffer(b"x") + stat())
            await server.close_session(2)

    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts, socket=SocketOptions(send_buffer=5_000)) as client:
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(client.set, "/", LARGE)
                await anyio.sleep(0.02)
                assert (await client.get("/")).data == b"x"

    with peer(script) as hosts:
        backend.run(lambda: main(hosts))


def test_a_server_that_does_not_read_is_left(backend: Backend) -> None:
    """The writer still waits when the scope ends."""
    gone = threading.Event()
    failed: list[zk_anyio.ClosedError] = []

    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session()
            await trio.to_thread.run_sync(gone.wait)

    async def write(client: Client) -> None:
        try:
            await client.set("/", LARGE)
        except zk_anyio.ClosedError as error:
            failed.append(error)

    async def main(hosts: str) -> None:
        try:
            async with anyio.create_task_group() as group:
                async with zk_anyio.open_client(hosts, close_grace=0.1) as client:
                    for _ in range(10):
                        group.start_soon(write, client)
                    await anyio.sleep(0.05)
                    assert client._engine.session.queued_bytes > 0
        finally:
            gone.set()

    with peer(script) as hosts:
        backend.run(lambda: main(hosts))
    assert len(failed) == 10


def test_requests_are_gathered(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is alone goes out at once; those that come together go out in few pieces."""
    sent: list[int] = []
    send = Stream.send

    def counting(stream: Stream, data: bytes) -> bool:
        sent.append(len(data))
        return send(stream, data)

    monkeypatch.setattr(Stream, "send", counting)

    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts) as client:
            del sent[:]
            for _ in range(10):
                await client.get("/")
            assert len(sent) == 10
            del sent[:]
            async with anyio.create_task_group() as group:
                for _ in range(50):
                    group.start_soon(client.get, "/")
            assert len(sent) <= 3

    with peer(obeying()) as hosts:
        backend.run(lambda: main(hosts))


# --- servers that vanish


def test_a_connection_that_is_refused(backend: Backend) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    async def main() -> None:
        hosts = f"127.0.0.1:{port}"
        with pytest.raises(ConnectError) as caught:
            async with zk_anyio.open_client(hosts, open_timeout=0.05):
                pass
        assert caught.value.failures == {hosts: "Connection refused"}
        with pytest.raises(ConnectError, match="Connection refused"):
            await zk_anyio.four_letter_word(hosts, "ruok")

    backend.run(main)


@pytest.mark.parametrize("reset", [False, True])
def test_a_server_that_vanishes(backend: Backend, reset: bool) -> None:
    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session()
            await server.read_request(GET)
            if reset:
                linger = struct.pack("ii", 1, 0)
                stream: Any = server.stream
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await obeying()(listener)

    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(zk_anyio.ConnectionLossError) as caught:
                await client.get("/")
            assert caught.value.reason == ("Connection reset by peer" if reset else "closed by the server")
            await reach(client, SessionState.CONNECTED)
            await client.get("/")

    with peer(script) as hosts:
        backend.run(lambda: main(hosts))


def test_a_server_that_vanishes_while_it_is_written_to(backend: Backend) -> None:
    """The writer fails, and the reader tells."""

    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session()
            await server.stream.receive_some(1)
        await obeying()(listener)

    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts, retry=RetryPolicy(max_attempts=1)) as client:
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(lose, client)
            await client.get("/")

    async def lose(client: Client) -> None:
        with pytest.raises(zk_anyio.ConnectionLossError):
            await client.set("/", LARGE)

    with peer(script) as hosts:
        backend.run(lambda: main(hosts))


def test_a_server_is_asked_whether_it_is_read_only(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    class InOrder(Random):
        def shuffle(self, x: Any) -> None:
            return

    async def read_only(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session(read_only=True)
            await read_pings(server)

    async def read_write(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            assert await server.stream.receive_some() == b"isro"
            await server.send_raw(b"rw")
        await obeying()(listener)

    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts, read_only=True) as client:
            assert client.state is SessionState.READ_ONLY
            await reach(client, SessionState.CONNECTED)

    monkeypatch.setattr("zk_anyio._open.SystemRandom", InOrder)
    with peer(read_only) as one, peer(read_write) as other:
        backend.run(lambda: main(f"{one},{other}"))


async def read_pings(server: ScriptedServer) -> None:
    with pytest.raises(EOFError):
        while True:
            await server.read_frame()


def test_a_server_that_is_silent(backend: Backend) -> None:
    """Pings go out in time, and a server that does not answer them is left in time."""

    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session(timeout_ms=300)
            await read_pings(server)
        await obeying()(listener)

    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts) as client:
            await reach(client, SessionState.SUSPENDED)
            await client.get("/")

    with peer(script) as hosts:
        backend.run(lambda: main(hosts))


# --- TLS by hand


def test_a_farewell_together_with_the_last_data(backend: Backend, certificates: Certificates) -> None:
    """Behind it the socket is never readable again, though the end of the stream is still to be told."""

    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as plain:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificates.server_pem)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_side=True)

            async def flush() -> None:
                if out := outgoing.read():
                    await plain.send_raw(out)

            async def repeat(step: Any) -> Any:
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        await flush()
                        incoming.write(bytes(await plain.stream.receive_some()))

            await repeat(tls.do_handshake)
            await flush()
            await repeat(lambda: tls.read(4 + 45))
            tls.write(struct.pack(">iiiq", 37, 0, 100_000, 5) + buffer(bytes(16)) + b"\0")
            await flush()
            request = await repeat(lambda: tls.read(100))
            payload = request[4:8] + struct.pack(">qi", 1, 0) + buffer(b"x") + stat()
            tls.write(struct.pack(">i", len(payload)) + payload)
            with pytest.raises(ssl.SSLWantReadError):
                tls.unwrap()
            await flush()
            with pytest.raises(EOFError):
                await plain.read_frame()

    async def main(hosts: str) -> None:
        context = certificates.client_context()
        async with zk_anyio.open_client(hosts, ssl=context, session_timeout=100, keep_session=True) as client:
            assert (await client.get("/a")).data == b"x"
            await reach(client, SessionState.SUSPENDED)

    with peer(script) as hosts:
        backend.run(lambda: main(hosts))


# --- callbacks


def test_an_error_while_reading_comes_out(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours ends the client with it; a callback of the event loop would hide it in a log."""

    class MistakeError(Exception):
        pass

    def mistake(*_: object) -> None:
        raise MistakeError

    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session()
            request = await server.read_request(GET)
            await server.reply(request.xid, 1, 0, buffer(b"") + stat())
            await server.read_request(CLOSE_SESSION)
            await server.read_end()

    async def main(hosts: str) -> None:
        with pytest.raises(MistakeError):
            async with zk_anyio.open_client(hosts, close_grace=60) as client:
                monkeypatch.setattr(Session, "receive_data", mistake)
                await client.get("/")

    with peer(script) as hosts:
        backend.run(lambda: main(hosts))


def test_the_reader_is_removed_before_the_socket_is_closed(loop: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another one's then."""
    closed: list[int] = []
    close = Stream.close

    def look(stream: Stream) -> None:
        number = stream.sock.fileno()
        if number != -1:
            assert not asyncio.get_running_loop().remove_reader(stream.sock)
            assert not asyncio.get_running_loop().remove_writer(stream.sock)
            closed.append(number)
        close(stream)
        assert stream.sock.fileno() == -1

    monkeypatch.setattr(Stream, "close", look)

    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session()
        for _ in range(2):
            async with await listener.accept() as server:
                await obey(server)

    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts) as client:
            await reach(client, SessionState.SUSPENDED)
            await client.get("/")
        with anyio.move_on_after(0.1):
            async with zk_anyio.open_client(hosts):
                await anyio.sleep_forever()

    with peer(script) as hosts:
        loop.run(lambda: main(hosts))
    assert len(closed) == 3


def test_an_event_loop_without_readers() -> None:
    """In a process of its own, since anyio keeps a thread for that until the interpreter ends."""
    program = [sys.executable, "-W", "error", "-m", "tests.anyio.without_readers"]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "done\n")


def test_a_connection_that_closes_while_somebody_waits_for_it(backend: Backend) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = Stream(ours)

        async def wait() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await stream.wait_readable()

        with theirs:
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                stream.close()
                stream.close()

    backend.run(main)
