"""The requests of a session: numbered, kept while there is no connection, and told apart from its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from ..errors import RequestTooLargeError
from ..wire import XID_AUTH, Auth, Request
from ._calls import Call
from ._connection import Connection

__all__ = ["CallBook", "Then"]

R = TypeVar("R")

Then: TypeAlias = Callable[[Call[Any], float], None]
"""What to do with the outcome of a request of the session's own."""

_LAST_XID = 2**31 - 2


class CallBook:
    """Every request that is not on a connection, and what is special about those that are.

    Args:
        max_request: bytes that a request may have.

    Attributes:
        waiting: calls that wait for a connection, in order.
        waiting_bytes: what they add up to.
        credentials: what every connection is authenticated with.
        auth_waiting: ``add_auth`` calls without an answer that wait for a connection.
        own: requests of the session's own that are under way.
    """

    __slots__ = ("_max_request", "_next_xid", "auth_waiting", "credentials", "own", "waiting", "waiting_bytes")

    def __init__(self, max_request: int, credentials: Sequence[tuple[str, bytes]]) -> None:
        self._max_request = max_request
        self._next_xid = 1
        self.waiting: deque[Call[Any]] = deque()
        self.waiting_bytes = 0
        self.credentials = list(dict.fromkeys(credentials))
        self.auth_waiting: list[Call[Any]] = []
        self.own: dict[Call[Any], Then] = {}

    def encode(self, request: Request[Any], *, own: bool = False) -> tuple[int, bytes]:
        """Give *request* the next number and encode it; there is no limit for the session's *own*.

        Raises:
            InvalidRequestError: an argument that no server accepts.
            RequestTooLargeError: over the frame limit.
        """
        xid = self._next_xid
        frame = request.encode(xid)
        if len(frame) - 4 > self._max_request and not own:
            raise RequestTooLargeError(len(frame) - 4, self._max_request, request.target)
        self._next_xid = xid + 1 if xid < _LAST_XID else 1
        return xid, frame

    def keep(self, call: Call[Any], frame: bytes) -> None:
        """Let *call* wait for a connection."""
        call.frame = frame
        self.waiting.append(call)
        self.waiting_bytes += len(frame)

    def withdraw(self, call: Call[Any]) -> bool:
        """Take *call* back if it still waits; return whether it did."""
        if call in self.auth_waiting:
            self.auth_waiting.remove(call)
            return True
        if call.frame and call in self.waiting:
            self.waiting.remove(call)
            self.waiting_bytes -= len(call.frame)
            return True
        return False

    def release(self, connection: Connection) -> None:
        """Send everything that waits."""
        waiting, self.waiting = self.waiting, deque()
        self.waiting_bytes = 0
        for call in waiting:
            frame, call.frame = call.frame, b""
            connection.send(call, frame)

    def take_waiting(self) -> list[Call[Any]]:
        """Everything that waits, waiting no more."""
        taken = list(self.waiting)
        self.waiting.clear()
        self.waiting_bytes = 0
        return taken

    def take_pending(self, connection: Connection) -> list[tuple[Call[Any], bool]]:
        """The users' calls that *connection* leaves without an answer, and whether they were sent.

        Those of the session's own are forgotten. Users' auth calls stay: every connection repeats them.
        """
        sent = connection.sent_pending
        taken = []
        for position, call in enumerate(connection.pending):
            call.sent = position < sent
            if self.own.pop(call, None) is None:
                taken.append((call, call.sent))
        connection.pending.clear()
        self.auth_waiting += [call for call in connection.auth_pending if self.own.pop(call, None) is None]
        connection.auth_pending.clear()
        return taken

    def make_auth(self, scheme: str, credential: bytes) -> Call[None]:
        """A call that authenticates a connection."""
        request = Auth(0, scheme, credential)
        return Call(request, XID_AUTH, request.encode(XID_AUTH))

    def auth_calls(self) -> list[tuple[Call[None], bool]]:
        """The calls that authenticate a new connection, in the order in which they were asked for.

        Returns:
            Each call, and whether a user waits for it.
        """
        waiting, self.auth_waiting = self.auth_waiting, []
        asked = {(auth.scheme, auth.credential) for call in waiting if isinstance(auth := call.request, Auth)}
        calls = [(self.make_auth(*credential), False) for credential in self.credentials if credential not in asked]
        return calls + [(call, True) for call in waiting]
