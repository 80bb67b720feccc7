"""What users call to read and to watch. Written once: every adapter gives this class its runtime."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any, Literal, Self, overload

from ..errors import (
    InvalidRequestError,
    NoNodeError,
    NoWatcherError,
    ZooKeeperError,
)
from ..paths import join
from ..session import SessionState, SessionTicket, WatchEvent, WatchKind
from ..wire import (
    AddWatch,
    AddWatchMode,
    CheckWatches,
    Children,
    EventType,
    Exists,
    GetACL,
    GetAllChildrenNumber,
    GetChildren,
    GetChildren2,
    GetData,
    GetEphemerals,
    Request,
    Stat,
    Sync,
    WatcherType,
    Znode,
    ZnodeAcl,
)
from ._caller import Caller, WhileSuspended
from ._engine import Subscriber
from ._pipeline import Pipeline
from ._retry import RetryPolicy
from ._snapshot import Snapshot
from ._streams import Change, ChangeStream, OneShotWatch, StateStream
from ._transaction import ReadBatch

__all__ = ["WINDOW", "Reader"]

WINDOW = 256
"""Requests at once when many znodes are walked or deleted."""


class Reader(Caller):
    """Reading, watching, and what is known of the session."""

    # --- facts

    @property
    def state(self) -> SessionState:
        """Where the session stands now."""
        return self._engine.session.state

    @property
    def session_id(self) -> int:
        """The session's id; 0 while there is none. It may be negative."""
        return self._engine.session.session_id

    @property
    def session_timeout(self) -> float:
        """Seconds, as negotiated with the server."""
        return self._engine.session.timeout

    @property
    def server(self) -> str | None:
        """The server in use, ``host:port``; None without a connection."""
        server = self._engine.session.server
        return None if server is None else str(server)

    @property
    def last_zxid(self) -> int:
        """The newest state that this session has seen."""
        return self._engine.session.last_zxid

    @property
    def ticket(self) -> SessionTicket | None:
        """What it takes to resume this session elsewhere; a secret. None while there is no session."""
        return self._engine.session.ticket

    @property
    def chroot(self) -> str:
        """The path that every path of this client is below; empty if there is none."""
        return self._chroot.prefix

    def __repr__(self) -> str:
        return f"<Client {self.state.value}, session {self.session_id & (2**64 - 1):#x}, server {self.server}>"

    def states(self) -> StateStream:
        """The states from now on: ``async with client.states() as states: async for state in states``."""
        return StateStream(self._engine)

    # --- views

    def at(self, path: str) -> Self:
        """The same client below *path*: it shares session, connection and watches. The znode is not made."""
        return type(self)(self._engine, self._chroot / path, self._retry, self._while_suspended)

    def using(self, *, retry: RetryPolicy | None = None, while_suspended: WhileSuspended | None = None) -> Self:
        """The same client with another policy, for one call or for many.

        Args:
            retry: what is repeated; None leaves it as it is.
            while_suspended: ``wait`` for a connection, or ``fail`` with `SuspendedError`; None leaves it as it is.
        """
        policy = while_suspended or self._while_suspended
        return type(self)(self._engine, self._chroot, retry or self._retry, policy)

    # --- reading

    async def get(self, path: str) -> Znode:
        """Read a znode.

        Returns:
            Its data, None if null, and its Stat.

        Raises:
            NoNodeError, NoAuthError, SessionError.
        """
        return await self._call(GetData(self.full_path(path)))

    async def exists(self, path: str) -> Stat | None:
        """Read the Stat of a znode; None if there is no such znode."""
        try:
            return await self._call(Exists(self.full_path(path)))
        except NoNodeError:
            return None

    async def get_children(self, path: str) -> list[str]:
        """Read the names of a znode's children, in no order."""
        return await self._call(GetChildren(self.full_path(path)))

    async def get_children_with_stat(self, path: str) -> Children:
        """Read the names of a znode's children, in no order, and the Stat of the znode."""
        return await self._call(GetChildren2(self.full_path(path)))

    async def get_acl(self, path: str) -> ZnodeAcl:
        """Read a znode's access control list; ``stat.aversion`` is its version."""
        return await self._call(GetACL(self.full_path(path)))

    async def count_descendants(self, path: str = "/") -> int:
        """Count the znodes below *path* (3.6)."""
        return await self._call(GetAllChildrenNumber(self.full_path(path)))

    async def get_ephemerals(self, prefix: str = "/") -> list[str]:
        """List this session's ephemeral znodes whose path starts with *prefix*, which is text and no path (3.6)."""
        if not prefix.startswith("/"):
            raise InvalidRequestError(f"a prefix of paths starts with '/', not {prefix!r}")
        found = await self._call(GetEphemerals(self._chroot.prefix + prefix))
        return [self._chroot.to_client(path) for path in found]

    async def sync(self, path: str = "/") -> None:
        """Let this server catch up with the leader: reads that follow see what was committed before."""
        await self._call(Sync(self.full_path(path)))

    async def walk(self, path: str = "/") -> AsyncGenerator[tuple[str, Stat], None]:
        """Visit a znode and all its descendants, parents first, many at a time; what vanishes meanwhile is left out.

        Yields:
            The path and the Stat of each.
        """
        level = [path]
        while level:
            below: list[str] = []
            for start in range(0, len(level), WINDOW):
                pipeline = self.pipeline()
                window = level[start : start + WINDOW]
                reads = [pipeline.get_children_with_stat(each) for each in window]
                await pipeline.run()
                for each, read in zip(window, reads, strict=True):
                    if isinstance(read.error, NoNodeError):
                        continue
                    names, stat = read.value
                    yield each, stat
                    below += [join(each, name) for name in names]
            level = below

    def multi_read(self) -> ReadBatch:
        """Collect reads that are answered together, from one state of the server (3.6)."""
        return ReadBatch(self)

    # --- many at once

    def pipeline(self) -> Pipeline:
        """Collect requests that are sent together and waited for together."""
        return Pipeline(self)

    async def get_many(self, paths: Iterable[str]) -> list[Znode | ZooKeeperError]:
        """Read many znodes at once.

        Returns:
            In the order of *paths* a `Znode` each, or the error of that read.
        """
        pipeline = self.pipeline()
        for path in paths:
            pipeline.get(path)
        return await pipeline.run()

    # --- watching

    @overload
    def watch(
        self, path: str, *, recursive: bool = False, snapshot: Literal[False] = False, buffer: int = 10_000
    ) -> ChangeStream[Change]: ...

    @overload
    def watch(
        self, path: str, *, recursive: bool = False, snapshot: Literal[True], buffer: int = 10_000
    ) -> ChangeStream[WatchEvent]: ...

    @overload
    def watch(
        self, path: str, *, recursive: bool = False, snapshot: bool, buffer: int = 10_000
    ) -> ChangeStream[Change]: ...

    def watch(
        self, path: str, *, recursive: bool = False, snapshot: bool = False, buffer: int = 10_000
    ) -> ChangeStream[Any]:
        """Watch a znode, whether it exists or not, for as long as the scope lasts (3.6).

        Use it as ``async with client.watch(path) as changes: async for change in changes``. Each change is a
        `WatchEvent` or a `Gap`.

        Args:
            path: which one.
            recursive: watch all its descendants too; then there are no events about sets of children.
            snapshot: begin with a CREATED event for each znode that exists, and repair gaps by reading: the
                stream then tells what has changed meanwhile, and no `Gap`.
            buffer: how many changes to hold for a slow consumer before they make place for a `Gap`.
        """
        memory = None
        if snapshot:
            memory = Snapshot(path, recursive=recursive, read=lambda: self._read_for_snapshot(path, recursive))
        mode = AddWatchMode.PERSISTENT_RECURSIVE if recursive else AddWatchMode.PERSISTENT
        request = AddWatch(self.full_path(path), mode)
        stream: ChangeStream[Any] = ChangeStream(
            self._engine,
            self._chroot,
            path,
            recursive=recursive,
            buffer=buffer,
            snapshot=memory,
            register=lambda subscriber: self._call(request, subscriber),
        )
        return stream

    async def _read_for_snapshot(self, path: str, recursive: bool) -> AsyncIterator[tuple[str, Stat]]:
        if recursive:
            async for found in self.walk(path):
                yield found
        elif (stat := await self.exists(path)) is not None:
            yield path, stat

    def watch_data(self, path: str) -> OneShotWatch[Znode]:
        """Read a znode and wait once for a change of its data: ``async with client.watch_data(path) as watch``."""
        return self._one_shot(GetData(self.full_path(path)), WatchKind.DATA)

    def watch_children(self, path: str) -> OneShotWatch[list[str]]:
        """Read the names of a znode's children and wait once for a change of them."""
        return self._one_shot(GetChildren(self.full_path(path)), WatchKind.CHILD)

    def watch_exists(self, path: str) -> OneShotWatch[Stat | None]:
        """Look for a znode and wait once for its creation, its end or a change of its data."""
        return self._one_shot(Exists(self.full_path(path)), WatchKind.DATA)

    def _one_shot(self, request: GetData | GetChildren | Exists, kind: WatchKind) -> OneShotWatch[Any]:
        return OneShotWatch(self._engine, self._chroot, request, request.path, kind, self._read_watched)

    async def _read_watched(self, request: Request[Any], subscriber: Subscriber) -> Any:
        try:
            return await self._call(request, subscriber)
        except NoNodeError:
            if isinstance(request, Exists):
                return None
            raise

    async def wait_until_gone(self, path: str) -> None:
        """Wait until there is no such znode; at once if there is none."""
        while True:
            async with self.watch_exists(path) as watch:
                if watch.seen is None or (await watch.fired()).type is EventType.DELETED:
                    return

    async def wait_for(self, path: str) -> Stat:
        """Wait until there is such a znode; at once if there is one.

        Returns:
            Its Stat.
        """
        while True:
            async with self.watch_exists(path) as watch:
                if watch.seen is not None:
                    return watch.seen
                await watch.fired()

    async def check_watches(self, path: str, watcher_type: WatcherType = WatcherType.ANY) -> bool:
        """Ask whether the server holds such a watch for this connection (3.5; types 4 and 5 from 3.9)."""
        try:
            await self._call(CheckWatches(self.full_path(path), watcher_type))
        except NoWatcherError:
            return False
        return True
