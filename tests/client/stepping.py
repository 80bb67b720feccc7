"""A runtime and a session moved by hand: no event loop, no socket, no clock."""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import Coroutine, Generator
from contextlib import AbstractContextManager, nullcontext
from types import coroutine
from typing import Any, Generic, TypeVar

from tests.support.peer import PASSWORD, buffer
from zk_sansio.client import CancelScope, Engine, OnExpiry, RetryPolicy
from zk_sansio.paths import Chroot
from zk_sansio.recipes import Client
from zk_sansio.session import Dial, HostPort, Session, SessionOptions, Waitable
from zk_sansio.wire import Request, decode_request

T = TypeVar("T")


@coroutine
def _suspend() -> Generator[None, None, None]:
    yield


class Task(Generic[T]):
    """A coroutine that runs as far as it can each time the runtime gets to it.

    Attributes:
        steps: how often it ran.
        done: whether it has ended.
    """

    def __init__(self, body: Coroutine[Any, Any, T]) -> None:
        self.body = body
        self.steps = 0
        self.done = False
        self._result: T
        self.error: BaseException | None = None

    def step(self) -> None:
        self.steps += 1
        self._go(lambda: self.body.send(None))

    def cancel(self) -> None:
        """Raise in the coroutine, where it waits."""
        self._go(lambda: self.body.throw(KeyboardInterrupt()))

    def _go(self, resume: Any) -> None:
        try:
            resume()
        except StopIteration as end:
            self._result, self.done = end.value, True
        except BaseException as error:
            self.error, self.done = error, True

    @property
    def result(self) -> T:
        assert self.done, "it still waits"
        if self.error is not None:
            raise self.error
        return self._result


class StepRuntime:
    """The port of `zk_sansio.client.Runtime`; `run` lets everybody go on who was woken."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self.flushes = self.nudges = self.checkpoints = 0
        self._ready: deque[Task[Any]] = deque()
        self._current: Task[Any] | None = None

    def start(self, body: Coroutine[Any, Any, T]) -> Task[T]:
        task = Task(body)
        self._ready.append(task)
        self.run()
        return task

    def run(self) -> None:
        while self._ready:
            self._current = self._ready.popleft()
            self._current.step()
        self._current = None

    def now(self) -> float:
        return self.time

    def nonce(self) -> bytes:
        return bytes(range(16))

    def flush(self) -> None:
        self.flushes += 1

    def nudge(self) -> None:
        self.nudges += 1

    async def wait(self, waitable: Waitable, /) -> None:
        assert waitable.waiter is None
        waitable.waiter = self._current
        try:
            await _suspend()
        finally:
            waitable.waiter = None

    def wake(self, waitable: Waitable, /) -> None:
        if waitable.waiter is not None:
            self._ready.append(waitable.waiter)
            waitable.waiter = None

    async def sleep(self, seconds: float, /) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def cancel_scope(self) -> CancelScope:
        raise NotImplementedError

    def shielded(self, seconds: float, /) -> AbstractContextManager[None]:
        return nullcontext()

    async def checkpoint(self) -> None:
        self.checkpoints += 1


class Bench:
    """An engine on a connection of which the test is the server."""

    def __init__(
        self,
        options: SessionOptions | None = None,
        *,
        chroot: str = "",
        retry: RetryPolicy | None = None,
        on_expiry: OnExpiry = "renew",
        connected: bool = True,
    ) -> None:
        self.runtime = StepRuntime()
        session = Session([HostPort("10.0.0.1")], options or SessionOptions(), random.Random(1))
        self.engine = Engine(session, self.runtime, on_expiry)
        self.client = Client(self.engine, Chroot(chroot), retry)
        self.zxid = 100
        self._xids: deque[int] = deque()
        if connected:
            self.connect()

    @property
    def session(self) -> Session:
        return self.engine.session

    def start(self, body: Coroutine[Any, Any, T]) -> Task[T]:
        return self.runtime.start(body)

    def connect(self, session_id: int = 0x77, timeout_ms: int = 10_000) -> None:
        """Dial and shake hands; a timeout of 0 says that the session has expired."""
        self.runtime.time = max(self.runtime.time, self.session.next_timeout())
        while not isinstance(attempt := self.session.next_attempt(self.runtime.time), Dial):
            self.runtime.time += 0.1
        assert self.session.connection_made(attempt, self.runtime.time)
        self.session.data_to_send(self.runtime.time)
        self.feed(struct.pack(">iiq", 0, timeout_ms, session_id) + buffer(PASSWORD) + b"\0")

    def feed(self, payload: bytes) -> None:
        """One frame from the server."""
        self.session.receive_data(struct.pack(">i", len(payload)) + payload, self.runtime.time)
        self.deliver()

    def deliver(self) -> None:
        self.engine.deliver()
        self.runtime.run()

    def hang_up(self) -> None:
        """The server closes the connection."""
        self._xids.clear()
        self.session.receive_data(b"", self.runtime.time)
        self.deliver()

    def sent(self) -> list[Request[Any]]:
        """Everything that was queued: it is handed over now."""
        data = self.session.data_to_send(self.runtime.time)
        self.engine.let_in()
        self.runtime.run()
        requests = []
        while data:
            end = 4 + int.from_bytes(data[:4], "big")
            xid, request = decode_request(data[4:end])
            requests.append(request)
            if xid > 0:
                self._xids.append(xid)
            data = data[end:]
        return requests

    def reply(self, record: bytes = b"", code: int = 0) -> None:
        """Answer the oldest request."""
        self.zxid += 1
        self.feed(struct.pack(">iqi", self._xids.popleft(), self.zxid, code) + record)

    def notify(self, kind: int, path: str, zxid: int = -1) -> None:
        self.feed(struct.pack(">iqiii", -1, zxid, 0, kind, 3) + buffer(path.encode()))
