"""Event loops, each with the adapter for it: what they serve has the same names, so a test is written once."""

from __future__ import annotations

import gc
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import anyio
import trio
from trio.testing import MockClock

import zk_anyio.testing
import zk_trio.testing
from tests.support.peer import string
from tests.support.raw import GET_DATA

T = TypeVar("T")
LIMIT = 20.0


class Kind(NamedTuple):
    """An event loop, and the adapter for it."""

    zk: ModuleType
    backend: str
    options: dict[str, Any]

    @property
    def testing(self) -> ModuleType:
        """Its servers."""
        found: ModuleType = self.zk.testing
        return found

    def run(self, function: Callable[[], Awaitable[T]], *, jumps: bool = False) -> T:
        """Run a function to its end; no task is left.

        Args:
            function: which.
            jumps: on trio, let the clock jump whenever there is nothing to do; sockets must not be in use.
        """
        options = self.options
        if jumps and self.backend == "trio":
            options = {**options, "clock": MockClock(autojump_threshold=0)}
        result = anyio.run(partial(self._main, function), backend=self.backend, backend_options=options)
        gc.collect()
        return result

    async def _main(self, function: Callable[[], Awaitable[T]]) -> T:
        before = len(anyio.get_running_tasks()) if self.backend == "asyncio" else trio_tasks()
        with anyio.fail_after(LIMIT):
            result = await function()
        assert (len(anyio.get_running_tasks()) if self.backend == "asyncio" else trio_tasks()) == before
        return result


def trio_tasks() -> int:
    """How many tasks there are."""
    return trio.lowlevel.current_statistics().tasks_living


KINDS = {
    "trio": Kind(zk_trio, "trio", {}),
    "anyio-asyncio": Kind(zk_anyio, "asyncio", {}),
    "anyio-uvloop": Kind(zk_anyio, "asyncio", {"use_uvloop": True}),
    "anyio-trio": Kind(zk_anyio, "trio", {}),
}


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds that happens elsewhere."""
    with anyio.fail_after(LIMIT / 2):
        while not condition():
            await anyio.sleep(0.001)


# --- raw sockets


def framed(payload: bytes) -> bytes:
    """A frame."""
    return struct.pack(">i", len(payload)) + payload


HELLO = framed(struct.pack(">iqiqi16s?", 0, 0, 10_000, 0, 16, bytes(16), False))
"""The handshake of a new session."""


def get_frame(path: str, xid: int = 1, *, watch: bool = False) -> bytes:
    """A request for data."""
    return framed(struct.pack(">ii", xid, GET_DATA) + string(path) + struct.pack(">?", watch))


def dial(hosts: str) -> socket.socket:
    """Connect to the first server."""
    host, _, port = hosts.partition(",")[0].rpartition(":")
    return socket.create_connection((host, int(port)), LIMIT)


def read_frame(sock: socket.socket) -> bytes:
    """Read one frame, without its length."""
    (length,) = struct.unpack(">i", read_exactly(sock, 4))
    return read_exactly(sock, length)


def read_exactly(sock: socket.socket, count: int) -> bytes:
    """Read so many bytes."""
    found = bytearray()
    while len(found) < count:
        data = sock.recv(count - len(found))
        if not data:
            raise EOFError
        found += data
    return bytes(found)


def at_end(sock: socket.socket) -> bool:
    """Read to the end of the stream; it must come."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    return True
