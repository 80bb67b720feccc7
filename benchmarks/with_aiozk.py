"""aiozk on asyncio or uvloop: tasks that await one call each.

It has no pipeline; `asyncio.gather` of as many calls is the nearest that it offers. The loop and the tasks are
started by anyio, so that nothing but the client differs from `with_anyio`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import anyio

from .slots import PIPELINE, Meter, Result, Slot, loop_of
from .ways import drive_tasks

__all__ = ["run"]

aiozk: Any = import_module("aiozk")  # it has no types


def run(slot: Slot) -> Result:
    """Take the turn."""
    return anyio.run(_run, slot, backend_options={"use_uvloop": loop_of(slot.contender) == "uvloop"})


async def _run(slot: Slot) -> Result:
    meter = Meter(slot)
    client = aiozk.ZKClient(f"{slot.host}:{slot.port}", session_timeout=30)
    await client.start()
    try:
        calls: Any = SimpleNamespace(get=client.get, set=partial(client.set, version=-1), create=client.create)

        def pipeline() -> Awaitable[object]:
            return asyncio.gather(*[client.get(slot.path) for _ in range(PIPELINE)])

        await drive_tasks(meter, calls, pipeline, anyio.create_task_group)
    finally:
        await client.close()
    return meter.result
