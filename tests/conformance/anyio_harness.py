"""zk_anyio on each of its event loops, to be checked."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, Unpack

import anyio

import zk_anyio
from tests.conformance.trio_harness import tasks as tasks_of_trio
from zk_conformance import Function, Leftovers, first_error, stopped_at
from zk_sansio import Client, ClientSettings

T = TypeVar("T")

IDLE_THREADS = ("Trio thread", "asyncio_")
"""What the event loops keep for some time, to look names up in."""


class AnyioHarness:
    """zk_anyio on one event loop.

    Args:
        backend: of anyio.
        options: its options.
    """

    cancels = True

    def __init__(self, backend: str, **options: Any) -> None:
        self._backend = backend
        self._options = options
        self._unheard: list[str] = []

    def run(self, check: Function[None], /) -> None:
        async def main() -> None:
            if self._backend == "asyncio":
                asyncio.get_running_loop().set_exception_handler(self._hear)
            self._before = Leftovers()
            self._tasks = self._all_tasks()
            await check()

        anyio.run(main, backend=self._backend, backend_options=self._options)
        assert self._unheard == []

    def _hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._unheard.append(repr(context))

    def open_client(
        self, hosts: str | Sequence[str], /, **settings: Unpack[ClientSettings]
    ) -> AbstractAsyncContextManager[Client]:
        return zk_anyio.open_client(hosts, **settings)

    async def together(self, *functions: Function[object]) -> None:
        async def run(function: Function[object]) -> None:
            await function()

        try:
            async with anyio.create_task_group() as group:
                for function in functions:
                    group.start_soon(run, function)
        except BaseExceptionGroup as group_of_errors:
            raise first_error(group_of_errors) from None

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(seconds)

    async def within(self, seconds: float, function: Function[T], /) -> T:
        with anyio.move_on_after(seconds):
            return await function()
        raise TimeoutError(f"it took longer than {seconds} s")

    async def interrupt(self, step: int, function: Function[object], /) -> bool:
        if self._backend == "asyncio":
            # Each wait counts twice: its task is cancelled before it is woken, or after.
            step, late = divmod(step, 2)
            if late:
                return await stopped_late(step, function)
        with anyio.CancelScope() as scope:
            return await stopped_at(step, function, scope.cancel)
        return True

    def leftovers(self) -> list[str]:
        added = [f"task {task!r}" for task in self._all_tasks() - self._tasks]
        return added + self._before.added(but_threads=IDLE_THREADS) + self._unheard

    def _all_tasks(self) -> set[Any]:
        return {*asyncio.all_tasks()} if self._backend == "asyncio" else {*tasks_of_trio()}


async def stopped_late(step: int, function: Function[object]) -> bool:
    """Cancel as anybody may on asyncio, without a scope, and when what is waited for is there already."""
    task = asyncio.current_task()
    assert task is not None
    cancelled = 0

    def cancel() -> None:
        nonlocal cancelled
        cancelled += task.cancel()

    try:
        return await stopped_at(step, function, cancel, late=True)
    except asyncio.CancelledError:
        if not cancelled:
            raise
        return True
    finally:
        if cancelled:
            task.uncancel()
