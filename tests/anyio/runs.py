"""Event loops to run a test in, servers played in a thread of their own, and cancelling at a chosen await."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio
import trio

from tests.support.peer import CLOSE_SESSION, ScriptedListener, ScriptedServer, buffer, string
from tests.support.peer import stat as packed_stat

T = TypeVar("T")
Function = Callable[[], Awaitable[T]]
Script = Callable[[ScriptedListener], Awaitable[object]]

LIMIT = 20.0
CREATE, DELETE, GET, SET = 1, 2, 4, 5


class Backend(NamedTuple):
    """An event loop; behind what it runs there must be no task, and nothing that only the loop hears of."""

    name: str
    options: dict[str, Any]

    def run(self, function: Function[T], *, limit: float = LIMIT) -> T:
        """Run a function to its end."""
        noise: list[Any] = []
        if self.name == "trio":
            result = anyio.run(self._on_trio, function, limit, backend="trio")
        else:
            result = anyio.run(
                self._on_asyncio, function, limit, noise, backend=self.name, backend_options=self.options
            )
        gc.collect()
        assert not noise
        return result

    async def _on_asyncio(self, function: Function[T], limit: float, noise: list[Any]) -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
        with anyio.fail_after(limit):
            result = await function()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    async def _on_trio(self, function: Function[T], limit: float) -> T:
        before = trio.lowlevel.current_statistics().tasks_living
        with anyio.fail_after(limit):
            result = await function()
        assert trio.lowlevel.current_statistics().tasks_living == before
        return result


ASYNCIO = Backend("asyncio", {})
UVLOOP = Backend("asyncio", {"use_uvloop": True})
TRIO = Backend("trio", {})
NAMES = {"asyncio": ASYNCIO, "uvloop": UVLOOP, "trio": TRIO}


def sockets() -> set[tuple[int, int]]:
    """The open sockets of this process, by number and identity."""
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # the one that listing has used
        if stat.S_ISSOCK(status.st_mode):
            found.add((int(name), status.st_ino))
    return found


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds that happens elsewhere."""
    with anyio.fail_after(LIMIT / 2):
        while not condition():
            await anyio.sleep(0.005)


# --- servers


@contextmanager
def peer(script: Script) -> Iterator[str]:
    """A port where *script* plays the server, in a thread of its own; it must end by itself."""
    ports: list[str] = []
    errors: list[BaseException] = []
    listening = threading.Event()

    async def main() -> None:
        with trio.fail_after(LIMIT):
            async with ScriptedListener() as listener:
                ports.append(listener.hosts)
                listening.set()
                await script(listener)

    def serve() -> None:
        try:
            trio.run(main)
        except BaseException as error:
            errors.append(error)
            listening.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        listening.wait()
        yield ports[0]
    finally:
        thread.join()
    if errors:
        raise errors[0]


async def obey(server: ScriptedServer) -> None:
    """Accept a session, and answer reads and writes of one value until its end."""
    value: bytes | None = b""
    await server.accept_session()
    while True:
        try:
            request = await server.read_request()
        except (EOFError, trio.BrokenResourceError):
            break
        if request.op == SET:
            value = request.body[4 + len(request.path()) + 4 : -4]
        made = string(request.path()) if request.op == CREATE else b""
        body = {GET: buffer(value) + packed_stat(), SET: packed_stat(), CREATE: made}.get(request.op, b"")
        await server.reply(request.xid, 1, 0, body)
        if request.op == CLOSE_SESSION:
            break
    await server.aclose()


def obeying(connections: int = 1) -> Script:
    """A script that serves so many connections, one after the other."""

    async def script(listener: ScriptedListener) -> None:
        for _ in range(connections):
            async with await listener.accept() as server:
                await obey(server)

    return script


# --- cancelling


class How(Enum):
    """A way to cancel a task that waits."""

    SCOPE = auto()
    """By a cancel scope of anyio, again and again until the scope is left."""

    NATIVE = auto()
    """By `asyncio.Task.cancel`, once."""

    WOKEN = auto()
    """By `asyncio.Task.cancel`, once, when what it waits for is there but the task has not run yet."""


async def interrupted(step: int, how: How, function: Function[object]) -> bool:
    """Run a function that is cancelled when it waits for the *step*-th time; return whether it waited so often."""
    if how is How.SCOPE:
        with anyio.CancelScope() as scope:
            stepping = _Stepping(step, function, lambda _: scope.cancel())
            await stepping
        return stepping.suspended > step
    task = asyncio.current_task()
    assert task is not None

    def cancel_now(_: object) -> None:
        task.cancel()

    def cancel_when_woken(suspension: Any) -> None:
        if suspension is None:
            task.cancel()
        else:
            suspension.add_done_callback(cancel_now)

    stepping = _Stepping(step, function, cancel_now if how is How.NATIVE else cancel_when_woken)
    try:
        await stepping
    except asyncio.CancelledError:
        assert task.uncancel() == 0
    return stepping.suspended > step


class _Stepping:
    """Drives a function from one suspension to the next, and passes each on to the event loop."""

    def __init__(self, step: int, function: Function[object], cancel: Callable[[Any], object]) -> None:
        self._step = step
        self._function = function
        self._cancel = cancel
        self.suspended = 0

    def __await__(self) -> Generator[Any, Any, None]:
        driven: Any = self._function().__await__()
        resume: Callable[[], Any] = partial(next, driven)
        while True:
            try:
                suspension = resume()
            except StopIteration:
                return
            if self.suspended == self._step:
                self._cancel(suspension)
            self.suspended += 1
            try:
                answer = yield suspension
            except BaseException as error:
                resume = partial(driven.throw, error)
            else:
                resume = partial(driven.send, answer)
