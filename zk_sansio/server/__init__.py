"""An in-memory ZooKeeper: bytes and time in, bytes out. It is for tests and demos, and keeps nothing on disk."""

from .._names import publish
from ._connection import Connection
from ._ensemble import Ensemble, RandomBits
from ._faults import Direction, Faults
from ._options import ServerOptions
from ._profile import PROFILES, Profile
from ._server import Server
from ._states import ServerState
from ._tree import (
    AclSet,
    Change,
    Checked,
    DataSet,
    Entry,
    Made,
    Node,
    Refusal,
    Removed,
    SessionClosed,
    SessionOpened,
    Several,
    Tree,
)

__all__ = [
    "PROFILES",
    "AclSet",
    "Change",
    "Checked",
    "Connection",
    "DataSet",
    "Direction",
    "Ensemble",
    "Entry",
    "Faults",
    "Made",
    "Node",
    "Profile",
    "RandomBits",
    "Refusal",
    "Removed",
    "Server",
    "ServerOptions",
    "ServerState",
    "SessionClosed",
    "SessionOpened",
    "Several",
    "Tree",
]

publish(globals(), __all__)
