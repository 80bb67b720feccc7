"""How a session begins, or goes on, at a connection (ZooKeeperServer.processConnectRequest)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import RemoteProtocolError
from ..wire import ConnectRequest, ConnectResponse, Frame
from ._states import ServerState

if TYPE_CHECKING:
    from ._connection import Connection
    from ._sessions import Session

__all__ = ["answer_handshake", "shake_hands"]

_PASSWORD = 24
"""Where the password of a connect request begins, with its length."""


def shake_hands(connection: Connection, frame: Frame, now: float) -> None:
    """Take the first frame of a connection."""
    server = connection.server
    try:
        request = ConnectRequest.decode(frame)
    except RemoteProtocolError:
        connection.end()
        return
    # Clients before 3.4 end behind the password, and do not expect to be told of read-only mode either.
    connection.old_client = len(frame) == _PASSWORD + 4 + len(request.password)
    read_only = server.state is ServerState.READ_ONLY
    if (read_only and not request.read_only) or request.last_zxid > server.tree.last_zxid:
        connection.end()  # the client is to try another server
        return
    low, high = server.options.session_timeouts
    timeout_ms = min(max(request.timeout_ms, low), high)
    if read_only:
        _shake_hands_read_only(connection, request, timeout_ms, now)
    elif request.session_id == 0 or not server.options.profile.resumes:
        server.ensemble.open_session(connection, timeout_ms, now)
    else:
        _resume(connection, request, timeout_ms, now)


def _resume(connection: Connection, request: ConnectRequest, timeout_ms: int, now: float) -> None:
    server = connection.server
    _close_others(connection, request.session_id)
    sessions = server.ensemble.sessions
    session = sessions.get(request.session_id)
    if session is None or request.password != session.password:
        answer_handshake(connection, None)
        return
    sessions.resume(session, timeout_ms, now)
    session.holder = connection
    answer_handshake(connection, session)


def _close_others(connection: Connection, session_id: int) -> None:
    """Close whoever has the session at this server, even when the password turns out to be wrong."""
    for other in connection.server.connections:
        if other.session_id == session_id:
            other.close()


def _shake_hands_read_only(connection: Connection, request: ConnectRequest, timeout_ms: int, now: float) -> None:
    """Without a quorum there are only sessions of this server's own."""
    server = connection.server
    if request.session_id == 0:
        session = server.local_sessions.make(timeout_ms, now, server.id)
    elif request.session_id in server.ensemble.sessions:
        connection.end()
        return
    else:
        _close_others(connection, request.session_id)
        known = server.local_sessions.get(request.session_id)
        if known is None or known.password != request.password:
            answer_handshake(connection, None)
            return
        session = known
        server.local_sessions.resume(session, timeout_ms, now)
    session.holder = connection
    answer_handshake(connection, session)


def answer_handshake(connection: Connection, session: Session | None) -> None:
    """Tell a client about its session; None says that it is over, or never was."""
    response = ConnectResponse(
        timeout_ms=0 if session is None else session.timeout_ms,
        session_id=0 if session is None else session.session_id,
        password=bytes(16) if session is None else session.password,
        read_only=connection.server.state is ServerState.READ_ONLY,
    ).encode()
    if connection.old_client:
        response = len(response[4:-1]).to_bytes(4, "big") + response[4:-1]
    if session is not None:
        connection.session = session
        connection.session_id = session.session_id
        connection.session_timeout_ms = session.timeout_ms
    connection.greet(response)
    if session is None:
        connection.end()
