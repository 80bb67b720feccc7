"""zk_blocking: calls of one thread, calls of several, and the pipeline."""

from __future__ import annotations

import zk_blocking as zk

from .slots import Meter, Result, Slot
from .ways import drive, filled

__all__ = ["run"]


def run(slot: Slot) -> Result:
    """Take the turn."""
    meter = Meter(slot)
    with zk.open_client(f"{slot.host}:{slot.port}", session_timeout=30) as client:
        drive(meter, client, lambda: filled(client.pipeline(), slot.path).run())
    return meter.result
