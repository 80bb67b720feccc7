"""kazoo, as a program would use it that wants to be fast.

Many at once are its ``*_async`` calls: there are always as many outstanding as the tasks of the others, and each
result that the program takes, in their order, is followed by one new request. A thread for each call that blocks
would be slower still; a few threads have a row of their own.
"""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

from kazoo.client import KazooClient

from .slots import OUTSTANDING, PIPELINE, Meter, Result, Slot
from .ways import drive

__all__ = ["run"]


def run(slot: Slot) -> Result:
    """Take the turn."""
    meter = Meter(slot)
    client: Any = KazooClient(hosts=f"{slot.host}:{slot.port}", timeout=30)
    client.start()
    try:
        calls: Any = SimpleNamespace(get=client.get_async, set=client.set_async, create=client.create_async)
        begin = meter.operation(calls)

        def at_once(times: int) -> None:
            outstanding = deque(begin() for _ in range(OUTSTANDING))
            for _ in range(times - OUTSTANDING):
                outstanding.popleft().get()
                outstanding.append(begin())
            for result in outstanding:
                result.get()

        def pipeline() -> None:
            results = [begin() for _ in range(PIPELINE)]
            for result in results:
                result.get()

        drive(meter, client, pipeline, window=at_once)
    finally:
        client.stop()
        client.close()
    return meter.result
