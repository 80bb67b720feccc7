"""A ZooKeeper in memory for tests: ``with open_server() as server, server.open_client() as client``.

It speaks the protocol, so that any client can use it over its ports, and keeps nothing on disk.
"""

from zk_adapter.serving import ServerSettings
from zk_sansio._names import publish
from zk_sansio.wire import OpCode

from ._server import Gate, InMemoryServer, open_server

__all__ = ["Gate", "InMemoryServer", "OpCode", "ServerSettings", "open_server"]

publish(globals(), __all__)
