"""The records that requests and replies are made of.

What is made once per reply (`Stat`, `Znode`, ...) is a named tuple, because a frozen dataclass
costs six times as much to make.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

from ..acl import ACL, Id, Perms
from ..errors import InvalidRequestError, RemoteProtocolError
from ._codes import EventType, KeeperState
from ._jute import (
    BOOL,
    BUFFER,
    DECODE_ERRORS,
    INT,
    INT_STRUCT,
    LONG,
    STRING,
    Codec,
    Frame,
    Vector,
    get_all,
    get_string,
    put_all,
)

__all__ = [
    "ACLS",
    "HEADER",
    "IDS",
    "NAMES",
    "STAT",
    "STAT_STRUCT",
    "Children",
    "ConnectRequest",
    "ConnectResponse",
    "Created",
    "Stat",
    "WatcherEvent",
    "Znode",
    "ZnodeAcl",
]

HEADER = struct.Struct(">iqi")
"""ReplyHeader: xid, zxid, err."""

STAT_STRUCT = struct.Struct(">qqqqiiiqiiq")


class Stat(NamedTuple):
    """What the server knows of a znode, apart from its data.

    Attributes:
        czxid: zxid of the change that created the znode; it identifies this znode for ever.
        mzxid: zxid of the last change of its data.
        ctime: when it was created, milliseconds since 1970 by the leader's clock.
        mtime: when its data was changed last, likewise.
        version: how often its data was changed.
        cversion: how often a child was created or deleted.
        aversion: how often its ACL was changed.
        ephemeral_owner: id of the session that owns it; 0 if it is not ephemeral. It may be negative.
        data_length: bytes of its data.
        num_children: how many children it has.
        pzxid: zxid of the last creation or deletion of a child.
    """

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int

    @property
    def ephemeral(self) -> bool:
        """Whether the znode goes away with a session."""
        return self.ephemeral_owner != 0


class Znode(NamedTuple):
    """The data of a znode, None if it is null, and its `Stat`."""

    data: bytes | None
    stat: Stat


class Created(NamedTuple):
    """The path of a new znode, and its `Stat` where the server told it."""

    path: str
    stat: Stat | None


class Children(NamedTuple):
    """The names of the children, in no order, and the `Stat` of the parent."""

    names: list[str]
    stat: Stat


class ZnodeAcl(NamedTuple):
    """The access control list of a znode, and its `Stat`; ``stat.aversion`` is the list's version."""

    acl: tuple[ACL, ...]
    stat: Stat


# A named tuple without its own __new__, which is a Python function: a third of the time, on every reply.
make_stat = cast("Callable[[tuple[Any, ...]], Stat]", partial(tuple.__new__, Stat))
make_znode = cast("Callable[[tuple[bytes | None, Stat]], Znode]", partial(tuple.__new__, Znode))


class _StatCodec(Codec[Stat]):
    __slots__ = ()
    min_size = STAT_STRUCT.size

    def put(self, value: Stat) -> bytes:
        try:
            return STAT_STRUCT.pack(*value)
        except struct.error as error:
            raise InvalidRequestError(f"not a Stat: {error}") from None

    def get(self, frame: Frame, at: int) -> tuple[Stat, int]:
        return make_stat(STAT_STRUCT.unpack_from(frame, at)), at + STAT_STRUCT.size


class _IdCodec(Codec[Id]):
    __slots__ = ()
    min_size = 8

    def put(self, value: Id) -> bytes:
        return STRING.put(value[0]) + STRING.put(value[1])

    def get(self, frame: Frame, at: int) -> tuple[Id, int]:
        scheme, at = get_string(frame, at)
        name, at = get_string(frame, at)
        return Id(scheme or "", name or ""), at


class _AclCodec(Codec[ACL]):
    __slots__ = ()
    min_size = 12

    def put(self, value: ACL) -> bytes:
        try:
            perms, identity = value
            scheme, name = identity
        except (TypeError, ValueError):
            raise TypeError(f"an ACL holds ACL(perms, Id(scheme, id)), not {type(value).__name__}") from None
        return INT.put(perms) + STRING.put(scheme) + STRING.put(name)

    def get(self, frame: Frame, at: int) -> tuple[ACL, int]:
        perms, at = INT.get(frame, at)
        identity, at = _ID.get(frame, at)
        # Servers do not check the bits. Perms would fold negative numbers and keep every unknown one for ever.
        return ACL(Perms(perms) if 0 <= perms <= Perms.ALL else perms, identity), at


class _Names(Vector[str]):
    """Names of children. A name holds no NUL, so most vectors can be split instead of walked."""

    __slots__ = ()

    def get(self, frame: Frame, at: int) -> tuple[list[str], int]:
        count, start = self.get_count(frame, at)
        if count < 8:
            return self._walk(frame, start, count)
        # Lengths below 256 begin with three NUL bytes: cut there, and every piece but the first is
        # a length byte and a name. That holds only if each length fits, so each is checked.
        pieces = bytes(frame[start:]).split(b"\0\0\0", count)
        names = []
        if pieces[0] or len(pieces) != count + 1:
            return self._walk(frame, start, count)
        last = pieces.pop()
        end = len(frame) - len(last)
        for piece in pieces[1:]:
            if not piece or piece[0] != len(piece) - 1:
                return self._walk(frame, start, count)
            names.append(piece[1:])
        if not last or last[0] > len(last) - 1:
            return self._walk(frame, start, count)
        end += last[0] + 1
        names.append(last[1 : last[0] + 1])
        try:
            texts = b"\0".join(names).decode().split("\0")
        except UnicodeDecodeError:
            return self._walk(frame, start, count)
        return (texts, end) if len(texts) == count else self._walk(frame, start, count)

    def _walk(self, frame: Frame, at: int, count: int) -> tuple[list[str], int]:
        names = []
        for _ in range(count):
            name, at = STRING.get(frame, at)
            names.append(name)
        return names, at


