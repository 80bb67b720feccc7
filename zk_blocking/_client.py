"""The client as users of threads know it: each call of `zk_sansio.Client`, blocking, with a timeout.

The arguments and errors are described there; a test holds the two in step. ``timeout`` is seconds, None for no limit;
when they are over, `CallTimeoutError` is raised, and the call is abandoned as a cancelled one is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, overload

import zk_sansio
from zk_sansio import (
    ACL,
    OPEN,
    CallTimeoutError,
    Change,
    Children,
    EnsembleConfig,
    Id,
    RetryPolicy,
    SessionState,
    SessionTicket,
    Stat,
    WatcherType,
    WatchEvent,
    Znode,
    ZnodeAcl,
    ZooKeeperError,
)
from zk_sansio.client import WhileSuspended

from ._runner import Runner
from ._scopes import ChangeStream, Lock, OneShotWatch, Pipeline, ReadBatch, StateStream, Transaction

__all__ = ["Client"]


class Client:
    """A ZooKeeper client. It is made by `open_client`, and shared by any number of threads.

    A call that has timed out keeps its place on the connection: what it asked for may still happen, only nobody
    hears of it. An ephemeral znode that it makes is removed again, and a watch that it sets likewise.
    """

    def __init__(self, core: zk_sansio.Client, runner: Runner) -> None:
        self._core = core
        self._runner = runner
        self._run = runner.run

    # --- facts

    @property
    def state(self) -> SessionState:
        """Where the session stands now."""
        return self._core.state

    @property
    def session_id(self) -> int:
        """The session's id; 0 while there is none. It may be negative."""
        return self._core.session_id

    @property
    def session_timeout(self) -> float:
        """Seconds, as negotiated with the server."""
        return self._core.session_timeout

    @property
    def server(self) -> str | None:
        """The server in use, ``host:port``; None without a connection."""
        return self._core.server

    @property
    def last_zxid(self) -> int:
        """The newest state that this session has seen."""
        return self._core.last_zxid

    @property
    def ticket(self) -> SessionTicket | None:
        """What it takes to resume this session elsewhere; a secret. None while there is no session."""
        return self._core.ticket

    @property
    def chroot(self) -> str:
        """The path that every path of this client is below; empty if there is none."""
        return self._core.chroot

    def __repr__(self) -> str:
        return repr(self._core)

    def states(self, *, timeout: float | None = None) -> StateStream:
        """The states from now on: ``with client.states() as states: for state in states``."""
        return StateStream(self._core.states(), self._runner, timeout)

    # --- views

    def at(self, path: str) -> Client:
        """The same client below *path*: it shares session, connection and watches. The znode is not made."""
        return Client(self._core.at(path), self._runner)

    def using(self, *, retry: RetryPolicy | None = None, while_suspended: WhileSuspended | None = None) -> Client:
        """The same client with another policy, for one call or for many."""
        return Client(self._core.using(retry=retry, while_suspended=while_suspended), self._runner)

    def full_path(self, path: str) -> str:
        """The path of the server, with the chroot."""
        return self._core.full_path(path)

    # --- reading

    def get(self, path: str, *, timeout: float | None = None) -> Znode:
        """Read a znode."""
        return self._run(self._core.get, timeout, path)

    def exists(self, path: str, *, timeout: float | None = None) -> Stat | None:
        """Read the Stat of a znode; None if there is no such znode."""
        return self._run(self._core.exists, timeout, path)

    def get_children(self, path: str, *, timeout: float | None = None) -> list[str]:
        """Read the names of a znode's children, in no order."""
        return self._run(self._core.get_children, timeout, path)

    def get_children_with_stat(self, path: str, *, timeout: float | None = None) -> Children:
        """Read the names of a znode's children, in no order, and the Stat of the znode."""
        return self._run(self._core.get_children_with_stat, timeout, path)

    def get_acl(self, path: str, *, timeout: float | None = None) -> ZnodeAcl:
        """Read a znode's access control list; ``stat.aversion`` is its version."""
        return self._run(self._core.get_acl, timeout, path)

    def count_descendants(self, path: str = "/", *, timeout: float | None = None) -> int:
        """Count the znodes below *path* (3.6)."""
        return self._run(self._core.count_descendants, timeout, path)

    def get_ephemerals(self, prefix: str = "/", *, timeout: float | None = None) -> list[str]:
        """List this session's ephemeral znodes whose path starts with *prefix*, which is text and no path (3.6)."""
        return self._run(self._core.get_ephemerals, timeout, prefix)

    def sync(self, path: str = "/", *, timeout: float | None = None) -> None:
        """Let this server catch up with the leader: reads that follow see what was committed before."""
        self._run(self._core.sync, timeout, path)

    def walk(self, path: str = "/", *, timeout: float | None = None) -> Iterator[tuple[str, Stat]]:
        """Visit a znode and all its descendants, parents first, many at a time; what vanishes meanwhile is left out.

        Args:
            path: where to begin.
            timeout: seconds for all of it, the caller's own work included.

        Yields:
            The path and the Stat of each.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        walking = self._core.walk(path)
        try:
            while True:
                left = None if deadline is None else deadline - time.monotonic()
                try:
                    if left is not None and left <= 0:
                        raise CallTimeoutError(left)  # though more may have been read already
                    found = self._run(walking.__anext__, left)
                except StopAsyncIteration:
                    return
                except CallTimeoutError:
                    raise CallTimeoutError(timeout or 0.0) from None  # all of it, not what was left
                yield found
        finally:
            # It touches nothing of the client's, so it may happen anywhere: in another call, where the garbage
            # collector came upon it, or in a fork.
            self._runner.drive(walking.aclose())

    def multi_read(self) -> ReadBatch:
        """Collect reads that are answered together, from one state of the server (3.6)."""
        return ReadBatch(self._core, self._runner)

    def pipeline(self) -> Pipeline:
        """Collect requests that are sent together and waited for together."""
        return Pipeline(self._core, self._runner)

    def get_many(self, paths: Iterable[str], *, timeout: float | None = None) -> list[Znode | ZooKeeperError]:
        """Read many znodes at once; in the order of *paths* a `Znode` each, or the error of that read."""
        # The iterable is somebody else's code, and may be making calls of its own.
        return self._run(self._core.get_many, timeout, list(paths))

    # --- writing

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Sequence[ACL] = OPEN,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        protected: bool = False,
        make_parents: bool = False,
        timeout: float | None = None,
    ) -> str:
        """Make a znode, and return its path."""
        return self._run(
            self._core.create,
            timeout,
            path,
            data,
            acl=acl,
            ephemeral=ephemeral,
            sequential=sequential,
            container=container,
            ttl=ttl,
            protected=protected,
            make_parents=make_parents,
        )

    def create_with_stat(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Sequence[ACL] = OPEN,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        protected: bool = False,
        make_parents: bool = False,
        timeout: float | None = None,
    ) -> tuple[str, Stat]:
        """Make a znode, as `create` does; return its path and its Stat (3.5)."""
        return self._run(
            self._core.create_with_stat,
            timeout,
            path,
            data,
            acl=acl,
            ephemeral=ephemeral,
            sequential=sequential,
            container=container,
            ttl=ttl,
            protected=protected,
            make_parents=make_parents,
        )

    def ensure_path(
        self, path: str, *, acl: Sequence[ACL] = OPEN, container: bool = False, timeout: float | None = None
    ) -> None:
        """Make a znode and its parents, as far as they are missing."""
        self._run(self._core.ensure_path, timeout, path, acl=acl, container=container)

    def set(self, path: str, data: bytes | None, *, version: int = -1, timeout: float | None = None) -> Stat:
        """Replace the data of a znode."""
        return self._run(self._core.set, timeout, path, data, version=version)

    def delete(self, path: str, *, version: int = -1, recursive: bool = False, timeout: float | None = None) -> None:
        """Remove a znode."""
        self._run(self._core.delete, timeout, path, version=version, recursive=recursive)

    def set_acl(self, path: str, acl: Sequence[ACL], *, version: int = -1, timeout: float | None = None) -> Stat:
        """Replace a znode's access control list."""
        return self._run(self._core.set_acl, timeout, path, acl, version=version)

    def transaction(self) -> Transaction:
        """Collect writes that all happen or none."""
        return Transaction(self._core, self._runner)

    # --- watching

    @overload
    def watch(
        self,
        path: str,
        *,
        recursive: bool = False,
        snapshot: Literal[False] = False,
        buffer: int = 10_000,
        timeout: float | None = None,
    ) -> ChangeStream[Change]: ...

    @overload
    def watch(
        self,
        path: str,
        *,
        recursive: bool = False,
        snapshot: Literal[True],
        buffer: int = 10_000,
        timeout: float | None = None,
    ) -> ChangeStream[WatchEvent]: ...

    @overload
    def watch(
        self,
        path: str,
        *,
        recursive: bool = False,
        snapshot: bool,
        buffer: int = 10_000,
        timeout: float | None = None,
    ) -> ChangeStream[Change]: ...

    def watch(
        self,
        path: str,
        *,
        recursive: bool = False,
        snapshot: bool = False,
        buffer: int = 10_000,
        timeout: float | None = None,
    ) -> ChangeStream[Any]:
        """Watch a znode, whether it exists or not: ``with client.watch(path) as changes: for change in changes``.

        The timeout is for entering the scope.
        """
        core = self._core.watch(path, recursive=recursive, snapshot=snapshot, buffer=buffer)
        stream: ChangeStream[Any] = ChangeStream(core, self._runner, timeout)
        return stream

    def watch_data(self, path: str, *, timeout: float | None = None) -> OneShotWatch[Znode]:
        """Read a znode and wait once for a change of its data: ``with client.watch_data(path) as watch``."""
        return OneShotWatch(self._core.watch_data(path), self._runner, timeout)

    def watch_children(self, path: str, *, timeout: float | None = None) -> OneShotWatch[list[str]]:
        """Read the names of a znode's children and wait once for a change of them."""
        return OneShotWatch(self._core.watch_children(path), self._runner, timeout)

    def watch_exists(self, path: str, *, timeout: float | None = None) -> OneShotWatch[Stat | None]:
        """Look for a znode and wait once for its creation, its end or a change of its data."""
        return OneShotWatch(self._core.watch_exists(path), self._runner, timeout)

    def wait_until_gone(self, path: str, *, timeout: float | None = None) -> None:
        """Wait until there is no such znode; at once if there is none."""
        self._run(self._core.wait_until_gone, timeout, path)

    def wait_for(self, path: str, *, timeout: float | None = None) -> Stat:
        """Wait until there is such a znode; at once if there is one."""
        return self._run(self._core.wait_for, timeout, path)

    def check_watches(
        self, path: str, watcher_type: WatcherType = WatcherType.ANY, *, timeout: float | None = None
    ) -> bool:
        """Ask whether the server holds such a watch for this connection (3.5; types 4 and 5 from 3.9)."""
        return self._run(self._core.check_watches, timeout, path, watcher_type)

    # --- who

    def add_auth(self, scheme: str, credential: bytes | str, *, timeout: float | None = None) -> None:
        """Add an identity to this client, now and on every later connection."""
        self._run(self._core.add_auth, timeout, scheme, credential)

    def whoami(self, *, timeout: float | None = None) -> list[Id]:
        """The identities of this connection, without their secrets (3.7)."""
        return self._run(self._core.whoami, timeout)

    # --- the ensemble

    def get_config(self, *, timeout: float | None = None) -> EnsembleConfig:
        """Read who belongs to the ensemble (3.5); whatever the chroot is."""
        return self._run(self._core.get_config, timeout)

    def reconfig(
        self,
        *,
        joining: str | Sequence[str] | None = None,
        leaving: str | Sequence[str] | None = None,
        new_members: str | Sequence[str] | None = None,
        version: int = -1,
        timeout: float | None = None,
    ) -> EnsembleConfig:
        """Change who belongs to the ensemble (3.5). It needs the right to write the configuration, as super has."""
        return self._run(
            self._core.reconfig, timeout, joining=joining, leaving=leaving, new_members=new_members, version=version
        )

    def set_hosts(self, hosts: str | Sequence[str]) -> None:
        """Use another list of servers, from now on."""

        async def set_hosts() -> None:
            self._core.set_hosts(hosts)

        self._run(set_hosts)

    # --- recipes

    def lock(self, path: str, *, data: bytes = b"", acl: Sequence[ACL] = OPEN, timeout: float | None = None) -> Lock:
        """An exclusive lock: ``with client.lock(path) as lock``. The timeout is for waiting for our turn."""
        return Lock(self._core.lock(path, data=data, acl=acl), self._runner, timeout)

    # --- the end

    def close(self, *, grace: float = 3.0, keep_session: bool = False, timeout: float | None = None) -> None:
        """End the session in order. Ephemerals and watches are gone when this returns; it may be called twice."""
        self._run(self._core.aclose, timeout, grace=grace, keep_session=keep_session)
