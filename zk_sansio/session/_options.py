"""What a user may set for a session."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import InvalidRequestError
from ..wire import DEFAULT_MAX_REPLY, DEFAULT_MAX_REQUEST
from ._sasl import SaslFactory

__all__ = ["SessionOptions", "SessionTicket"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTicket:
    """What it takes to resume a session, here or in another process. Who holds it *is* the session.

    Attributes:
        session_id: the session's id.
        password: 16 bytes, a secret.
        last_zxid: the newest state that the session has seen; a server behind it is refused.
    """

    session_id: int
    password: bytes = field(repr=False)
    last_zxid: int = 0

    def __post_init__(self) -> None:
        if self.session_id == 0 or len(self.password) != 16:
            raise InvalidRequestError("a session ticket needs the session's id and its password of 16 bytes")
        if any(not -(2**63) <= number < 2**63 for number in (self.session_id, self.last_zxid)):
            raise InvalidRequestError("a session's id and a zxid are signed numbers of 64 bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a session behaves.

    Attributes:
        timeout: seconds, the session timeout to ask for; servers clamp it, by default to 2-20 of their ticks.
        read_only: whether a server in read-only mode will do while there is no other.
        connect_timeout: seconds that one connection attempt may take at most, handshake included.
        max_request: bytes of a request, ``jute.maxbuffer`` of the servers.
        max_reply: bytes of a reply.
        max_in_flight: requests without an answer; callers wait above it.
        high_water: bytes queued for sending; callers wait above it ...
        low_water: ... and go on when no more than this is left.
        expire_locally: end the session after 4/3 of its timeout without a server, instead of waiting
            for a server's word on it.
        sasl: makes the SASL mechanism for each connection; None for no SASL.
    """

    timeout: float = 10.0
    read_only: bool = False
    connect_timeout: float = 5.0
    max_request: int = DEFAULT_MAX_REQUEST
    max_reply: int = DEFAULT_MAX_REPLY
    max_in_flight: int = 1000
    high_water: int = 1024 * 1024
    low_water: int = 256 * 1024
    expire_locally: bool = False
    sasl: SaslFactory | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= (2**31 - 1) / 1000:
            raise InvalidRequestError(f"the session timeout is a positive number of seconds, not {self.timeout!r}")
        if not self.connect_timeout > 0:
            raise InvalidRequestError(f"connect_timeout is a positive number of seconds, not {self.connect_timeout!r}")
        for name in ("max_request", "max_reply", "max_in_flight", "high_water"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        if not 0 <= self.low_water <= self.high_water:
            raise InvalidRequestError(f"low_water must be from 0 to high_water, not {self.low_water!r}")
