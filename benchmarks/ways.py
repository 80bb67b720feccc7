"""The ways to ask, written once for all clients with tasks, and once for all that block."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from typing import Any, Protocol, TypeVar

from .slots import OUTSTANDING, PIPELINE, THREADS, Calls, Meter, Way

__all__ = ["Tasks", "drive", "drive_tasks", "filled"]


class _Pipeline(Protocol):
    def get(self, path: str) -> object: ...


class Tasks(Protocol):
    """What starts tasks: a trio nursery, or a task group of anyio."""

    def start_soon(self, function: Callable[[int], Coroutine[Any, Any, None]], times: int, /) -> object: ...


P = TypeVar("P", bound=_Pipeline)


def filled(pipeline: P, path: str) -> P:
    """The pipeline, with all its requests in it."""
    for _ in range(PIPELINE):
        pipeline.get(path)
    return pipeline


def drive(meter: Meter, calls: Calls[object], pipeline: Callable[[], object], **others: Callable[[int], None]) -> None:
    """Take the turn of a client that blocks.

    Args:
        meter: of the turn.
        calls: of the client.
        pipeline: do one.
        **others: further ways, which do as many operations as they are told.
    """
    operation = meter.operation(calls)

    def in_sequence(times: int) -> None:
        for _ in range(times):
            operation()

    def in_threads(times: int) -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            for done in [threads.submit(in_sequence, times // THREADS) for _ in range(THREADS)]:
                done.result()

    def pipelines(times: int) -> None:
        for _ in range(times // PIPELINE):
            pipeline()

    ways: dict[str, Callable[[int], None]] = {"sequence": in_sequence, "threads": in_threads, "pipeline": pipelines}
    way = (ways | others)[meter.slot.way]
    for count in meter.counts():
        way(count)
    meter.timed(operation)


async def drive_tasks(
    meter: Meter,
    calls: Calls[Awaitable[object]],
    pipeline: Callable[[], Awaitable[object]],
    tasks: Callable[[], AbstractAsyncContextManager[Tasks]],
) -> None:
    """Take the turn of a client with tasks.

    Args:
        meter: of the turn.
        calls: of the client.
        pipeline: do one.
        tasks: opens what the tasks belong to.
    """
    operation = meter.operation(calls)

    async def in_sequence(times: int) -> None:
        for _ in range(times):
            await operation()

    async def at_once(times: int) -> None:
        async with tasks() as group:
            for _ in range(OUTSTANDING):
                group.start_soon(in_sequence, times // OUTSTANDING)

    async def pipelines(times: int) -> None:
        for _ in range(times // PIPELINE):
            await pipeline()

    ways: dict[Way, Callable[[int], Awaitable[None]]] = {
        "sequence": in_sequence,
        "window": at_once,
        "pipeline": pipelines,
    }
    way = ways[meter.slot.way]
    for count in meter.counts():
        await way(count)
    for _ in range(meter.latency_count()):
        before = perf_counter()
        await operation()
        meter.result.latencies.append(perf_counter() - before)
