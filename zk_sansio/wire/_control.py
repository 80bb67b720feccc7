"""Requests about watches, credentials and the session itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..acl import Id
from ._codes import AddWatchMode, OpCode, WatcherType
from ._jute import (
    BUFFER,
    INT,
    LONG,
    PATH,
    STRING,
)
from ._records import (
    IDS,
)
from ._replies import STRINGS, WATCHER_TYPE, Member
from ._request import Layout, Request

__all__ = [
    "AddWatch",
    "Auth",
    "CheckWatches",
    "CloseSession",
    "Ping",
    "RemoveWatches",
    "Sasl",
    "SetWatches",
    "SetWatches2",
    "WhoAmI",
]


@dataclass(slots=True)
class AddWatch(Request[int]):
    """Set a persistent watch, on a missing znode too (3.6)."""

    path: str
    mode: AddWatchMode

    opcode = OpCode.ADD_WATCH
    idempotent = True
    name = "add watch"
    _layout = (("path", PATH), ("mode", Member(AddWatchMode)))
    _reply = INT


@dataclass(slots=True)
class CheckWatches(Request[None]):
    """Ask whether this connection holds such a watch (3.5)."""

    path: str
    watcher_type: WatcherType

    opcode = OpCode.CHECK_WATCHES
    idempotent = True
    name = "check watches"
    _layout = (("path", PATH), ("watcher_type", WATCHER_TYPE))


@dataclass(slots=True)
class RemoveWatches(Request[None]):
    """Remove this connection's watches of a type (3.5)."""

    path: str
    watcher_type: WatcherType

    opcode = OpCode.REMOVE_WATCHES
    idempotent = True
    name = "remove watches"
    _layout = (("path", PATH), ("watcher_type", WATCHER_TYPE))


@dataclass(slots=True)
class SetWatches(Request[None]):
    """Set one-shot watches anew after a reconnect; what changed since *relative_zxid* fires at once."""

    relative_zxid: int
    data: Sequence[str] = ()
    exist: Sequence[str] = ()
    child: Sequence[str] = ()

    opcode = OpCode.SET_WATCHES
    idempotent = True
    name = "set watches"
    _layout: ClassVar[Layout] = (("relative_zxid", LONG), ("data", STRINGS), ("exist", STRINGS), ("child", STRINGS))


@dataclass(slots=True)
class SetWatches2(SetWatches):
    """The same with persistent watches, which get no replay (3.6)."""

    persistent: Sequence[str] = ()
    recursive: Sequence[str] = ()

    opcode = OpCode.SET_WATCHES2
    _layout = (*SetWatches._layout, ("persistent", STRINGS), ("recursive", STRINGS))


# --- the session


@dataclass(slots=True)
class Ping(Request[None]):
    """Keep the session alive; header only, on an xid of its own."""

    opcode = OpCode.PING
    idempotent = True
    name = "ping"
    _layout = ()


@dataclass(slots=True)
class CloseSession(Request[None]):
    """End the session; header only. The server closes the connection behind its reply."""

    opcode = OpCode.CLOSE_SESSION
    idempotent = True
    name = "close session"
    _layout = ()


@dataclass(slots=True)
class Auth(Request[None]):
    """Add an identity to the connection."""

    auth_type: int
    scheme: str
    credential: bytes | None = field(repr=False)

    opcode = OpCode.AUTH
    idempotent = True
    name = "add auth"
    _layout = (("auth_type", INT), ("scheme", STRING), ("credential", BUFFER))


@dataclass(slots=True)
class Sasl(Request[bytes | None]):
    """One step of a SASL exchange; tokens go both ways."""

    token: bytes | None = field(repr=False)

    opcode = OpCode.SASL
    name = "SASL"
    _layout = (("token", BUFFER),)
    _reply = BUFFER


@dataclass(slots=True)
class WhoAmI(Request[Sequence[Id]]):
    """The identities of this connection, without their secrets (3.7); header only."""

    opcode = OpCode.WHO_AM_I
    idempotent = True
    name = "who am I"
    _layout = ()
    _reply = IDS
