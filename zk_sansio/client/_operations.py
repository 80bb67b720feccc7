"""From the arguments of a call to its request: what every way of asking has in common.

A client asks at once, a pipeline asks many things together, a transaction asks for all or nothing: they take
the same arguments and build the same requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ..acl import ACL
from ..errors import InvalidRequestError
from ..paths import Chroot
from ..wire import Create, Create2, CreateContainer, CreateMode, CreateTTL

__all__ = ["CreateRequest", "create_mode", "create_request", "deletable_path", "full_path", "sequential_path"]

_MODES = {
    (False, False): CreateMode.PERSISTENT,
    (True, False): CreateMode.EPHEMERAL,
    (False, True): CreateMode.PERSISTENT_SEQUENTIAL,
    (True, True): CreateMode.EPHEMERAL_SEQUENTIAL,
}

CreateRequest: TypeAlias = Create | Create2 | CreateContainer | CreateTTL


def create_mode(*, ephemeral: bool, sequential: bool, container: bool, ttl: float | None) -> CreateMode:
    """The mode that a set of options means.

    Raises:
        InvalidRequestError: options that exclude each other.
    """
    if container:
        if ephemeral or sequential or ttl is not None:
            raise InvalidRequestError("a container is neither ephemeral nor sequential, and has no TTL")
        return CreateMode.CONTAINER
    if ttl is not None:
        if ephemeral:
            raise InvalidRequestError("an ephemeral znode has no TTL; it goes away with its session")
        return CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL if sequential else CreateMode.PERSISTENT_WITH_TTL
    return _MODES[bool(ephemeral), bool(sequential)]


def create_request(
    path: str,
    data: bytes | None,
    acl: Sequence[ACL],
    mode: CreateMode,
    ttl: float | None = None,
    *,
    with_stat: bool = False,
) -> CreateRequest:
    """The request that makes such a znode; the plain one, which every server knows, unless more is asked for.

    Args:
        path: the full path.
        data: the znode's data.
        acl: who may do what.
        mode: what kind of znode.
        ttl: seconds, for the modes that have one.
        with_stat: whether the reply is to carry the Stat.
    """
    if mode is CreateMode.CONTAINER:
        return CreateContainer(path, data, acl, mode)
    if mode.ttl:
        assert ttl is not None
        return CreateTTL(path, data, acl, mode, round(ttl * 1000))
    return (Create2 if with_stat else Create)(path, data, acl, mode)


def full_path(chroot: Chroot, path: str) -> str:
    """The path on the server; without a chroot it is checked when it is encoded."""
    return chroot.to_server(path) if chroot.prefix else path


def deletable_path(chroot: Chroot, path: str) -> str:
    """The path on the server of something to be deleted; the root, or what a chroot makes of it, cannot be."""
    if path == "/":
        raise InvalidRequestError("the root cannot be deleted")
    return full_path(chroot, path)


def sequential_path(chroot: Chroot, path: str) -> str:
    """The same for a name that the server will append a number to, so that it may end with a slash."""
    return chroot.to_server(path, sequential=True) if chroot.prefix else path
