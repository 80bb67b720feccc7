"""Parts of a served in-memory ZooKeeper that never wait. Apart from `zk_adapter`, so that clients do not load a server.

`zk_trio.testing`, `zk_anyio.testing` and `zk_blocking.testing` add the waiting.
"""

from zk_sansio._names import publish
from zk_sansio.server import Direction

from ._gate import Gate, open_listeners
from ._links import Link, SocketLink, accept_one
from ._memory import MemoryTransport
from ._served import HasSession, ServedEnsemble, Who
from ._settings import ServerSettings, make_ensemble

__all__ = [
    "Direction",
    "Gate",
    "HasSession",
    "Link",
    "MemoryTransport",
    "ServedEnsemble",
    "ServerSettings",
    "SocketLink",
    "Who",
    "accept_one",
    "make_ensemble",
    "open_listeners",
]

publish(globals(), __all__)
