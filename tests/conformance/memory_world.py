"""The world of the checks on a ZooKeeper in memory."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager

from tests.conformance.real_world import refusing
from tests.support.raw import RawClient
from zk_blocking.testing import InMemoryServer, open_server
from zk_conformance import Proxy
from zk_sansio import SessionTicket, Stat

HOUR = 3_600_000


class MemoryWorld:
    """A server in a thread of this process, seen through its own methods.

    Args:
        server: the server; each check has one of its own.
        witness: a session that nobody uses, for ephemeral znodes of somebody else.
    """

    root = "/conformance"

    def __init__(self, server: InMemoryServer, witness: int) -> None:
        self.hosts = server.hosts
        self.version = server.ensemble.options.profile.version
        self._server = server
        self._witness = witness
        server.create(self.root)

    def create(self, path: str, data: bytes | None = b"", *, ephemeral: bool = False) -> str:
        return self._server.create(path, data, ephemeral_of=self._witness if ephemeral else None)

    def get(self, path: str) -> bytes | None:
        return self._server.get(path)

    def set(self, path: str, data: bytes | None) -> Stat:
        return self._server.set(path, data)

    def delete(self, path: str) -> None:
        self._server.delete(path)

    def exists(self, path: str) -> Stat | None:
        return self._server.exists(path)

    def children(self, path: str) -> list[str]:
        return self._server.children(path)

    def ephemerals(self, session_id: int) -> AbstractSet[str]:
        return self._server.ephemerals(session_id)

    def watches(self, session_id: int) -> AbstractSet[str]:
        return self._server.watches(session_id)

    def connections(self) -> int:
        return self._server.connections()

    def expire(self, ticket: SessionTicket) -> None:
        self._server.expire(ticket)

    def proxy(self) -> AbstractContextManager[Proxy]:
        return self._server.proxy()

    def refusing(self, codes: Sequence[int]) -> AbstractContextManager[str]:
        return refusing(codes)


@contextmanager
def memory_world(profile: str) -> Iterator[MemoryWorld]:
    """A server of its own for one check; its ticks are short, so that no check waits long for a session to expire.

    Args:
        profile: the version that it imitates.
    """
    with open_server(profile=profile, max_session_timeout=HOUR / 1000) as server:
        host, port = server.hosts.split(":")
        witness = RawClient(host, int(port), session_ms=HOUR)
        witness.abandon()  # the session goes on without a connection
        yield MemoryWorld(server, witness.session_id)
