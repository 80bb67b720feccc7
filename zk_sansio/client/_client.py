"""What users call. Written once: every adapter gives this class its runtime."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from copy import copy

from ..acl import ACL, OPEN, Id
from ..errors import (
    AuthFailedError,
    ErrorCode,
    InvalidRequestError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    SessionError,
    ZooKeeperError,
)
from ..paths import basename, check_path, join, parent
from ..session import Call, parse_hosts
from ..wire import (
    Created,
    CreateMode,
    Delete,
    Exists,
    GetData,
    Reconfig,
    SetACL,
    SetData,
    Stat,
    WhoAmI,
)
from ._config import CONFIG_PATH, EnsembleConfig, parse_config
from ._lost import created_ephemeral, created_tagged, deleted_version, set_version, tag
from ._operations import CreateRequest, create_mode, create_request, deletable_path, full_path, sequential_path
from ._reader import WINDOW, Reader
from ._transaction import Transaction

__all__ = ["ZnodeClient"]


class ZnodeClient(Reader):
    """All operations on znodes, sessions and the ensemble, shared by any number of callers.

    A cancelled call keeps its place on the connection: what it asked for may still happen, only nobody hears
    of it. An ephemeral znode that it makes is removed again, and a watch that it sets likewise.
    """

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
        self, request: CreateRequest, full: str, ephemeral: bool, sequential: bool, protected: bool
    ) -> Created:
        """Make a znode, and find out whether it was made when the reply is lost and there is a way to."""
        engine = self._engine
        if protected:
            before = engine.session.last_zxid
            try:
                return await self._call(request, None, created_tagged(self, request, full, ephemeral=ephemeral))
            except SessionError as error:
                if error.maybe_applied:
                    # Nobody else knows its name, so nobody would ever remove it.
                    engine.session.disown(request, before)
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
        full = self.full_path(path)
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
        request = SetData(self.full_path(path), data, version)
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
        for start in range(0, len(paths), WINDOW):
            pipeline = twice.pipeline()
            # The order on the wire is the order of execution.
            for path in paths[::-1][start : start + WINDOW]:
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
        return await self._call(SetACL(self.full_path(path), acl, version))

    def transaction(self) -> Transaction:
        """Collect writes that all happen or none."""
        return Transaction(self)

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
            raise copy(session.error) if isinstance(session.error, AuthFailedError) else call.error

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
