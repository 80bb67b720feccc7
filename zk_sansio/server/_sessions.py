"""The sessions of an ensemble, as its leader keeps them (SessionTrackerImpl, ExpiryQueue)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from math import floor, inf
from typing import Protocol

__all__ = ["Holder", "Session", "Sessions", "next_tick"]


def next_tick(time: float, tick: float) -> float:
    """The first multiple of *tick* behind a time."""
    due = (floor(time / tick) + 1) * tick
    return due if due > time else due + tick  # the quotient was rounded down to the number before


class Holder(Protocol):
    """The connection that holds a session."""


class Session:
    """One session.

    Attributes:
        session_id: its id.
        password: what it takes to resume it.
        timeout_ms: as negotiated last.
        touched: when something was heard of it last.
        holder: the connection that it is attached to, or was.
        due: when it is looked at next, to see whether it has expired.
    """

    __slots__ = ("_tick", "due", "holder", "password", "session_id", "timeout_ms", "touched")

    def __init__(self, session_id: int, password: bytes, timeout_ms: int, now: float, tick: float) -> None:
        self.session_id: int = session_id
        self.password: bytes = password
        self.timeout_ms: int = timeout_ms
        self.touched: float = now
        self.holder: Holder | None = None
        self._tick = tick
        self.due: float = self.expires

    @property
    def expires(self) -> float:
        """When it ends unless it is heard of: the first tick after its timeout."""
        return next_tick(self.touched + self.timeout_ms / 1000, self._tick)


class Sessions(Mapping[int, Session]):
    """All that live, by id.

    Args:
        secret: what passwords are made of.
        first_id: the id of the first session; the next ones count up from it.
        tick: seconds; sessions expire at multiples of it.
    """

    def __init__(self, secret: bytes, first_id: int, tick: float) -> None:
        self._secret = secret
        self._next_id = first_id
        self._tick = tick
        self._sessions: dict[int, Session] = {}
        # When to look at a session; it may have been heard of since, so nothing is moved at each request.
        self._due: list[tuple[float, int]] = []

    def __getitem__(self, session_id: int) -> Session:
        return self._sessions[session_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    def make(self, timeout_ms: int, now: float, server_id: int) -> Session:
        """Begin a session; the top byte of its id is the server's number, so ids may be negative."""
        unsigned = (server_id << 56) | (self._next_id & (2**56 - 1))
        self._next_id += 1
        session_id = unsigned - 2**64 if unsigned >= 2**63 else unsigned
        session = Session(session_id, self.password(session_id), timeout_ms, now, self._tick)
        self._sessions[session_id] = session
        heappush(self._due, (session.due, session_id))
        return session

    def password(self, session_id: int) -> bytes:
        """The password of a session, whether it lives or not; the same on every server."""
        return hashlib.sha256(self._secret + session_id.to_bytes(8, "big", signed=True)).digest()[:16]

    def resume(self, session: Session, timeout_ms: int, now: float) -> None:
        """Take up a session again, maybe with another timeout."""
        session.timeout_ms, session.touched = timeout_ms, now
        if session.expires < session.due:  # the timeout is shorter than it was
            session.due = session.expires
            heappush(self._due, (session.due, session.session_id))

    def end(self, session_id: int) -> None:
        """Forget a session."""
        self._sessions.pop(session_id, None)

    def touch_all(self, now: float) -> None:
        """Give every session its whole timeout, as a new leader does."""
        for session in self._sessions.values():
            self.resume(session, session.timeout_ms, now)

    def next_timeout(self) -> float:
        """When to look for expired ones."""
        return self._due[0][0] if self._due else inf

    def expired(self, now: float) -> list[Session]:
        """Those whose time is up, in its order."""
        found: dict[int, Session] = {}
        while self._due and self._due[0][0] <= now:
            _, session_id = heappop(self._due)
            session = self._sessions.get(session_id)
            if session is None or session_id in found:
                continue
            if session.expires <= now:
                found[session_id] = session
            else:
                session.due = session.expires
                heappush(self._due, (session.due, session_id))
        return list(found.values())
