"""Making calls by a policy: what is repeated, what is found out by reading, and what is raised."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from ..errors import ConnectionLossError, NoNodeError, RequestTooLargeError, ZooKeeperError
from ..paths import Chroot
from ..session import Call
from ..wire import Exists, Failed, Multi, Request, Stat
from ._engine import Engine, Subscriber
from ._operations import full_path
from ._retry import RetryPolicy

__all__ = ["Caller", "Decide", "WhileSuspended"]

R = TypeVar("R")

WhileSuspended: TypeAlias = Literal["wait", "fail"]

Decide: TypeAlias = Callable[[Call[R]], Awaitable[R | None]]
"""Finds out what became of a write whose reply was lost: its result, or None to make it again, or an error."""

_REPEATED = "the reply to the transaction was lost, and repeating it was refused: perhaps because it was applied"
_BLAMED = "the server closed the connection on this request twice, so it is not sent again"


class Caller:
    """A view on an engine: a chroot and a policy. `Client` adds what users call."""

    def __init__(
        self,
        engine: Engine,
        chroot: Chroot,
        retry: RetryPolicy | None = None,
        while_suspended: WhileSuspended = "wait",
    ) -> None:
        self._engine = engine
        self._chroot = chroot
        self._retry = retry or RetryPolicy()
        self._fail_fast = while_suspended == "fail"

    def full_path(self, path: str) -> str:
        """The path of the server, with the chroot.

        Raises:
            InvalidPathError: there can be no such path.
        """
        return full_path(self._chroot, path)

    def _as_seen(self, error: ZooKeeperError) -> ZooKeeperError:
        """Name paths in an error as this client does."""
        if error.path is not None:
            error.path = self._chroot.to_client(error.path)
        return error

    async def _call(self, request: Request[R], watcher: Subscriber | None = None, decide: Decide[R] | None = None) -> R:
        try:
            call = await self._engine.call(request, watcher, fail_fast=self._fail_fast)
        except RequestTooLargeError as error:
            raise self._as_seen(error) from None
        if call.error is None:
            return call.result
        return await self._again(request, call, watcher, decide)

    async def _again(
        self, request: Request[R], call: Call[R], watcher: Subscriber | None, decide: Decide[R] | None
    ) -> R:
        """Repeat a call that has failed, or find out what became of it, as long as the policy says so."""
        runtime = self._engine.runtime
        policy = self._retry
        began = runtime.now()
        attempts, blamed = 1, call.blamed
        unknown = False
        while True:
            unknown = unknown or _unknown(call)
            elapsed = runtime.now() - began
            if policy.repeats(call, attempts, blamed, elapsed):
                if pause := policy.pause_before(call.error, attempts):
                    await runtime.sleep(pause)
            elif decide is not None and policy.decides(call, attempts, blamed, elapsed):
                result = await decide(call)
                if result is not None:
                    return result
                unknown = False
            else:
                break
            call = await self._engine.call(request, watcher, fail_fast=self._fail_fast)
            if call.error is None:
                if unknown and _refused(call):
                    # It may be an earlier attempt that stands in the way of this one.
                    raise ConnectionLossError(_REPEATED, maybe_applied=True)
                return call.result
            attempts += 1
            blamed += call.blamed
        assert call.error is not None
        # Whatever the last attempt met with, an earlier one may have had its effect.
        call.error.maybe_applied |= unknown
        if blamed > 1:
            call.error.add_note(_BLAMED)
        raise self._as_seen(call.error)

    async def _stat_of(self, full: str) -> Stat | None:
        """The Stat of a znode by its full path; None if there is none."""
        try:
            return await self._call(Exists(full))
        except NoNodeError:
            return None

    async def _call_twice(self, request: Request[R]) -> R:
        """Call what may happen twice, because "it exists" or "it is gone" is as good an answer."""
        return await Caller(self._engine, self._chroot, self._retry.twice(), self._while_suspended)._call(request)

    @property
    def _while_suspended(self) -> WhileSuspended:
        return "fail" if self._fail_fast else "wait"

    async def _run_batch(self, requests: Sequence[Request[Any]]) -> list[Call[Any]]:
        """Make many calls together; each comes back with its outcome."""
        engine, policy = self._engine, self._retry
        session, before = engine.session, engine.session.last_zxid
        try:
            calls = await engine.batch(requests, fail_fast=self._fail_fast)
        except RequestTooLargeError as error:
            raise self._as_seen(error) from None
        began = engine.runtime.now()
        attempts = 1
        while True:
            elapsed = engine.runtime.now() - began
            again = [
                i
                for i, call in enumerate(calls)
                if call.error is not None and policy.repeats(call, attempts, call.blamed, elapsed)
            ]
            # When the fate of one write is unknown, those behind it are not made: they may build on it.
            if not policy.repeat_unknown and any(map(_unknown, calls)):
                again = [i for i in again if requests[i].idempotent]
            # Nor may a write that was refused be made behind one that was to follow it.
            landed = max((i for i, call in enumerate(calls) if _landed(call)), default=-1)
            again = [i for i in again if requests[i].idempotent or i > landed]
            if not again:
                break
            try:
                if pause := max(policy.pause_before(calls[i].error, attempts) for i in again):
                    await engine.runtime.sleep(pause)
                fresh = await engine.batch([requests[i] for i in again], fail_fast=self._fail_fast)
            except BaseException:
                if engine.session is session:  # else nothing is left of what they made
                    engine.abandon(session, calls, before)
                raise
            for i, call in zip(again, fresh, strict=True):
                call.blamed += calls[i].blamed
                if call.error is not None:
                    call.error.maybe_applied |= _unknown(calls[i])
                calls[i] = call
            attempts += 1
        for call in calls:
            if call.error is not None and call.blamed > 1:
                call.error.add_note(_BLAMED)
        return calls


def _refused(call: Call[Any]) -> bool:
    """Whether a call is a transaction that failed."""
    return isinstance(call.request, Multi) and any(isinstance(each, Failed) for each in call.result)


def _landed(call: Call[Any]) -> bool:
    """Whether a call is a write that was applied."""
    return call.error is None and not call.request.idempotent


def _unknown(call: Call[Any]) -> bool:
    """Whether a write has failed that may have happened all the same."""
    return call.error is not None and call.error.maybe_applied and not call.request.idempotent
