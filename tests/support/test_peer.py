"""The scripted server, against an independent client and against bytes captured from real servers."""

import socket
import struct

import pytest
import trio

from tests.support import waiting
from tests.support.peer import (
    CHILDREN_CHANGED,
    CREATED,
    ConnectRequest,
    Request,
    ScriptedListener,
    ScriptedServer,
    buffer,
    stat,
    string,
    strings,
)
from tests.support.raw import RawClient, RawError
from tests.support.waiting import blocking, eventually_async

pytestmark = pytest.mark.trio

CONNECT = bytes.fromhex("0000002d 00000000 0000000000000000 00002710 0000000000000000 00000010" + "00" * 17)
CONNECTED = bytes.fromhex("00000025 00000000 00002710 0100000717ea0002 00000010 5ea2e1cc817ee7c618ef604bcbd4a546 00")


async def read(client: trio.SocketStream, count: int) -> bytes:
    received = b""
    while len(received) < count:
        received += await client.receive_some(count - len(received))
    return received


def client_stream(client: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(client))


async def test_handshake_is_that_of_a_real_server() -> None:
    ours, server = ScriptedServer.pair()
    async with client_stream(ours) as client, server:
        await client.send_all(CONNECT)
        password = bytes.fromhex("5ea2e1cc817ee7c618ef604bcbd4a546")
        asked = await server.accept_session(session_id=0x0100000717EA0002, password=password)
        assert asked == ConnectRequest(0, 0, 10000, 0, bytes(16), False)
        assert await read(client, 41) == CONNECTED


async def test_requests_replies_notifications_pings() -> None:
    ours, server = ScriptedServer.pair()
    async with client_stream(ours) as client, server:
        await client.send_all(bytes.fromhex("00000008 fffffffe 0000000b") * 2)
        await client.send_all(bytes.fromhex("00000014 00000014 00000003 00000007 2f7665632f7a7a 00"))
        request = await server.read_request(3)
        assert request == Request(0x14, 3, string("/vec/zz") + b"\0")
        assert request.path() == "/vec/zz"
        await server.reply(request.xid, 0x1F, -101)
        assert await read(client, 40) == bytes.fromhex("00000010 fffffffe 0000000000000000 00000000") * 2
        assert await read(client, 20) == bytes.fromhex("00000010 00000014 000000000000001f ffffff9b")
        await server.notify(CREATED, 3, "/vec/w1", zxid=0x30)
        assert await read(client, 39) == bytes.fromhex(
            "00000023 ffffffff 0000000000000030 00000000 00000001 00000003 00000007 2f7665632f7731"
        )
        await server.notify(CHILDREN_CHANGED)
        assert struct.unpack(">iiqiii", (await read(client, 33))[:28]) == (29, -1, -1, 0, 4, 3)
        await client.send_all(bytes.fromhex("00000008 fffffffe 0000000b"))
        assert await server.read_request(pings=False) == Request(-2, 11, b"")
        await client.send_all(bytes.fromhex("00000008 00000001 00000001"))
        with pytest.raises(AssertionError, match="opcode 2"):
            await server.read_request(2)
        await client.aclose()
        await server.read_end()
        with pytest.raises(EOFError):
            await server.read_frame()


async def test_plays_for_a_blocking_client() -> None:
    async with ScriptedListener() as listener, trio.open_nursery() as nursery:
        answers: list[object] = []

        def run() -> None:
            with RawClient("127.0.0.1", listener.port, session_ms=3000) as client:
                answers.extend([client.session_ms, client.get("/a"), client.children("/"), client.exists("/a")])

        nursery.start_soon(blocking, run)
        async with await listener.accept() as server:
            await server.accept_session(2000)
            request = await server.read_request(4)
            await server.reply(request.xid, 1, 0, buffer(b"data") + stat(length=4))
            request = await server.read_request(8)
            await server.reply(request.xid, 1, 0, strings(["b", "a"]))
            request = await server.read_request(3)
            await server.reply(request.xid, 1, 0, stat(version=7, children=2))
            await server.close_session()
        await eventually_async(lambda: len(answers) == 4)
        assert answers == [2000, b"data", ["a", "b"], (1, 1, 0, 0, 7, 0, 0, 0, 0, 2, 1)]
        assert listener.hosts == f"127.0.0.1:{listener.port}"


async def test_refuses_a_session() -> None:
    async with ScriptedListener() as listener, trio.open_nursery() as nursery:

        def run() -> None:
            with pytest.raises(RawError, match="-112"):
                RawClient("127.0.0.1", listener.port)

        nursery.start_soon(blocking, run)
        async with await listener.accept() as server:
            await server.refuse_session()


async def test_waiting_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LIMIT", 0.05)
    with pytest.raises(TimeoutError):
        await eventually_async(lambda: False)
    with pytest.raises(TimeoutError):
        waiting.eventually(lambda: False, 0.05)
