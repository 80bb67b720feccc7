"""zk_trio: tasks that await one call each, and the pipeline."""

from __future__ import annotations

import trio

import zk_trio as zk

from .slots import Meter, Result, Slot
from .ways import drive_tasks, filled

__all__ = ["run"]


def run(slot: Slot) -> Result:
    """Take the turn."""
    return trio.run(_run, slot)


async def _run(slot: Slot) -> Result:
    meter = Meter(slot)
    async with zk.open_client(f"{slot.host}:{slot.port}", session_timeout=30) as client:
        await drive_tasks(meter, client, lambda: filled(client.pipeline(), slot.path).run(), trio.open_nursery)
    return meter.result
