"""A server that a program runs on: the face of all of them, and a real one on sockets."""

import socket
import struct
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from tests.support.servers import HOST, ZooKeeperServer
from tests.support.settings import Options

TICK_MS = 50
"""So that sessions can lapse soon: at least two ticks."""
MAX_TIMEOUT_MS = 60_000
PATIENCE = 5.0
"""Seconds until a real server counts as silent."""


class SilentError(Exception):
    """A server that had something to say did not."""


class Link(Protocol):
    """A client's connection."""

    def send(self, pieces: Sequence[bytes]) -> None:
        """Send bytes, in these pieces; a server that has gone takes no notice."""

    def next(self) -> bytes | None:
        """The next frame without its length; None when the server has closed.

        Raises:
            SilentError: There is none, and the connection is open.
        """

    def rest(self) -> bytes:
        """Read to the end, without looking for frames."""

    def close(self) -> None:
        """Cut the connection, as a client that has died."""


class Side(Protocol):
    """A server."""

    name: str

    def connect(self) -> Link:
        """Open a connection."""

    def pause(self, seconds: float) -> None:
        """Let time go by."""


class Frames:
    """Bytes that came, cut into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._data += data

    def pop(self) -> bytes | None:
        """The next whole frame, if there is one."""
        if len(self._data) < 4:
            return None
        (length,) = struct.unpack_from(">i", self._data)
        if length < 0 or len(self._data) < 4 + length:
            return None
        frame = bytes(self._data[4 : 4 + length])
        del self._data[: 4 + length]
        return frame

    def rest(self) -> bytes:
        """What is left."""
        data = bytes(self._data)
        self._data.clear()
        return data


class _SocketLink:
    def __init__(self, port: int) -> None:
        try:
            self._socket = socket.create_connection((HOST, port), PATIENCE)
        except OSError:
            raise SilentError from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._frames = Frames()

    def send(self, pieces: Sequence[bytes]) -> None:
        try:
            for piece in pieces:
                self._socket.sendall(piece)
        except OSError:
            pass  # It has closed; what it said before can still be read.

    def next(self) -> bytes | None:
        while (frame := self._frames.pop()) is None:
            if not (data := self._receive()):
                return None
            self._frames.feed(data)
        return frame

    def rest(self) -> bytes:
        while data := self._receive():
            self._frames.feed(data)
        return self._frames.rest()

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 16)
        except TimeoutError:
            raise SilentError from None
        except OSError:
            return b""


class RealSide:
    """A real server, standalone; used under `with`. It is started again when it was lost.

    Args:
        cleanup_ms: How often containers and nodes with a time to live are looked at; by default never.
    """

    name = "real"

    def __init__(self, cleanup_ms: int = 10**9) -> None:
        options = Options(
            tick_ms=TICK_MS,
            properties={"znode.container.checkIntervalMs": cleanup_ms},
            config={"maxSessionTimeout": MAX_TIMEOUT_MS},
            log_level="error",
        )
        self.server = ZooKeeperServer(options)

    @property
    def version(self) -> tuple[int, ...]:
        """The server's version."""
        return self.server.version_info

    def connect(self) -> Link:
        """Open a connection."""
        return _SocketLink(self.server.port)

    def pause(self, seconds: float) -> None:
        """Let time go by."""
        time.sleep(seconds)

    def heal(self) -> None:
        """Start it again, empty: there are requests that leave a log behind which no server can read."""
        self.server.kill()
        self.server.wipe()
        self.server.start()

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.server.close()


def profile_of(version: tuple[int, ...]) -> str:
    """The profile that a server of this version is compared with."""
    return "3.8" if version < (3, 9) else "3.9"
