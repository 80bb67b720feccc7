"""kazoo, as a program would use it that wants to be fast.

Many at once are its ``*_async`` calls: there are always as many outstanding as the tasks of the others, and each
result that the program takes, in their order, is followed by one new request. A thread for each call that blocks
would be slower still.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count as count_up
from typing import Any

from kazoo.client import KazooClient

from .slots import OUTSTANDING, PIPELINE, Meter, Result, Slot, name_of

__all__ = ["run"]


def run(slot: Slot) -> Result:
    """Take the turn."""
    meter = Meter(slot)
    client: Any = KazooClient(hosts=f"{slot.host}:{slot.port}", timeout=30)
    client.start()
    try:
        numbers = count_up()
        data = bytes(slot.size)
        path = slot.path
        blocking: Callable[[], Any] = {
            "get": lambda: client.get(path),
            "set": lambda: client.set(path, data),
            "create": lambda: client.create(f"{path}/{name_of(next(numbers))}", data),
        }[slot.operation]
        begin: Callable[[], Any] = {
            "get": lambda: client.get_async(path),
            "set": lambda: client.set_async(path, data),
            "create": lambda: client.create_async(f"{path}/{name_of(next(numbers))}", data),
        }[slot.operation]

        def one_by_one(times: int) -> None:
            for _ in range(times):
                blocking()

        def at_once(times: int) -> None:
            outstanding = deque(begin() for _ in range(OUTSTANDING))
            for _ in range(times - OUTSTANDING):
                outstanding.popleft().get()
                outstanding.append(begin())
            for result in outstanding:
                result.get()

        def pipelines(times: int) -> None:
            for _ in range(times // PIPELINE):
                results = [begin() for _ in range(PIPELINE)]
                for result in results:
                    result.get()

        way = {"sequence": one_by_one, "window": at_once, "pipeline": pipelines}[slot.way]
        for count in meter.counts():
            way(count)
        meter.timed(blocking)
        meter.result.made = next(numbers)
    finally:
        client.stop()
        client.close()
    return meter.result
