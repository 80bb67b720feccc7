"""The search for a read/write server while a read-only one serves the session.

One server after the other is asked ``isro``, which it must have whitelisted. One that has not is offered a
session of its own instead, which only a read/write server accepts, and which is closed in the same breath.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from ..errors import RemoteProtocolError
from ..wire import CloseSession, ConnectRequest, ConnectResponse, FrameDecoder
from ._dialer import RESOLVE_TIMEOUT, Attempt, Probe, Resolve
from ._hosts import HostPort, Server, ServerList

__all__ = ["Prober"]

_FIRST = 0.1
_LONGEST = 60.0
_PROBE_TIMEOUT = 1.0
_ISRO = b"isro"
_HANDSHAKE = ConnectRequest(
    last_zxid=0, timeout_ms=1000, session_id=0, password=bytes(16), read_only=False
).encode() + CloseSession().encode(1)


class Prober:
    """Asks one server after the other, with a pause that doubles after each round.

    Attributes:
        due: when the next probe is due; `inf` while there is nothing to look for, or one is under way.
    """

    __slots__ = ("_attempt", "_in_round", "_mute", "_pause", "due")

    def __init__(self) -> None:
        self.due = inf
        self._pause = _FIRST
        self._in_round = False
        self._attempt: Attempt | None = None
        self._mute: Server | None = None  # a server that does not answer isro, to be offered a session

    def start(self, now: float) -> None:
        """A read-only server serves the session: look for a better one."""
        self._pause = _FIRST
        self._in_round = False
        self.due = now + self._pause

    def stop(self) -> None:
        """The connection is gone; an attempt under way no longer counts."""
        self.due = inf
        self._attempt = None
        self._mute = None

    def next_probe(self, servers: ServerList, current: Server, now: float) -> Attempt | None:
        """What to try now, if anything."""
        if now < self.due:
            return None
        if not self._in_round and (names := servers.unresolved()):
            return self._try(Resolve(names, now + RESOLVE_TIMEOUT))
        if not self._in_round:
            self._begin({}, servers)
        if (server := self._mute) is not None:
            self._mute = None
            return self._try(Probe(server, now + _PROBE_TIMEOUT, _HANDSHAKE))
        server = servers.next()
        if server == current:
            server = servers.next()
        if server is None:
            self._in_round = False
            self._pause = min(self._pause * 2, _LONGEST)
            self.due = now + self._pause
            return None
        return self._try(Probe(server, now + _PROBE_TIMEOUT, _ISRO))

    def _try(self, attempt: Attempt) -> Attempt:
        self._attempt = attempt
        self.due = inf
        return attempt

    def resolved(self, attempt: Resolve, addresses: Mapping[HostPort, Sequence[str]], servers: ServerList) -> None:
        """Take the addresses that were found; an attempt that no longer counts is ignored."""
        if attempt is self._attempt:
            self._begin(addresses, servers)
            self.due = -inf

    def _begin(self, addresses: Mapping[HostPort, Sequence[str]], servers: ServerList) -> None:
        servers.begin_round(addresses)
        self._in_round = True

    def answered(self, attempt: Probe, answer: bytes, now: float) -> bool:
        """Take what a server answered, nothing if it failed; return whether it is a read/write server."""
        if attempt is not self._attempt:
            return False
        self._attempt = None
        self.due = now
        if attempt.data is _HANDSHAKE:
            return _accepts_sessions(answer)
        if b"whitelist" in answer:
            self._mute = attempt.server
        return answer.strip() == b"rw"


def _accepts_sessions(answer: bytes) -> bool:
    frames = FrameDecoder(1024).receive_data(answer)
    try:
        return bool(frames) and ConnectResponse.decode(frames[0]).timeout_ms > 0
    except RemoteProtocolError:
        return False
