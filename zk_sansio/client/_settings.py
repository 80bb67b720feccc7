"""What ``open_client`` takes, on every adapter alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ..errors import InvalidRequestError
from ..paths import Chroot
from ..session import RandomSource, SaslFactory, Session, SessionOptions, SessionTicket, parse_hosts
from ._caller import WhileSuspended
from ._engine import Engine, OnExpiry
from ._retry import RetryPolicy
from ._runtime import Runtime

__all__ = ["ClientSettings", "Setup", "SocketOptions", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """How sockets are set up.

    Attributes:
        nodelay: send small requests at once (TCP_NODELAY). Off, each request may wait for 40 ms.
        keepalive: let the kernel find out about dead peers too.
        send_buffer: bytes (SO_SNDBUF); None leaves it to the kernel.
        receive_buffer: bytes (SO_RCVBUF); None leaves it to the kernel.
        local_address: the address, and the port or 0, to connect from; None leaves it to the kernel.
    """

    nodelay: bool = True
    keepalive: bool = True
    send_buffer: int | None = None
    receive_buffer: int | None = None
    local_address: tuple[str, int] | None = None


class ClientSettings(TypedDict, total=False):
    """The keyword arguments of ``open_client``; all may be left out.

    Attributes:
        session_timeout: seconds (10), the timeout to ask for. Servers clamp it; `Client.session_timeout` is the
            one in force. The shorter, the sooner locks of a dead client are free, and the sooner a busy
            machine loses its session.
        open_timeout: seconds (15) until `ConnectError` if no server accepts a session; None waits for ever,
            0 does not wait at all.
        close_grace: seconds (3) that leaving the scope may take to end the session in order.
        keep_session: leave the session to its timeout, or to be resumed by its ticket, instead of ending it.
        ticket: a session to resume. If it is over, `SessionExpiredError` is raised whatever *on_expiry* says.
        auth: identities, pairs of scheme and credential, as for `Client.add_auth`.
        sasl: makes the SASL mechanism, such as ``digest_md5(user, password)``.
        read_only: accept a server in read-only mode while there is no other.
        retry: which failures are repeated.
        while_suspended: whether calls made without a connection ``wait`` for one, or ``fail`` at once.
        on_expiry: whether an expired session is followed by a new one, ``renew``, or ends the scope with
            `SessionExpiredError`, ``raise``.
        expire_locally: take the session for expired after 4/3 of its timeout without a server, instead of
            waiting for a server's word.
        connect_timeout: seconds (5) that one connection attempt may take at most.
        socket: how sockets are set up.
        max_request: bytes of a request; ``jute.maxbuffer`` of the servers.
        max_reply: bytes of a reply (64 MiB).
        max_in_flight: requests without an answer (1000); callers wait above it.
        high_water: bytes queued for sending; callers wait above it ...
        low_water: ... and go on when no more than this is left.
    """

    session_timeout: float
    open_timeout: float | None
    close_grace: float
    keep_session: bool
    ticket: SessionTicket | None
    auth: Sequence[tuple[str, bytes | str]]
    sasl: SaslFactory | None
    read_only: bool
    retry: RetryPolicy
    while_suspended: WhileSuspended
    on_expiry: OnExpiry
    expire_locally: bool
    connect_timeout: float
    socket: SocketOptions
    max_request: int
    max_reply: int
    max_in_flight: int
    high_water: int
    low_water: int


@dataclass(slots=True, kw_only=True)
class Setup:
    """An engine that no one drives yet, what its clients are made with, and what its adapter has to know."""

    engine: Engine
    chroot: Chroot
    retry: RetryPolicy | None
    while_suspended: WhileSuspended
    socket: SocketOptions
    open_timeout: float | None
    close_grace: float
    keep_session: bool


_SESSION_OPTIONS = {
    "read_only",
    "connect_timeout",
    "max_request",
    "max_reply",
    "max_in_flight",
    "high_water",
    "low_water",
    "expire_locally",
    "sasl",
}


def prepare(hosts: str | Sequence[str], runtime: Runtime, random: RandomSource, settings: ClientSettings) -> Setup:
    """Make an engine of what the user gave; nothing is sent, and wrong settings are refused here.

    Args:
        hosts: ``host:port,host:port/chroot``, or a sequence of such entries.
        runtime: the adapter's.
        random: where shuffles and jitter come from.
        settings: the user's.

    Raises:
        InvalidRequestError: the message says what is wrong, and how it should be.
    """
    unknown = settings.keys() - ClientSettings.__annotations__.keys()
    if unknown:
        raise TypeError(f"open_client does not know {', '.join(sorted(unknown))}")
    on_expiry: OnExpiry = settings.get("on_expiry", "renew")
    while_suspended: WhileSuspended = settings.get("while_suspended", "wait")
    _one_of("on_expiry", on_expiry, ("renew", "raise"))
    _one_of("while_suspended", while_suspended, ("wait", "fail"))
    open_timeout = settings.get("open_timeout", 15.0)
    close_grace = settings.get("close_grace", 3.0)
    if open_timeout is not None:
        _seconds("open_timeout", open_timeout)
    _seconds("close_grace", close_grace)
    servers, chroot = parse_hosts(hosts)
    chosen: dict[str, Any] = {name: value for name, value in settings.items() if name in _SESSION_OPTIONS}
    if "session_timeout" in settings:
        chosen["timeout"] = settings["session_timeout"]
    credentials = _credentials(settings.get("auth", ()))
    session = Session(servers, SessionOptions(**chosen), random, credentials=credentials, ticket=settings.get("ticket"))
    engine = Engine(session, runtime, on_expiry)
    return Setup(
        engine=engine,
        chroot=Chroot(chroot),
        retry=settings.get("retry"),
        while_suspended=while_suspended,
        socket=settings.get("socket", SocketOptions()),
        open_timeout=open_timeout,
        close_grace=close_grace,
        keep_session=settings.get("keep_session", False),
    )


def _credentials(auth: Sequence[tuple[str, bytes | str]]) -> list[tuple[str, bytes]]:
    try:
        return [(scheme, secret.encode() if isinstance(secret, str) else bytes(secret)) for scheme, secret in auth]
    except (TypeError, ValueError):
        # What was given is not repeated: there is a secret in it.
        hint = "pairs of a scheme and a credential, such as [('digest', 'user:password')]"
        raise InvalidRequestError(f"auth is a sequence of {hint}") from None


def _seconds(name: str, value: float) -> None:
    if not value >= 0:
        raise InvalidRequestError(f"{name} is a number of seconds, 0 or more, not {value!r}")


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidRequestError(f"{name} is one of {', '.join(allowed)}, not {value!r}")
