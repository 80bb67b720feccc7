"""What users call. Written once: every adapter gives this class its runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal, overload

from ..acl import ACL, OPEN, Id
from ..errors import (
    AuthFailedError,
    ErrorCode,
    InvalidRequestError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    NoWatcherError,
    SessionError,
    ZooKeeperError,
)
from ..paths import basename, check_path, join, parent
from ..session import Call, SessionState, SessionTicket, WatchEvent, WatchKind, parse_hosts
from ..wire import (
    AddWatch,
    AddWatchMode,
    CheckWatches,
    Children,
    Created,
    CreateMode,
    Delete,
    Exists,
    GetACL,
    GetAllChildrenNumber,
    GetChildren,
    GetChildren2,
    GetData,
    GetEphemerals,
    Reconfig,
    Request,
    SetACL,
    SetData,
    Stat,
    Sync,
    WatcherType,
    WhoAmI,
    Znode,
    ZnodeAcl,
)
from ._caller import Caller, WhileSuspended
from ._config import CONFIG_PATH, EnsembleConfig, parse_config
from ._engine import Subscriber
from ._lost import created_ephemeral, created_tagged, deleted_version, set_version, tag
from ._operations import create_mode, create_request, deletable_path, full_path, sequential_path
from ._pipeline import Pipeline
from ._retry import RetryPolicy
from ._snapshot import Snapshot
from ._streams import Change, ChangeStream, OneShotWatch, StateStream
from ._transaction import ReadBatch, Transaction

__all__ = ["Client", "WhileSuspended"]

_WINDOW = 256
"""Requests at once when many znodes are walked or deleted."""


class Client(Caller):
    """A ZooKeeper client. It is made by an adapter's ``open_client``, and shared by any number of callers.

    A cancelled call keeps its place on the connection: what it asked for may still happen, only nobody hears
    of it. An ephemeral znode that it makes is removed again, and a watch that it sets likewise.
    """

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

    def at(self, path: str) -> Client:
        """The same client below *path*: it shares session, connection and watches. The znode is not made."""
        return Client(self._engine, self._chroot / path, self._retry, self._while_suspended)

    def using(self, *, retry: RetryPolicy | None = None, while_suspended: WhileSuspended | None = None) -> Client:
        """The same client with another policy, for one call or for many.

        Args:
            retry: what is repeated; None leaves it as it is.
            while_suspended: ``wait`` for a connection, or ``fail`` with `SuspendedError`; None leaves it as it is.
        """
        policy = while_suspended or self._while_suspended
        return Client(self._engine, self._chroot, retry or self._retry, policy)

    # --- reading

    async def get(self, path: str) -> Znode:
        """Read a znode.

        Returns:
            Its data, None if null, and its Stat.

        Raises:
            NoNodeError, NoAuthError, SessionError.
        """
        return await self._call(GetData(self._path(path)))

    async def exists(self, path: str) -> Stat | None:
        """Read the Stat of a znode; None if there is no such znode."""
        try:
            return await self._call(Exists(self._path(path)))
        except NoNodeError:
            return None

    async def get_children(self, path: str) -> list[str]:
        """Read the names of a znode's children, in no order."""
        return await self._call(GetChildren(self._path(path)))

    async def get_children_with_stat(self, path: str) -> Children:
        """Read the names of a znode's children, in no order, and the Stat of the znode."""
        return await self._call(GetChildren2(self._path(path)))

    async def get_acl(self, path: str) -> ZnodeAcl:
        """Read a znode's access control list; ``stat.aversion`` is its version."""
        return await self._call(GetACL(self._path(path)))

    async def count_descendants(self, path: str = "/") -> int:
        """Count the znodes below *path* (3.6)."""
        return await self._call(GetAllChildrenNumber(self._path(path)))

    async def get_ephemerals(self, prefix: str = "/") -> list[str]:
        """List this session's ephemeral znodes whose path starts with *prefix*, which is text and no path (3.6)."""
        if not prefix.startswith("/"):
            raise InvalidRequestError(f"a prefix of paths starts with '/', not {prefix!r}")
        found = await self._call(GetEphemerals(self._chroot.prefix + prefix))
        return [self._chroot.to_client(path) for path in found]

    async def sync(self, path: str = "/") -> None:
        """Let this server catch up with the leader: reads that follow see what was committed before."""
        await self._call(Sync(self._path(path)))

    async def walk(self, path: str = "/") -> AsyncIterator[tuple[str, Stat]]:
        """Visit a znode and all its descendants, parents first, many at a time; what vanishes meanwhile is left out.

        Yields:
            The path and the Stat of each.
        """
        level = [path]
        while level:
            below: list[str] = []
            for start in range(0, len(level), _WINDOW):
                pipeline = self.pipeline()
                window = level[start : start + _WINDOW]
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
        return ReadBatch(self._chroot, self._call)

    # --- writing

    async def create(
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
    ) -> str:
        """Make a znode.

        Args:
            path: where; a sequential name may end with a slash.
            data: its data; None is null, which is not the same as empty.
            acl: who may do what.
            ephemeral: it goes away with this session.
            sequential: the server appends the parent's counter, ten digits.
            container: the server removes it some time after its last child (3.5).
            ttl: seconds; the server removes it when it is childless and unmodified for that long (3.5, if enabled).
            protected: put a unique tag in front of the name (``_c_<uuid>-``, as Curator does), by which the
                znode is found again if the reply is lost. For sequential znodes there is no other way.
            make_parents: make the missing parents too, with the same ACL; containers for a container.

        Returns:
            The path of the new znode.

        Raises:
            NodeExistsError, NoNodeError (the parent), NoChildrenForEphemeralsError, NoAuthError, SessionError.
        """
        created = await self._create(
            path, data, acl, ephemeral, sequential, container, ttl, protected, make_parents, with_stat=False
        )
        return created.path

    async def create_with_stat(
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
    ) -> tuple[str, Stat]:
        """Make a znode, as `create` does; return its path and its Stat (3.5)."""
        path, stat = await self._create(
            path, data, acl, ephemeral, sequential, container, ttl, protected, make_parents, with_stat=True
        )
        assert stat is not None
        return path, stat

    async def _create(
        self,
        path: str,
        data: bytes | None,
        acl: Sequence[ACL],
        ephemeral: bool,
        sequential: bool,
        container: bool,
        ttl: float | None,
        protected: bool,
        make_parents: bool,
        *,
        with_stat: bool,
    ) -> Created:
        mode = create_mode(ephemeral=ephemeral, sequential=sequential, container=container, ttl=ttl)
        full = (sequential_path if sequential else full_path)(self._chroot, path)
        if protected:
            check_path(full, sequential=sequential)
            full = join(parent(full), tag(self._engine.runtime.nonce()) + basename(full))
        request = create_request(full, data, acl, mode, ttl, with_stat=with_stat)
        while True:
            try:
                created = await self._call_create(request, full, ephemeral, sequential, protected)
                break
            except ZooKeeperError as error:
                if error.path == self._chroot.to_client(full):
                    error.path = path  # as it was given, without the tag
                if not (make_parents and isinstance(error, NoNodeError)):
                    raise
            # Again and again: an empty container may vanish before its first child is made.
            await self._make_parents(full, acl, container=container)
        if with_stat and created.stat is None:
            stat: Stat = await self._call(Exists(created.path))
            created = Created(created.path, stat)
        return Created(self._chroot.to_client(created.path), created.stat)

    async def _call_create(
        self, request: Request[Created], full: str, ephemeral: bool, sequential: bool, protected: bool
    ) -> Created:
        """Make a znode, and find out whether it was made when the reply is lost and there is a way to."""
        engine = self._engine
        if protected:
            session, before = engine.session, engine.session.last_zxid
            try:
                return await self._call(request, None, created_tagged(self, request, full, ephemeral=ephemeral))
            except SessionError as error:
                if error.maybe_applied:
                    # Nobody else knows its name, so nobody would ever remove it.
                    session.disown(request, before)
                    engine.runtime.flush()
                raise
        if ephemeral and not sequential:
            with engine.racing(full) as race:
                return await self._call(request, None, created_ephemeral(self, request, full, race))
        return await self._call(request)

    async def _make_parents(self, full: str, acl: Sequence[ACL], *, container: bool) -> None:
        above = parent(full)
        missing = []
        while above != "/" and await self._stat_of(above) is None:
            missing.append(above)
            above = parent(above)
        mode = CreateMode.CONTAINER if container else CreateMode.PERSISTENT
        for path in reversed(missing):
            with suppress(NodeExistsError):
                await self._call_twice(create_request(path, b"", acl, mode))

    async def ensure_path(self, path: str, *, acl: Sequence[ACL] = OPEN, container: bool = False) -> None:
        """Make a znode and its parents, as far as they are missing.

        Args:
            path: where.
            acl: of those that are made.
            container: make containers.
        """
        full = self._path(path)
        check_path(full)
        if full == "/":
            await self._engine.runtime.checkpoint()  # it is always there
        else:
            await self._make_parents(join(full, "x"), acl, container=container)

    async def set(self, path: str, data: bytes | None, *, version: int = -1) -> Stat:
        """Replace the data of a znode.

        Args:
            path: which one.
            data: the new data; None is null.
            version: the version that the znode must have; -1 matches any.

        Raises:
            BadVersionError, NoNodeError, NoAuthError, SessionError.
            ConnectionLossError: with ``maybe_applied``, the data may have been written. A versioned write is
                decided by reading where that can decide it.
        """
        request = SetData(self._path(path), data, version)
        return await self._call(request, None, None if version == -1 else set_version(self, request))

    async def delete(self, path: str, *, version: int = -1, recursive: bool = False) -> None:
        """Remove a znode.

        Args:
            path: which one.
            version: the version that the znode must have; -1 matches any.
            recursive: remove its descendants too. Znodes that are made meanwhile are removed as well, and what
                somebody else removes is no error; other clients see the tree vanish bit by bit.

        Raises:
            NoNodeError, BadVersionError, NotEmptyError, NoAuthError, SessionError.
            ConnectionLossError: with ``maybe_applied``, the znode may be gone. A delete with a version is
                decided by reading where that can decide it.
        """
        if recursive:
            if version != -1:
                raise InvalidRequestError("a recursive delete takes no version")
            deletable_path(self._chroot, path)
            await self._delete_tree(path)
        else:
            request = Delete(deletable_path(self._chroot, path), version)
            await self._call(request, None, None if version == -1 else deleted_version(self, request))

    async def _delete_tree(self, path: str) -> None:
        paths = [each async for each, _ in self.walk(path)]
        if not paths:
            raise NoNodeError(ErrorCode.NO_NODE, path, operation="delete")
        while await self._delete_all(paths):
            paths = [each async for each, _ in self.walk(path)]

    async def _delete_all(self, paths: list[str]) -> bool:
        """Delete *paths*, deepest first; return whether one has got new children meanwhile."""
        twice = self.using(retry=self._retry.twice())
        crowded = False
        for start in range(0, len(paths), _WINDOW):
            pipeline = twice.pipeline()
            # The order on the wire is the order of execution.
            for path in paths[::-1][start : start + _WINDOW]:
                pipeline.delete(path)
            for outcome in await pipeline.run():
                if isinstance(outcome, NotEmptyError):
                    crowded = True
                elif isinstance(outcome, ZooKeeperError) and not isinstance(outcome, NoNodeError):
                    raise outcome
        return crowded

    async def set_acl(self, path: str, acl: Sequence[ACL], *, version: int = -1) -> Stat:
        """Replace a znode's access control list.

        Args:
            path: which one.
            acl: the new list.
            version: the version that the list must have (``stat.aversion``); -1 matches any.
        """
        return await self._call(SetACL(self._path(path), acl, version))

    def transaction(self) -> Transaction:
        """Collect writes that all happen or none."""
        return Transaction(self._chroot, self._call)

    # --- many at once

    def pipeline(self) -> Pipeline:
        """Collect requests that are sent together and waited for together."""
        return Pipeline(self._chroot, self._run_batch)

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
        request = AddWatch(self._path(path), mode)
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
        return self._one_shot(GetData(self._path(path)), WatchKind.DATA)

    def watch_children(self, path: str) -> OneShotWatch[list[str]]:
        """Read the names of a znode's children and wait once for a change of them."""
        return self._one_shot(GetChildren(self._path(path)), WatchKind.CHILD)

    def watch_exists(self, path: str) -> OneShotWatch[Stat | None]:
        """Look for a znode and wait once for its creation, its end or a change of its data."""
        return self._one_shot(Exists(self._path(path)), WatchKind.DATA)

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
                if watch.seen is None:
                    return
                await watch.fired()

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
            await self._call(CheckWatches(self._path(path), watcher_type))
        except NoWatcherError:
            return False
        return True

    # --- who

    async def add_auth(self, scheme: str, credential: bytes | str) -> None:
        """Add an identity to this client, now and on every later connection.

        Args:
            scheme: such as ``digest``.
            credential: such as ``user:password``; a str is encoded as UTF-8.

        Raises:
            AuthFailedError: the server refused it. The session is over then: the same would happen again at
                every reconnect.
        """
        secret = credential.encode() if isinstance(credential, str) else bytes(credential)
        engine = self._engine
        session = engine.session
        call: Call[None] = session.add_auth(scheme, secret)
        engine.runtime.flush()
        await engine.finish(session, call)
        if call.error is not None:
            # The session knows better than the bare code which credentials were refused.
            raise session.error if isinstance(session.error, AuthFailedError) else call.error

    async def whoami(self) -> list[Id]:
        """The identities of this connection, without their secrets (3.7)."""
        identities = await self._call(WhoAmI())
        return list(identities)

    # --- the ensemble

    async def get_config(self) -> EnsembleConfig:
        """Read who belongs to the ensemble (3.5); whatever the chroot is."""
        return parse_config((await self._call(GetData(CONFIG_PATH))).data)

    async def reconfig(
        self,
        *,
        joining: str | Sequence[str] | None = None,
        leaving: str | Sequence[str] | None = None,
        new_members: str | Sequence[str] | None = None,
        version: int = -1,
    ) -> EnsembleConfig:
        """Change who belongs to the ensemble (3.5). It needs the right to write the configuration, as super has.

        Args:
            joining: servers to add or change, ``server.5=host:2888:3888:participant;2181``.
            leaving: ids of servers to remove.
            new_members: the whole new membership, instead of the two above.
            version: the version that the configuration must have; -1 matches any.

        Returns:
            The new configuration.

        Raises:
            BadArgumentsError, BadVersionError, NoAuthError, NewConfigNoQuorumError, ReconfigInProgressError,
            ReconfigDisabledError, UnimplementedError (a standalone server), SessionError.
        """
        if new_members is not None and (joining is not None or leaving is not None):
            raise InvalidRequestError("give either new_members, or joining and leaving")
        request = Reconfig(_listed(joining), _listed(leaving), _listed(new_members), version)
        return parse_config((await self._call(request)).data)

    def set_hosts(self, hosts: str | Sequence[str]) -> None:
        """Use another list of servers, from now on.

        The client may move to another server, by chance, so that all clients together spread evenly; its session
        stays as it is (ZOOKEEPER-1355).

        Args:
            hosts: as for ``open_client``, without a chroot.
        """
        servers, chroot = parse_hosts(hosts)
        if chroot:
            raise InvalidRequestError("the chroot cannot be changed; give the servers only")
        self._engine.session.update_servers(servers, self._engine.runtime.now())
        self._engine.deliver()
        self._engine.runtime.nudge()

    # --- the end

    async def aclose(self, *, grace: float = 3.0, keep_session: bool = False) -> None:
        """End the session in order. Ephemerals and watches are gone when this returns; it may be called twice.

        Args:
            grace: seconds to wait for the server's word.
            keep_session: leave the session to its timeout, or to be resumed by its ticket.
        """
        await self._engine.close(grace, keep_session=keep_session)


def _listed(value: str | Sequence[str] | None) -> str | None:
    return value if value is None or isinstance(value, str) else ",".join(value)
