"""zk_anyio on the event loop that the contender's name says: tasks that await one call each, and the pipeline."""

from __future__ import annotations

import anyio

import zk_anyio as zk

from .slots import Meter, Result, Slot, loop_of
from .ways import drive_tasks, filled

__all__ = ["run"]


def run(slot: Slot) -> Result:
    """Take the turn."""
    loop = loop_of(slot.contender)
    if loop == "trio":
        return anyio.run(_run, slot, backend="trio")
    return anyio.run(_run, slot, backend_options={"use_uvloop": loop == "uvloop"})


async def _run(slot: Slot) -> Result:
    meter = Meter(slot)
    async with zk.open_client(f"{slot.host}:{slot.port}", session_timeout=30) as client:
        await drive_tasks(meter, client, lambda: filled(client.pipeline(), slot.path).run(), anyio.create_task_group)
    return meter.result
