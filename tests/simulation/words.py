"""Frames, put into words when a trace is read and not before."""

from __future__ import annotations

from zk_sansio.wire import (
    HEADER,
    XID_AUTH,
    XID_NOTIFICATION,
    XID_PING,
    ConnectRequest,
    ConnectResponse,
    WatcherEvent,
    decode_request,
)


class Sent:
    """A request."""

    __slots__ = ("_frame",)

    def __init__(self, frame: bytes) -> None:
        self._frame = frame

    def __repr__(self) -> str:
        xid, request = decode_request(self._frame)
        return f"{request} xid={xid}"


class Reply:
    """A reply or a notification."""

    __slots__ = ("_frame",)

    def __init__(self, frame: bytes) -> None:
        self._frame = frame

    def __repr__(self) -> str:
        xid, zxid, code = HEADER.unpack_from(self._frame)
        if xid == XID_NOTIFICATION:
            return f"{WatcherEvent.decode(self._frame, HEADER.size)} zxid={zxid}"
        name = {XID_PING: "ping", XID_AUTH: "auth"}.get(xid, f"xid={xid}")
        return f"{name} zxid={zxid} code={code} {len(self._frame) - HEADER.size} bytes"


class Handshake:
    """A connect request, or its answer."""

    __slots__ = ("_answer", "_frame")

    def __init__(self, frame: bytes, *, answer: bool = False) -> None:
        self._frame = frame
        self._answer = answer

    def __repr__(self) -> str:
        if self._answer:
            found = ConnectResponse.decode(self._frame)
            read_only = " read-only" if found.read_only else ""
            return f"session {found.session_id & (2**64 - 1):#x} timeout={found.timeout_ms}ms{read_only}"
        asked = ConnectRequest.decode(self._frame)
        session = f"session {asked.session_id & (2**64 - 1):#x}" if asked.session_id else "a new session"
        read_only = " read-only" if asked.read_only else ""
        return f"{session} zxid={asked.last_zxid} timeout={asked.timeout_ms}ms{read_only}"
