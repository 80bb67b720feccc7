"""zk_trio, to be checked."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar, Unpack

import trio

import zk_trio
from zk_conformance import Function, Leftovers, first_error, stopped_at
from zk_sansio import Client, ClientSettings

T = TypeVar("T")

IDLE_THREADS = ("Trio thread",)
"""What trio keeps for some seconds, to look names up in."""


class TrioHarness:
    """zk_trio on trio."""

    cancels = True

    def run(self, check: Function[None], /) -> None:
        async def main() -> None:
            self._before = Leftovers()
            self._tasks = tasks()
            await check()

        trio.run(main)

    def open_client(
        self, hosts: str | Sequence[str], /, **settings: Unpack[ClientSettings]
    ) -> AbstractAsyncContextManager[Client]:
        return zk_trio.open_client(hosts, **settings)

    async def together(self, *functions: Function[object]) -> None:
        async def run(function: Function[object]) -> None:
            await function()

        try:
            async with trio.open_nursery() as nursery:
                for function in functions:
                    nursery.start_soon(run, function)
        except BaseExceptionGroup as group:
            raise first_error(group) from None

    async def sleep(self, seconds: float, /) -> None:
        await trio.sleep(seconds)

    async def within(self, seconds: float, function: Function[T], /) -> T:
        with trio.move_on_after(seconds):
            return await function()
        raise TimeoutError(f"it took longer than {seconds} s")

    async def interrupt(self, step: int, function: Function[object], /) -> bool:
        with trio.CancelScope() as scope:
            return await stopped_at(step, function, scope.cancel)
        return True

    def leftovers(self) -> list[str]:
        added = [f"task {task.name}" for task in tasks() - self._tasks]
        return added + self._before.added(but_threads=IDLE_THREADS)


def tasks() -> set[trio.lowlevel.Task]:
    """All tasks of this run."""
    found: set[trio.lowlevel.Task] = set()
    root = trio.lowlevel.current_root_task()
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        found.add(task)
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found
