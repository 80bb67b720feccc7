"""What a write turns into: its checks, in the order in which ZooKeeper makes them (PrepRequestProcessor).

Nothing is changed here. A write becomes a change of the tree, or is refused with an error code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..acl import ACL, Id, Perms
from ..errors import ErrorCode, InvalidPathError
from ..paths import check_path
from ..wire import (
    MAX_TTL_MS,
    Check,
    Create,
    Create2,
    CreateContainer,
    CreateMode,
    CreateTTL,
    Delete,
    Multi,
    OpCode,
    Request,
    SetACL,
    SetData,
)
from ._access import allowed, settle_acl
from ._java import wrapped
from ._options import ServerOptions
from ._refused import RefusedError
from ._tree import SPECIAL, AclSet, Change, Checked, DataSet, Lifetime, Made, Node, Refusal, Removed, Several, Tree

__all__ = ["Asker", "prepare"]

_MODES = {int(mode): mode for mode in CreateMode}
_WITH_STAT = (OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL)
"""Their results look like those of a create2."""


class Asker(NamedTuple):
    """Who asks for a write.

    Attributes:
        session_id: the session, whose ephemerals they will be.
        identities: what its connection is authenticated as.
    """

    session_id: int
    identities: Sequence[Id]


def prepare(request: Request[Any], asker: Asker, tree: Tree, options: ServerOptions) -> Change:
    """Check a write against the newest state.

    Args:
        request: a create, delete, set, set ACL, check or multi.
        asker: who asks.
        tree: the leader's, with every change so far.
        options: of the server.

    Returns:
        What is to happen. A multi that fails is a `Several` of refusals.

    Raises:
        RefusedError: with the error code of the reply.
    """
    draft = _Draft(tree, asker, options)
    return _several(request, draft) if isinstance(request, Multi) else draft.prepare(request)


def _several(multi: Multi, draft: _Draft) -> Several:
    changes: list[Any] = []
    kinds: list[int] = []
    ops: Iterable[Request[Any]] = (_as_in_multi(op, draft.options) for op in multi.ops)
    if draft.options.profile.strict_multi:  # they are looked at while the request is read, before any is tried
        ops = list(ops)
    for op in ops:
        try:
            changes.append(draft.prepare(op))
        except RefusedError as refused:
            undone = [Refusal(ErrorCode.OK)] * len(changes)
            untried = [Refusal(ErrorCode.RUNTIME_INCONSISTENCY)] * (len(multi.ops) - len(changes) - 1)
            elements = (*undone, Refusal(refused.code), *untried)
            return Several(elements, (OpCode.ERROR,) * len(elements))
        kinds.append(OpCode.CREATE2 if op.opcode in _WITH_STAT else op.opcode)
    return Several(tuple(changes), tuple(kinds))


def _as_in_multi(op: Request[Any], options: ServerOptions) -> Request[Any]:
    """What a server makes of an operation while it reads a multi: there it is the mode that counts (Op.create)."""
    if not isinstance(op, (Create, Create2, CreateContainer, CreateTTL)):
        return op
    mode = _MODES.get(op.mode)
    if not isinstance(op, CreateTTL):
        if mode is None and options.profile.strict_multi:
            raise RefusedError(ErrorCode.MARSHALLING_ERROR)
        if mode is not None and mode.ttl:
            raise RefusedError(ErrorCode.MARSHALLING_ERROR)
    elif mode is not None and mode.ttl:
        return op
    if mode is CreateMode.CONTAINER:
        return CreateContainer(op.path, op.data, op.acl, op.mode)
    if isinstance(op, Create2) and options.profile.create2_in_multi:
        return op
    if isinstance(op, CreateContainer) and options.profile.create2_in_multi:
        return op
    return Create(op.path, op.data, op.acl, op.mode)


class _View:
    """What checks need to know of a znode, as it would be."""

    __slots__ = ("acl", "aversion", "children", "creations", "owner", "version")

    def __init__(self, node: Node) -> None:
        self.acl = node.acl
        self.aversion = node.aversion
        self.children = len(node.children)
        self.creations = node.creations
        self.owner = node.owner
        self.version = node.version


class _Draft:
    """The tree as it will be after the operations of a multi that were prepared so far."""

    def __init__(self, tree: Tree, asker: Asker, options: ServerOptions) -> None:
        self.options = options
        self._tree = tree
        self._asker = asker
        self._views: dict[str, _View | None] = {}

    def prepare(self, request: Request[Any]) -> Any:
        match request:
            case Create() | Create2() | CreateContainer() | CreateTTL():
                return self._create(request)
            case Delete(path, version):
                return self._delete(path, version)
            case SetData(path, data, version):
                self._check_path(path)
                view = self._get(path)
                self._allow(view, Perms.WRITE)
                view.version = _next_version(view.version, version)
                return DataSet(path, data, view.version)
            case SetACL(path, acl, version):
                self._check_path(path)
                settled = self._settle(acl)
                view = self._get(path)
                self._allow(view, Perms.ADMIN)
                view.aversion = _next_version(view.aversion, version)
                view.acl = settled
                return AclSet(path, settled, view.aversion)
            case Check(path, version):
                self._check_path(path)
                view = self._get(path)
                self._allow(view, Perms.READ)
                _next_version(view.version, version)
                return Checked(path)
        # A read inside a multi gets this far, and then the real server fails.
        raise RefusedError(ErrorCode.MARSHALLING_ERROR)

    def _create(self, request: Create | Create2 | CreateContainer | CreateTTL) -> Made:
        path = request.path
        mode = _MODES.get(request.mode)
        if mode is None:
            raise RefusedError(ErrorCode.BAD_ARGUMENTS)
        if mode.ttl and not self.options.ttl:
            raise RefusedError(ErrorCode.UNIMPLEMENTED)
        ttl = request.ttl_ms if isinstance(request, CreateTTL) else -1
        if not 1 <= ttl <= MAX_TTL_MS if mode.ttl else ttl >= 0:
            raise RefusedError(ErrorCode.BAD_ARGUMENTS)
        if "/" not in path or "\0" in path:
            raise RefusedError(ErrorCode.BAD_ARGUMENTS)
        above = path[: path.rindex("/")]
        acl = self._settle(request.acl)
        over = self._get(above)
        self._allow(over, Perms.CREATE)
        if mode.sequential:
            path += f"{over.creations:010d}"
        self._check_path(path)
        if self._find(path) is not None:
            raise RefusedError(ErrorCode.NODE_EXISTS)
        if over.owner:
            raise RefusedError(ErrorCode.NO_CHILDREN_FOR_EPHEMERALS)
        if mode.ephemeral and not self._asker.session_id:
            raise RefusedError(ErrorCode.EPHEMERAL_ON_LOCAL_SESSION)  # of `Ensemble.execute` without a session
        # The request decides what a container or a znode with a time to live is; the mode, what an ephemeral is.
        lifetime: Lifetime = "container" if isinstance(request, CreateContainer) else ttl if mode.ttl else None
        owner = self._asker.session_id if mode.ephemeral and lifetime is None else 0
        over.creations = wrapped(over.creations + 1)
        over.children += 1
        view = self._views[path] = _View(Node(None, acl, owner=owner))
        view.acl = acl
        return Made(path, request.data, acl, owner, lifetime, over.creations)

    def _delete(self, path: str, version: int) -> Removed:
        if "/" not in path or "\0" in path or path in SPECIAL:
            raise RefusedError(ErrorCode.BAD_ARGUMENTS)
        over = self._get(path[: path.rindex("/")])
        self._allow(over, Perms.DELETE)
        view = self._get(path)
        _next_version(view.version, version)
        if view.children > 0:
            raise RefusedError(ErrorCode.NOT_EMPTY)
        over.children -= 1
        self._views[path] = None
        return Removed(path)

    # --- looking things up

    def _find(self, path: str) -> _View | None:
        path = path or "/"
        if path not in self._views:
            node = self._tree.nodes.get(path)
            self._views[path] = None if node is None else _View(node)
        return self._views[path]

    def _get(self, path: str) -> _View:
        view = self._find(path)
        if view is None:
            raise RefusedError(ErrorCode.NO_NODE)
        return view

    def _allow(self, view: _View, perms: int) -> None:
        if not allowed(view.acl, perms, self._asker.identities):
            raise RefusedError(ErrorCode.NO_AUTH)

    def _settle(self, acl: Sequence[ACL]) -> tuple[ACL, ...]:
        return settle_acl(
            acl, self._asker.identities, sasl=bool(self.options.sasl_users), ipv6=self.options.profile.ipv6
        )

    @staticmethod
    def _check_path(path: str) -> None:
        try:
            check_path(path)
        except InvalidPathError:
            raise RefusedError(ErrorCode.BAD_ARGUMENTS) from None


def _next_version(current: int, wanted: int) -> int:
    if wanted not in (-1, current):
        raise RefusedError(ErrorCode.BAD_VERSION)
    return wrapped(current + 1)
