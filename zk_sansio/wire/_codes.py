"""The protocol's numbers: operations, modes, events, special xids, limits."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "DEFAULT_MAX_REPLY",
    "DEFAULT_MAX_REQUEST",
    "DEFAULT_PORT",
    "MAX_TTL_MS",
    "XID_AUTH",
    "XID_NOTIFICATION",
    "XID_PING",
    "XID_SET_WATCHES",
    "AddWatchMode",
    "CreateMode",
    "EventType",
    "KeeperState",
    "OpCode",
    "WatcherType",
]

DEFAULT_PORT = 2181
DEFAULT_MAX_REQUEST = 1_048_575
"""``jute.maxbuffer`` of a server that was not configured otherwise: bytes of a frame, without its length."""
DEFAULT_MAX_REPLY = 64 * 1024 * 1024
"""Servers do not limit their replies; this is where a client gives up by default."""
MAX_TTL_MS = 2**40 - 1

XID_NOTIFICATION = -1
XID_PING = -2
XID_AUTH = -4
XID_SET_WATCHES = -8


class OpCode(IntEnum):
    """Request types (``org.apache.zookeeper.ZooDefs.OpCode``)."""

    ERROR = -1
    CLOSE_SESSION = -11
    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    RECONFIG = 16
    CHECK_WATCHES = 17
    REMOVE_WATCHES = 18
    CREATE_CONTAINER = 19
    CREATE_TTL = 21
    MULTI_READ = 22
    AUTH = 100
    SET_WATCHES = 101
    SASL = 102
    GET_EPHEMERALS = 103
    GET_ALL_CHILDREN_NUMBER = 104
    SET_WATCHES2 = 105
    ADD_WATCH = 106
    WHO_AM_I = 107


class CreateMode(IntEnum):
    """What kind of znode a create makes; the numbers are those of the request's flags."""

    PERSISTENT = 0
    EPHEMERAL = 1
    PERSISTENT_SEQUENTIAL = 2
    EPHEMERAL_SEQUENTIAL = 3
    CONTAINER = 4
    PERSISTENT_WITH_TTL = 5
    PERSISTENT_SEQUENTIAL_WITH_TTL = 6

    @property
    def ephemeral(self) -> bool:
        """Whether the znode goes away with its session."""
        return self in (CreateMode.EPHEMERAL, CreateMode.EPHEMERAL_SEQUENTIAL)

    @property
    def sequential(self) -> bool:
        """Whether the server appends the parent's counter to the name."""
        return self in (
            CreateMode.PERSISTENT_SEQUENTIAL,
            CreateMode.EPHEMERAL_SEQUENTIAL,
            CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL,
        )

    @property
    def ttl(self) -> bool:
        """Whether the znode goes away when it is childless and unmodified for a while."""
        return self in (CreateMode.PERSISTENT_WITH_TTL, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL)


class EventType(IntEnum):
    """What a notification tells about a path."""

    NONE = -1
    CREATED = 1
    DELETED = 2
    DATA_CHANGED = 3
    CHILDREN_CHANGED = 4
    DATA_WATCH_REMOVED = 5
    CHILD_WATCH_REMOVED = 6
    PERSISTENT_WATCH_REMOVED = 7


class KeeperState(IntEnum):
    """The state in a notification; servers always send SYNC_CONNECTED."""

    DISCONNECTED = 0
    SYNC_CONNECTED = 3
    AUTH_FAILED = 4
    CONNECTED_READ_ONLY = 5
    SASL_AUTHENTICATED = 6
    CLOSED = 7
    EXPIRED = -112


class AddWatchMode(IntEnum):
    """The two kinds of lasting watches."""

    PERSISTENT = 0
    PERSISTENT_RECURSIVE = 1


class WatcherType(IntEnum):
    """Which watches checkWatches and removeWatches are about; 4 and 5 are known from 3.9.0 on."""

    CHILDREN = 1
    DATA = 2
    ANY = 3
    PERSISTENT = 4
    PERSISTENT_RECURSIVE = 5
