"""A tiny blocking client and the four-letter words, over plain sockets: an independent witness of what a server holds.

Requests are answered one at a time; there are no watches, no pings, no reconnects.
"""

import socket
import ssl
import struct
import time
from types import TracebackType
from typing import NamedTuple, Self

NO_NODE = -101
NODE_EXISTS = -110
NOT_EMPTY = -111

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_CHILDREN, CLOSE = 1, 2, 3, 4, 5, 8, -11
AUTH = 100
EPHEMERAL, SEQUENTIAL = 1, 2
WORLD = ((31, "world", "anyone"),)


class RawError(Exception):
    """The server answered with an error.

    Attributes:
        code: The error's number.
    """

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: error {code}")
        self.code = code


class Stat(NamedTuple):
    """The facts about a node."""

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int


STAT = struct.Struct(">qqqqiiiqiiq")


class Deadline:
    """A total time for several steps on one socket."""

    def __init__(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout

    def left(self) -> float:
        """Tell the time that is left.

        Raises:
            TimeoutError: None.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the server did not answer in time")
        return left


def dial(host: str, port: int, timeout: float, context: ssl.SSLContext | None = None) -> socket.socket:
    """Connect, with TLS if a context is given."""
    connection = socket.create_connection((host, port), timeout)
    if context is None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def four_letter(host: str, port: int, word: str, *, timeout: float = 5.0, context: ssl.SSLContext | None = None) -> str:
    """Ask a server one of the four-letter words.

    Raises:
        OSError: It cannot be reached, or did not answer in time.
    """
    deadline = Deadline(timeout)
    with dial(host, port, timeout, context) as connection:
        connection.sendall(word.encode())
        answer = b""
        while True:
            connection.settimeout(deadline.left())
            if not (chunk := connection.recv(65536)):
                return answer.decode(errors="replace")
            answer += chunk


class RawClient:
    """One session on one connection; close it, or use it under `with`.

    Attributes:
        session_id: The session's id.
        password: The session's password.
        session_ms: The negotiated session timeout.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        session_ms: int = 10_000,
        session: tuple[int, bytes] = (0, bytes(16)),
        timeout: float = 10.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Connect and open a session, or resume one.

        Args:
            host: The server's name or address.
            port: The server's port.
            session_ms: The session timeout to ask for.
            session: Id and password of a session to resume.
            timeout: The limit for each operation, in seconds.
            context: Connect with TLS.

        Raises:
            RawError: The session to resume has expired (-112).
            OSError: The server cannot be reached, did not answer, or closed the connection.
        """
        self._timeout = timeout
        self._xid = 0
        self._socket = dial(host, port, timeout, context)
        try:
            self._send(struct.pack(">iqiq", 0, 0, session_ms, session[0]) + _buffer(session[1]) + b"\0")
            answer = self._receive(Deadline(timeout))
            _, self.session_ms, self.session_id, length = struct.unpack_from(">iiqi", answer)
            self.password = answer[20 : 20 + length]
            if self.session_ms <= 0:
                raise RawError(-112, "connect")
        except BaseException:
            self._socket.close()
            raise

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        flags: int = 0,
        acl: tuple[tuple[int, str, str], ...] = WORLD,
    ) -> str:
        """Create a node and return its path."""
        entries = b"".join(struct.pack(">i", perms) + _string(scheme) + _string(name) for perms, scheme, name in acl)
        body = _string(path) + _buffer(data) + struct.pack(">i", len(acl)) + entries + struct.pack(">i", flags)
        return _strings(self._call(CREATE, body, path), 0, 1)[0]

    def delete(self, path: str, version: int = -1) -> None:
        """Delete a node."""
        self._call(DELETE, _string(path) + struct.pack(">i", version), path)

    def exists(self, path: str) -> Stat | None:
        """Tell the facts about a node, or None if there is none."""
        try:
            return Stat(*STAT.unpack_from(self._call(EXISTS, _string(path) + b"\0", path)))
        except RawError as error:
            if error.code == NO_NODE:
                return None
            raise

    def get(self, path: str) -> bytes | None:
        """Read a node's data."""
        answer = self._call(GET_DATA, _string(path) + b"\0", path)
        (length,) = struct.unpack_from(">i", answer)
        return answer[4 : 4 + length] if length >= 0 else None

    def set(self, path: str, data: bytes | None, version: int = -1) -> Stat:
        """Write a node's data."""
        body = _string(path) + _buffer(data) + struct.pack(">i", version)
        return Stat(*STAT.unpack_from(self._call(SET_DATA, body, path)))

    def children(self, path: str) -> list[str]:
        """List a node's children, sorted."""
        answer = self._call(GET_CHILDREN, _string(path) + b"\0", path)
        (count,) = struct.unpack_from(">i", answer)
        return sorted(_strings(answer, 4, count))

    def add_auth(self, scheme: str, auth: bytes) -> None:
        """Show a credential."""
        self._call(AUTH, struct.pack(">i", 0) + _string(scheme) + _buffer(auth), scheme, xid=-4)

    def delete_all(self, path: str) -> None:
        """Delete a node and all below it, also while others add to it; it may be gone already."""
        while True:
            try:
                for name in self.children(path):
                    self.delete_all(f"{path.rstrip('/')}/{name}")
                self.delete(path)
            except RawError as error:
                if error.code == NOT_EMPTY:
                    continue
                if error.code != NO_NODE:
                    raise
            return

    def close(self) -> None:
        """End the session, so that its ephemeral nodes go, and close the connection. May be called twice."""
        if self._socket.fileno() == -1:
            return
        try:
            self._call(CLOSE, b"", "close")
        except OSError:
            pass  # The connection was lost; the session will expire.
        finally:
            self._socket.close()

    def abandon(self) -> None:
        """Close the connection only: the session lives on until it expires."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _call(self, op: int, body: bytes, what: str, xid: int | None = None) -> bytes:
        if xid is None:
            self._xid += 1
            xid = self._xid
        deadline = Deadline(self._timeout)
        self._send(struct.pack(">ii", xid, op) + body)
        while True:
            answer = self._receive(deadline)
            answered, _, code = struct.unpack_from(">iqi", answer)
            if answered != xid:
                continue  # A late answer to a call that timed out.
            if code:
                raise RawError(code, what)
            return answer[16:]

    def _send(self, payload: bytes) -> None:
        self._socket.settimeout(self._timeout)
        self._socket.sendall(struct.pack(">i", len(payload)) + payload)

    def _receive(self, deadline: Deadline) -> bytes:
        (length,) = struct.unpack(">i", self._exactly(4, deadline))
        return self._exactly(length, deadline)

    def _exactly(self, count: int, deadline: Deadline) -> bytes:
        received = bytearray()
        while len(received) < count:
            self._socket.settimeout(deadline.left())
            chunk = self._socket.recv(count - len(received))
            if not chunk:
                raise ConnectionResetError("the server closed the connection")
            received += chunk
        return bytes(received)


def expire(host: str, port: int, session: tuple[int, bytes], *, context: ssl.SSLContext | None = None) -> None:
    """End somebody's session behind their back: to its owner it has expired, at once.

    Args:
        host: The server's name or address; of an ensemble, any member.
        port: The server's port.
        session: The id and the password of the session.
        context: Connect with TLS.
    """
    RawClient(host, port, session=session, context=context).close()


def _buffer(data: bytes | None) -> bytes:
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def _string(text: str) -> bytes:
    return _buffer(text.encode())


def _strings(answer: bytes, offset: int, count: int) -> list[str]:
    found = []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", answer, offset)
        found.append(answer[offset + 4 : offset + 4 + length].decode())
        offset += 4 + length
    return found