STAT = _StatCodec()
_ID = _IdCodec()
ACLS = Vector(_AclCodec())
IDS = Vector(_ID)
NAMES = _Names(STRING)


def _unsigned(session_id: int) -> str:
    """As servers print it: the top byte is the server's number, which makes some ids negative."""
    return f"{session_id & 0xFFFF_FFFF_FFFF_FFFF:#x}"


@dataclass(slots=True, kw_only=True)
class ConnectRequest:
    """The first frame of a connection: a new session, or one to be resumed.

    Attributes:
        last_zxid: the newest state that this client has seen; a server behind it refuses.
        timeout_ms: the session timeout asked for.
        session_id: 0 for a new session.
        password: 16 bytes that came with the session.
        read_only: whether a server in read-only mode will do.
    """

    protocol_version: int = 0
    last_zxid: int
    timeout_ms: int
    session_id: int
    password: bytes
    read_only: bool

    def encode(self) -> bytes:
        """The whole frame, its length included."""
        body = put_all(
            (INT, LONG, INT, LONG, BUFFER, BOOL),
            (
                self.protocol_version,
                self.last_zxid,
                self.timeout_ms,
                self.session_id,
                self.password,
                self.read_only,
            ),
        )
        return INT_STRUCT.pack(len(body)) + body

    @classmethod
    def decode(cls, frame: Frame) -> ConnectRequest:
        """Read the record; the last byte may be missing (clients before 3.4).

        Raises:
            RemoteProtocolError: the frame is not a connect request.
        """
        try:
            values, at = get_all((INT, LONG, INT, LONG, BUFFER), frame, 0)
            read_only = BOOL.get(frame, at)[0] if at < len(frame) else False
        except DECODE_ERRORS as error:
            raise RemoteProtocolError(f"not a connect request: {error}") from error
        version, last_zxid, timeout_ms, session_id, password = values
        return cls(
            protocol_version=version,
            last_zxid=last_zxid,
            timeout_ms=timeout_ms,
            session_id=session_id,
            password=password or b"",
            read_only=read_only,
        )

    def __repr__(self) -> str:
        return f"ConnectRequest(session_id={_unsigned(self.session_id)}, timeout_ms={self.timeout_ms}, ...)"


@dataclass(slots=True, kw_only=True)
class ConnectResponse:
    """The server's answer to a `ConnectRequest`.

    Attributes:
        timeout_ms: the negotiated session timeout; 0 or less says that the session has expired.
        session_id: the session's id; it may be negative.
        password: needed to resume the session; a secret.
        read_only: whether this server is in read-only mode.
    """

    protocol_version: int = 0
    timeout_ms: int
    session_id: int
    password: bytes
    read_only: bool

    def encode(self) -> bytes:
        """The whole frame, its length included."""
        body = put_all(
            (INT, INT, LONG, BUFFER, BOOL),
            (self.protocol_version, self.timeout_ms, self.session_id, self.password, self.read_only),
        )
        return INT_STRUCT.pack(len(body)) + body

    @classmethod
    def decode(cls, frame: Frame) -> ConnectResponse:
        """Read the record; the last byte may be missing (servers before 3.4).

        Raises:
            RemoteProtocolError: the frame is not a connect response.
        """
        try:
            values, at = get_all((INT, INT, LONG, BUFFER), frame, 0)
            read_only = BOOL.get(frame, at)[0] if at < len(frame) else False
        except DECODE_ERRORS as error:
            raise RemoteProtocolError(f"not a connect response: {error}") from error
        version, timeout_ms, session_id, password = values
        return cls(
            protocol_version=version,
            timeout_ms=timeout_ms,
            session_id=session_id,
            password=password or b"",
            read_only=read_only,
        )

    def __repr__(self) -> str:
        return f"ConnectResponse(session_id={_unsigned(self.session_id)}, timeout_ms={self.timeout_ms}, ...)"


class WatcherEvent(NamedTuple):
    """The body of a notification. The type is a plain number where this version does not know it."""

    type: EventType | int
    state: KeeperState | int
    path: str

    def encode(self) -> bytes:
        """The record, without a header."""
        return put_all((INT, INT, STRING), self)

    @classmethod
    def decode(cls, frame: Frame, at: int) -> WatcherEvent:
        """Read the record at offset *at*.

        Raises:
            RemoteProtocolError: the bytes are not a watcher event.
        """
        try:
            (kind, state, path), _ = get_all((INT, INT, STRING), frame, at)
        except DECODE_ERRORS as error:
            raise RemoteProtocolError(f"not a watcher event: {error}") from error
        return cls(_EVENT_TYPES.get(kind, kind), _STATES.get(state, state), path)


_EVENT_TYPES: dict[int, EventType] = {int(kind): kind for kind in EventType}
_STATES: dict[int, KeeperState] = {int(state): state for state in KeeperState}
