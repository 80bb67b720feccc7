"""Recipes: what ZooKeeper is used for. Written once, over `zk_sansio.client`; every adapter runs them."""

from .._names import publish
from ._client import Client
from ._guarded import GuardedTransaction, GuardedWrites
from ._lease import Lease
from ._lock import Lock, TryLock
from ._queue import contenders, predecessor

__all__ = [
    "Client",
    "GuardedTransaction",
    "GuardedWrites",
    "Lease",
    "Lock",
    "TryLock",
    "contenders",
    "predecessor",
]

publish(globals(), __all__)
