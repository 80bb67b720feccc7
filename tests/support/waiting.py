"""Waiting with a limit, for things that happen in real time elsewhere."""

import time
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")
LIMIT = 10.0


def eventually(condition: Callable[[], object], timeout: float = LIMIT, *, pause: float = 0.01) -> None:
    """Wait until *condition* holds.

    Raises:
        TimeoutError: It did not in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not hold within {timeout} s")
        time.sleep(pause)


async def eventually_async(condition: Callable[[], object], *, pause: float = 0.01) -> None:
    """Wait until *condition* holds, while other tasks run; it must not block. Not for a mock clock.

    Raises:
        TimeoutError: It did not within `LIMIT` seconds.
    """
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not hold within {LIMIT} s")
        await trio.sleep(pause)


async def blocking(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call, such as `server.restart`, in a thread, while other tasks run."""
    return await trio.to_thread.run_sync(partial(call, *args, **kwargs))
