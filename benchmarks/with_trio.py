"""zk_trio: tasks that await one call each, and the pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count as count_up
from time import perf_counter

import trio

import zk_trio as zk

from .slots import OUTSTANDING, PIPELINE, Meter, Result, Slot, name_of

__all__ = ["run"]


def run(slot: Slot) -> Result:
    """Take the turn."""
    return trio.run(_run, slot)


async def _run(slot: Slot) -> Result:
    meter = Meter(slot)
    async with zk.open_client(f"{slot.host}:{slot.port}", session_timeout=30) as client:
        numbers = count_up()
        data = bytes(slot.size)
        path = slot.path

        async def get(times: int) -> None:
            for _ in range(times):
                await client.get(path)

        async def put(times: int) -> None:
            for _ in range(times):
                await client.set(path, data)

        async def create(times: int) -> None:
            for _ in range(times):
                await client.create(f"{path}/{name_of(next(numbers))}", data)

        async def pipelines(times: int) -> None:
            for _ in range(times // PIPELINE):
                pipeline = client.pipeline()
                for _ in range(PIPELINE):
                    pipeline.get(path)
                await pipeline.run()

        async def at_once(times: int) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(OUTSTANDING):
                    nursery.start_soon(operation, times // OUTSTANDING)

        operation: Callable[[int], Awaitable[None]] = {"get": get, "set": put, "create": create}[slot.operation]
        way = {"sequence": operation, "window": at_once, "pipeline": pipelines}[slot.way]
        for count in meter.counts():
            await way(count)
        for _ in range(meter.latency_count()):
            before = perf_counter()
            await operation(1)
            meter.result.latencies.append(perf_counter() - before)
        meter.result.made = next(numbers)
    return meter.result
