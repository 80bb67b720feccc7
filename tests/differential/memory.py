"""Our server as a side: bytes, and a clock of its own."""

from collections.abc import Sequence
from random import Random

from tests.differential.sides import MAX_TIMEOUT_MS, PATIENCE, TICK_MS, Frames, Link, SilentError
from tests.support.servers import HOST
from tests.support.settings import SUPER
from zk_sansio.server import PROFILES, Connection, Ensemble, ServerOptions

NEVER = 1e9


def usual(profile: str) -> ServerOptions:
    """The options that make our server like `RealSide`."""
    return ServerOptions(
        profile=PROFILES[profile],
        tick=TICK_MS / 1000,
        max_session_timeout=MAX_TIMEOUT_MS / 1000,
        super_password=":".join(SUPER),
        cleanup_interval=NEVER,
    )


class _MemoryLink:
    def __init__(self, side: "MemorySide", connection: Connection | None) -> None:
        self._side = side
        self._connection = connection
        self._frames = Frames()

    def send(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            if self._connection is not None and not self._connection.closed:
                self._connection.receive_data(piece, self._side.tick())
                self._side.ensemble.take_ready()

    def next(self) -> bytes | None:
        if self._connection is None:
            return None
        self._frames.feed(self._connection.data_to_send())
        frame = self._frames.pop()
        if frame is None and not self._connection.closed:
            self._side.wait(self._connection)
            self._frames.feed(self._connection.data_to_send())
            frame = self._frames.pop()
            if frame is None and not self._connection.closed:
                raise SilentError
        return frame

    def rest(self) -> bytes:
        if self._connection is None:
            return b""
        self._frames.feed(self._connection.data_to_send())
        if not self._connection.closed:
            raise SilentError
        return self._frames.rest()

    def close(self) -> None:
        if self._connection is not None and not self._connection.closed:
            self._connection.receive_data(b"", self._side.tick())
            self._side.ensemble.take_ready()
        self._connection = None


class MemorySide:
    """Our server, new for each program.

    Attributes:
        now: The time.
        ensemble: The server, or several.
        member: The place of the one that clients connect to.
    """

    name = "ours"

    def __init__(
        self, profile: str, options: ServerOptions | None = None, *, random: Random | None = None, size: int = 1
    ) -> None:
        self.now = 0.0
        self.ensemble = Ensemble(size, options or usual(profile), random=random or Random(0), now=0.0)
        self.member = 0

    def connect(self) -> Link:
        """Open a connection."""
        return _MemoryLink(self, self.ensemble.servers[self.member].accept(self.tick(), address=HOST))

    def pause(self, seconds: float) -> None:
        """Let time go by."""
        end = self.now + seconds
        while (due := self.ensemble.next_timeout()) <= end:
            self.now = max(self.now, due)
            self.ensemble.handle_timeout(self.now)
            self.ensemble.take_ready()
        self.now = end

    def tick(self) -> float:
        """Let a millisecond go by."""
        self.now += 0.001
        return self.now

    def wait(self, connection: Connection) -> None:
        """Let time go by until the connection has something to tell, or for as long as a real server is waited for."""
        end = self.now + PATIENCE
        while not connection.closed and (due := self.ensemble.next_timeout()) <= end:
            self.now = max(self.now, due)
            self.ensemble.handle_timeout(self.now)
            if connection in self.ensemble.take_ready():
                return
