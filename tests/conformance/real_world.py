"""The world of the checks on a real ZooKeeper server."""

import struct
import threading
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

from tests.integration.tools import ephemerals_of, open_connections, watches_of
from tests.support.proxy import ChaosProxy
from tests.support.raw import EPHEMERAL, RawClient, RawError, expire
from tests.support.servers import HOST, ZooKeeperServer
from zk_sansio import SessionTicket, Stat

PING, CLOSE_SESSION = 11, -11
SESSION_EXPIRED = -112


class RealWorld:
    """A real server, seen through a client and words of its own.

    Args:
        server: the server.
        witness: a client of it.
        root: the znode of this check.
    """

    def __init__(self, server: ZooKeeperServer, witness: RawClient, root: str) -> None:
        self.hosts = server.hosts
        self.version = server.version_info
        self.root = root
        self._server = server
        self._witness = witness
        self._lock = threading.Lock()

    def create(self, path: str, data: bytes | None = b"", *, ephemeral: bool = False) -> str:
        with self._lock:
            return self._witness.create(path, data, flags=EPHEMERAL if ephemeral else 0)

    def get(self, path: str) -> bytes | None:
        with self._lock:
            return self._witness.get(path)

    def set(self, path: str, data: bytes | None) -> Stat:
        with self._lock:
            return Stat(*self._witness.set(path, data))

    def delete(self, path: str) -> None:
        with self._lock:
            self._witness.delete(path)

    def exists(self, path: str) -> Stat | None:
        with self._lock:
            stat = self._witness.exists(path)
        return None if stat is None else Stat(*stat)

    def children(self, path: str) -> list[str]:
        with self._lock:
            return self._witness.children(path)

    def ephemerals(self, session_id: int) -> AbstractSet[str]:
        return ephemerals_of(self._server, session_id)

    def watches(self, session_id: int) -> AbstractSet[str]:
        return watches_of(self._server, session_id)

    def connections(self) -> int:
        return open_connections(self._server) - 1

    def expire(self, ticket: SessionTicket) -> None:
        try:
            expire(HOST, self._server.port, (ticket.session_id, ticket.password))
        except RawError as error:
            if error.code != SESSION_EXPIRED:
                raise

    def proxy(self) -> ChaosProxy:
        return ChaosProxy(self._server.port)

    def refusing(self, codes: Sequence[int]) -> AbstractContextManager[str]:
        return refusing(codes)


@contextmanager
def refusing(codes: Sequence[int]) -> Iterator[str]:
    """Serve sessions whose requests are answered with these error codes; the scope gives the connect string."""
    left = [*codes]

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(EOFError, OSError):
                refuse(self.request, left)

    with ThreadingTCPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), name="refusing server").start()
        try:
            yield f"{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()


def refuse(connection: Any, codes: list[int]) -> None:
    """Serve one connection."""
    asked = read_frame(connection)
    (timeout_ms,) = struct.unpack_from(">i", asked, 12)
    send_frame(connection, struct.pack(">iiqi16s?", 0, timeout_ms, 0x1234, 16, bytes(range(16)), False))
    while True:
        xid, op = struct.unpack_from(">ii", read_frame(connection))
        code = 0 if op in (PING, CLOSE_SESSION) else codes.pop(0)
        send_frame(connection, struct.pack(">iqi", xid, 1, code))
        if op == CLOSE_SESSION:
            return


def read_frame(connection: Any) -> bytes:
    """Read a frame without its length."""
    (length,) = struct.unpack(">i", read_exactly(connection, 4))
    return read_exactly(connection, length)


def read_exactly(connection: Any, count: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def send_frame(connection: Any, payload: bytes) -> None:
    """Send a frame."""
    connection.sendall(struct.pack(">i", len(payload)) + payload)
