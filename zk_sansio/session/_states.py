"""The rules of the two machines, as tables.

`SESSION_RULES` is the life of a session, which outlives many connections; `CONNECTION_RULES` that of one
TCP connection. A state that is missing from a table's row cannot be reached by that input: it is a defect
of this package, and `next_state` says so. The diagrams in the documentation are drawn from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from ..errors import LocalProtocolError

__all__ = [
    "CONNECTION_RULES",
    "SESSION_RULES",
    "ConnectionInput",
    "ConnectionState",
    "SessionInput",
    "SessionState",
    "next_state",
]


class SessionState(Enum):
    """Where a session stands."""

    CONNECTING = "connecting"
    """No server has accepted it yet."""
    CONNECTED = "connected"
    """A server serves it; credentials and watches are restored."""
    READ_ONLY = "read-only"
    """A server without a quorum serves it: reads only."""
    SUSPENDED = "suspended"
    """The connection is gone; the server keeps the session, its ephemerals and locks, for a while."""
    PRESUMED_LOST = "presumed lost"
    """Suspended for so long that the server may have ended the session: leases are over."""
    EXPIRED = "expired"
    """Over: a server said so."""
    AUTH_FAILED = "auth failed"
    """Over: a server refused the credentials."""
    CLOSED = "closed"
    """Over: it was closed here."""

    @property
    def serving(self) -> bool:
        """Whether requests are sent at once."""
        return self is SessionState.CONNECTED or self is SessionState.READ_ONLY

    @property
    def over(self) -> bool:
        """Whether nothing can follow."""
        return not SESSION_RULES[self]


class SessionInput(Enum):
    """What happens to a session."""

    SERVED = "a server serves the session"
    SERVED_READ_ONLY = "a read-only server serves the session"
    LOST = "the connection is lost"
    DEADLINE = "the timeout has passed without an answer"
    EXPIRY = "a server says that the session is over"
    AUTH_REFUSED = "a server refuses the credentials"
    CLOSE = "the session is closed here"


class ConnectionState(Enum):
    """Where one TCP connection stands."""

    HANDSHAKE = "handshake"
    """The connect request is on its way."""
    AUTHENTICATING = "authenticating"
    """The SASL exchange is on its way."""
    RESTORING = "restoring"
    """Credentials and watches are on their way."""
    SERVING = "serving"
    """Requests are sent and answered."""
    CLOSING = "closing"
    """closeSession was sent behind the last request."""
    ENDED = "ended"
    """Nothing more is read or written; the socket is to be closed."""


class ConnectionInput(Enum):
    """What happens to a connection."""

    ACCEPTED = "the server accepts the session"
    AUTHENTICATED = "the SASL exchange is done, or none is configured"
    RESTORED = "credentials and watches are answered for"
    CLOSE = "the session is closed here"
    END = "end of stream, error, silence, refusal, or closed here"


SESSION_RULES: Mapping[SessionState, Mapping[SessionInput, SessionState]] = {
    SessionState.CONNECTING: {
        SessionInput.SERVED: SessionState.CONNECTED,
        SessionInput.SERVED_READ_ONLY: SessionState.READ_ONLY,
        SessionInput.LOST: SessionState.CONNECTING,
        SessionInput.EXPIRY: SessionState.EXPIRED,
        SessionInput.AUTH_REFUSED: SessionState.AUTH_FAILED,
        SessionInput.CLOSE: SessionState.CLOSED,
    },
    SessionState.CONNECTED: {
        SessionInput.LOST: SessionState.SUSPENDED,
        SessionInput.EXPIRY: SessionState.EXPIRED,
        SessionInput.AUTH_REFUSED: SessionState.AUTH_FAILED,
        SessionInput.CLOSE: SessionState.CLOSED,
    },
    SessionState.READ_ONLY: {
        SessionInput.LOST: SessionState.SUSPENDED,
        SessionInput.EXPIRY: SessionState.EXPIRED,
        SessionInput.AUTH_REFUSED: SessionState.AUTH_FAILED,
        SessionInput.CLOSE: SessionState.CLOSED,
    },
    SessionState.SUSPENDED: {
        SessionInput.SERVED: SessionState.CONNECTED,
        SessionInput.SERVED_READ_ONLY: SessionState.READ_ONLY,
        SessionInput.LOST: SessionState.SUSPENDED,
        SessionInput.DEADLINE: SessionState.PRESUMED_LOST,
        SessionInput.EXPIRY: SessionState.EXPIRED,
        SessionInput.AUTH_REFUSED: SessionState.AUTH_FAILED,
        SessionInput.CLOSE: SessionState.CLOSED,
    },
    SessionState.PRESUMED_LOST: {
        SessionInput.SERVED: SessionState.CONNECTED,
        SessionInput.SERVED_READ_ONLY: SessionState.READ_ONLY,
        SessionInput.LOST: SessionState.PRESUMED_LOST,
        SessionInput.EXPIRY: SessionState.EXPIRED,
        SessionInput.AUTH_REFUSED: SessionState.AUTH_FAILED,
        SessionInput.CLOSE: SessionState.CLOSED,
    },
    SessionState.EXPIRED: {},
    SessionState.AUTH_FAILED: {},
    SessionState.CLOSED: {},
}
"""For each state of a session, which state follows what happens."""

CONNECTION_RULES: Mapping[ConnectionState, Mapping[ConnectionInput, ConnectionState]] = {
    ConnectionState.HANDSHAKE: {
        ConnectionInput.ACCEPTED: ConnectionState.AUTHENTICATING,
        ConnectionInput.END: ConnectionState.ENDED,
    },
    ConnectionState.AUTHENTICATING: {
        ConnectionInput.AUTHENTICATED: ConnectionState.RESTORING,
        ConnectionInput.CLOSE: ConnectionState.CLOSING,
        ConnectionInput.END: ConnectionState.ENDED,
    },
    ConnectionState.RESTORING: {
        ConnectionInput.RESTORED: ConnectionState.SERVING,
        ConnectionInput.CLOSE: ConnectionState.CLOSING,
        ConnectionInput.END: ConnectionState.ENDED,
    },
    ConnectionState.SERVING: {
        ConnectionInput.CLOSE: ConnectionState.CLOSING,
        ConnectionInput.END: ConnectionState.ENDED,
    },
    ConnectionState.CLOSING: {
        ConnectionInput.END: ConnectionState.ENDED,
    },
    ConnectionState.ENDED: {},
}
"""The same for a connection."""

S = TypeVar("S", bound=Enum)
I = TypeVar("I", bound=Enum)  # noqa: E741


def next_state(rules: Mapping[S, Mapping[I, S]], state: S, happened: I) -> S:
    """Look up what follows *state* when *happened* happens.

    Raises:
        LocalProtocolError: the table has no such row; the machine was driven in a way that it does not allow.
    """
    try:
        return rules[state][happened]
    except KeyError:
        raise LocalProtocolError(f"{happened.name} cannot happen while {state.name}") from None
