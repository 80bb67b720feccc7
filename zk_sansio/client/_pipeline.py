"""Many requests together: one write, one wake-up for many replies, results in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from ..acl import ACL, OPEN
from ..errors import LocalProtocolError, ZooKeeperError
from ..paths import Chroot
from ..session import Call
from ..wire import (
    Children,
    Created,
    Delete,
    Exists,
    GetChildren,
    GetChildren2,
    GetData,
    Request,
    SetData,
    Stat,
    Sync,
    Znode,
)
from ._caller import Caller
from ._operations import create_mode, create_request, deletable_path, full_path, sequential_path

__all__ = ["Pending", "Pipeline", "Recorder"]

R = TypeVar("R")


class Pending(Generic[R]):
    """The place of one request's outcome.

    Attributes:
        error: why it failed; None if it did not.
    """

    __slots__ = ("_call", "_chroot", "error", "request")

    def __init__(self, request: Request[R], chroot: Chroot) -> None:
        self.request: Request[R] = request
        self.error: ZooKeeperError | None = None
        self._chroot = chroot
        self._call: Call[R] | None = None

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._call is not None

    @property
    def value(self) -> R:
        """The result.

        Raises:
            ZooKeeperError: the request failed.
            LocalProtocolError: the pipeline has not run.
        """
        if self._call is None:
            raise LocalProtocolError("the pipeline has not run yet; await its run() first")
        if self.error is not None:
            raise self.error
        result = self._call.result
        if isinstance(result, Created) and self._chroot.prefix:
            return result._replace(path=self._chroot.to_client(result.path))
        return result

    def _settle(self, call: Call[Any]) -> None:
        self._call = call
        self.error = call.error
        if call.error is not None and call.error.path is not None:
            call.error.path = self._chroot.to_client(call.error.path)


class Recorder:
    """What a pipeline collects; each method returns the `Pending` of its request.

    Args:
        caller: whose calls it makes.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._chroot = caller._chroot
        self._pending: list[Pending[Any]] = []

    def __len__(self) -> int:
        return len(self._pending)

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
    ) -> Pending[Created]:
        """Make a znode; arguments as of `Client.create`."""
        mode = create_mode(ephemeral=ephemeral, sequential=sequential, container=container, ttl=ttl)
        full = (sequential_path if mode.sequential else full_path)(self._chroot, path)
        return self._add(create_request(full, data, acl, mode, ttl))

    def delete(self, path: str, *, version: int = -1) -> Pending[None]:
        """Remove a znode that has no children."""
        return self._add(Delete(deletable_path(self._chroot, path), version))

    def exists(self, path: str) -> Pending[Stat]:
        """Read the Stat; a missing znode is a `NoNodeError`."""
        return self._add(Exists(full_path(self._chroot, path)))

    def get(self, path: str) -> Pending[Znode]:
        """Read the data and the Stat."""
        return self._add(GetData(full_path(self._chroot, path)))

    def set(self, path: str, data: bytes | None, *, version: int = -1) -> Pending[Stat]:
        """Replace the data."""
        return self._add(SetData(full_path(self._chroot, path), data, version))

    def get_children(self, path: str) -> Pending[list[str]]:
        """Read the names of the children."""
        return self._add(GetChildren(full_path(self._chroot, path)))

    def get_children_with_stat(self, path: str) -> Pending[Children]:
        """Read the names of the children and the Stat of the parent."""
        return self._add(GetChildren2(full_path(self._chroot, path)))

    def sync(self, path: str = "/") -> Pending[str | None]:
        """Let the server catch up with the leader; reads behind it see everything committed before."""
        return self._add(Sync(full_path(self._chroot, path)))

    def _add(self, request: Request[R]) -> Pending[R]:
        pending = Pending(request, self._chroot)
        self._pending.append(pending)
        return pending

    async def _run(self) -> list[Any]:
        pending, self._pending = self._pending, []
        calls = await self._caller._run_batch([item.request for item in pending])
        for item, call in zip(pending, calls, strict=True):
            item._settle(call)
        return [item.error if item.error is not None else item.value for item in pending]


class Pipeline(Recorder):
    """Requests that are sent together and waited for together; each has its own outcome.

    Collect them with its methods, which return a `Pending` each, then `run`. The order of the methods is the
    order in which the server executes them.
    """

    async def run(self) -> list[Any]:
        """Send everything collected since the last run, and wait for all outcomes.

        Returns:
            For each request, in order, its result or its `ZooKeeperError`; nothing is raised for a request.

        Raises:
            InvalidRequestError, RequestTooLargeError: an argument that no server accepts; requests in front of
                it may have been sent.
        """
        return await self._run()
