"""A server played by a trio test, frame by frame.

It packs and unpacks by hand, so that a mistake in the project's codec cannot hide behind the same mistake here.
"""

import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

import trio

NOTIFICATION_XID, PING_XID, AUTH_XID = -1, -2, -4
PING, CLOSE_SESSION = 11, -11
CREATED, DELETED, DATA_CHANGED, CHILDREN_CHANGED = 1, 2, 3, 4
SYNC_CONNECTED = 3
PASSWORD = bytes(range(16))
STAT = struct.Struct(">qqqqiiiqiiq")


class ConnectRequest(NamedTuple):
    """What a client asks for in its handshake."""

    protocol_version: int
    last_zxid_seen: int
    timeout_ms: int
    session_id: int
    password: bytes
    read_only: bool


class Request(NamedTuple):
    """An ordinary request."""

    xid: int
    op: int
    body: bytes

    def path(self) -> str:
        """Read the path with which the body of most requests begins."""
        (length,) = struct.unpack_from(">i", self.body)
        return self.body[4 : 4 + length].decode()


def string(text: str) -> bytes:
    """Pack a string."""
    return buffer(text.encode())


def buffer(data: bytes | None) -> bytes:
    """Pack bytes, or null."""
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def strings(texts: Sequence[str]) -> bytes:
    """Pack a vector of strings."""
    return struct.pack(">i", len(texts)) + b"".join(map(string, texts))


def stat(
    *,
    czxid: int = 1,
    mzxid: int = 1,
    pzxid: int = 1,
    version: int = 0,
    cversion: int = 0,
    owner: int = 0,
    length: int = 0,
    children: int = 0,
) -> bytes:
    """Pack a Stat."""
    return STAT.pack(czxid, mzxid, 0, 0, version, cversion, 0, owner, length, children, pzxid)


class ScriptedServer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket | trio.SocketStream) -> None:
        """Take over a connected stream socket, such as one end of `socket.socketpair()`."""
        if isinstance(connection, socket.socket):
            connection.setblocking(False)
            connection = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        self.stream = connection
        self._received = bytearray()

    @classmethod
    def pair(cls) -> tuple[socket.socket, Self]:
        """Make a client's socket (non-blocking, of the standard library) and the server at its other end."""
        client, server = socket.socketpair()
        client.setblocking(False)
        return client, cls(server)

    async def read_frame(self) -> bytes:
        """Read one frame, without its length.

        Raises:
            EOFError: The client has closed the connection.
        """
        (length,) = struct.unpack(">i", await self._exactly(4))
        return await self._exactly(length)

    async def read_connect(self) -> ConnectRequest:
        """Read the handshake."""
        frame = await self.read_frame()
        version, zxid, timeout_ms, session_id, length = struct.unpack_from(">iqiqi", frame)
        end = 28 + max(length, 0)
        return ConnectRequest(version, zxid, timeout_ms, session_id, frame[28:end], frame[end : end + 1] == b"\1")

    async def read_request(self, op: int | None = None, *, pings: bool = True) -> Request:
        """Read a request.

        Args:
            op: The opcode that it must have.
            pings: Answer the pings that come before it, instead of returning one.
        """
        while True:
            frame = await self.read_frame()
            xid, op_sent = struct.unpack_from(">ii", frame)
            request = Request(xid, op_sent, frame[8:])
            if not (pings and request.op == PING and op != PING):
                assert op in (None, request.op), f"expected a request with opcode {op}, got {request}"
                return request
            await self.reply(PING_XID)

    async def read_end(self) -> None:
        """Wait until the client closes the connection; it must send nothing before."""
        try:
            frame = await self.read_frame()
        except EOFError:
            return
        raise AssertionError(f"expected the end of the connection, got {frame!r}")

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(data)

    async def send_frame(self, payload: bytes) -> None:
        """Send a frame; its length is put in front."""
        await self.send_raw(struct.pack(">i", len(payload)) + payload)

    async def accept_session(
        self,
        timeout_ms: int | None = None,
        *,
        session_id: int = 0x1234,
        password: bytes = PASSWORD,
        read_only: bool = False,
    ) -> ConnectRequest:
        """Read the handshake and answer it.

        Args:
            timeout_ms: The negotiated session timeout; by default the one asked for.
            session_id: The session's id.
            password: Its password.
            read_only: Whether the server has no quorum.

        Returns:
            What the client has asked for.
        """
        asked = await self.read_connect()
        timeout_ms = asked.timeout_ms if timeout_ms is None else timeout_ms
        await self.send_connected(timeout_ms, session_id=session_id, password=password, read_only=read_only)
        return asked

    async def refuse_session(self) -> ConnectRequest:
        """Read the handshake and answer that the session has expired; a server closes the connection after it."""
        asked = await self.read_connect()
        await self.send_connected(0, session_id=0, password=bytes(16))
        return asked

    async def send_connected(
        self, timeout_ms: int, *, session_id: int, password: bytes = PASSWORD, read_only: bool = False
    ) -> None:
        """Send the answer to a handshake."""
        head = struct.pack(">iiq", 0, timeout_ms, session_id)
        await self.send_frame(head + buffer(password) + struct.pack(">?", read_only))

    async def reply(self, xid: int, zxid: int = 0, err: int = 0, body: bytes = b"") -> None:
        """Send a reply."""
        await self.send_frame(struct.pack(">iqi", xid, zxid, err) + body)

    async def notify(self, kind: int, state: int = SYNC_CONNECTED, path: str = "/", *, zxid: int = -1) -> None:
        """Send a notification of the event type *kind*."""
        await self.reply(NOTIFICATION_XID, zxid, 0, struct.pack(">ii", kind, state) + string(path))

    async def close_session(self, zxid: int = 0) -> None:
        """Read closeSession, answer it, and close the connection."""
        request = await self.read_request(CLOSE_SESSION)
        await self.reply(request.xid, zxid)
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. May be called twice."""
        await self.stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            chunk = await self.stream.receive_some()
            if not chunk:
                raise EOFError(f"the client closed the connection; {bytes(self._received)!r} was left")
            self._received += chunk
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken


class ScriptedListener:
    """A port of the loopback interface where a test plays the server; use it under `async with`.

    Attributes:
        port: The port.
    """

    def __init__(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        self.port: int = listening.getsockname()[1]
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))

    @property
    def hosts(self) -> str:
        """The connect string."""
        return f"127.0.0.1:{self.port}"

    async def accept(self) -> ScriptedServer:
        """Wait for a client."""
        return ScriptedServer(await self._listener.accept())

    async def aclose(self) -> None:
        """Stop listening."""
        await self._listener.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()
