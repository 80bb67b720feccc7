"""The client as users know it: all operations, and the recipes on top of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..acl import ACL, OPEN
from ..client import ZnodeClient
from ._lock import Lock

__all__ = ["Client"]


class Client(ZnodeClient):
    """A ZooKeeper client. It is made by an adapter's ``open_client``, and shared by any number of callers.

    A cancelled call keeps its place on the connection: what it asked for may still happen, only nobody hears
    of it. An ephemeral znode that it makes is removed again, and a watch that it sets likewise.
    """

    def lock(self, path: str, *, data: bytes = b"", acl: Sequence[ACL] = OPEN) -> Lock:
        """An exclusive lock: ``async with client.lock(path) as lock``. It excludes Curator's ``InterProcessMutex``.

        Args:
            path: the znode below which callers queue; it is made if it is missing.
            data: what others see of the holder, such as its host name.
            acl: of our znode in the queue.
        """
        return Lock(self, self._engine, path, data=data, acl=acl)
