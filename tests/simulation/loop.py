"""A virtual clock, an event queue, and small tasks over it. Everything that is drawn comes from one generator.

Nothing here looks at a real clock, at an address in memory or at the hash of a string: the same seed gives the
same run, to the last callback.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from random import Random
from types import TracebackType, coroutine
from typing import Any, Self, TypeAlias

Timer: TypeAlias = list[Any]
"""When, a tie breaker, a number, what to call, its arguments; not called once the fourth is None."""


class Cancelled(BaseException):
    """Raised where a cancelled task waits."""


@coroutine
def _suspend() -> Generator[None, None, None]:
    yield


class Loop:
    """The event queue.

    Attributes:
        now: the true time; no process sees it but through its own clock.
        random: where everything comes from.
        current: the task that runs.
        events: how many callbacks there were.
        failure: what ends the run; whoever finds it may be deep inside of what is tested.
    """

    __slots__ = ("_heap", "_number", "current", "events", "failure", "now", "random")

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = 0.0
        self.events = 0
        self.current: Task | None = None
        self.failure: Exception | None = None
        self._heap: list[Timer] = []
        self._number = 0

    def at(self, when: float, what: Callable[..., object], *args: Any, tie: float = 0.0) -> Timer:
        """Call *what* at a time, or now if that is past; those of one time in the order of *tie*, then of asking."""
        self._number += 1
        timer: Timer = [max(self.now, when), tie, self._number, what, args]
        heappush(self._heap, timer)
        return timer

    def again(self, timer: Timer, when: float, what: Callable[..., object]) -> None:
        """Put a timer that was due off; whoever holds it can still stop it."""
        self._number += 1
        timer[0], timer[2], timer[3] = when, self._number, what
        heappush(self._heap, timer)

    @staticmethod
    def stop(timer: Timer | None) -> None:
        """Do not call it."""
        if timer is not None:
            timer[3] = None

    def run(self, until: float, *, done: Callable[[], bool] | None = None) -> bool:
        """Call what is due up to a time, or until *done*; return whether it is done."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            timer = heappop(heap)
            what = timer[3]
            if what is None:
                continue
            timer[3] = None
            self.now = timer[0]
            self.events += 1
            what(*timer[4])
            if self.failure is not None:
                raise self.failure
            if done is not None and done():
                return True
        self.now = max(self.now, until)
        return done is not None and done()

    async def park(self, abort: Callable[[], object]) -> None:
        """Wait until the task is rescheduled; *abort* undoes the waiting when the task is cancelled."""
        task = self.current
        assert task is not None
        task.park(abort)
        await _suspend()


class Process:
    """What shares one clock and one fate: it may be slow, stop for a while, or die.

    Args:
        loop: the event queue.
        name: for the trace.
        rate: seconds on its clock for each true one.
        offset: what its clock shows at the beginning.
        lag: the most seconds that a task waits before it goes on.

    Attributes:
        dead: whether it was killed.
        paused_until: the true time at which it goes on; all its callbacks are late by then.
        tasks: those that run.
    """

    def __init__(self, loop: Loop, name: str, *, rate: float = 1.0, offset: float = 0.0, lag: float = 0.0) -> None:
        self.loop = loop
        self.name = name
        self.rate = rate
        self.offset = offset
        self.lag = lag
        self.dead = False
        self.paused_until = 0.0
        self.tasks: list[Task] = []
        self._names = 0

    def next_name(self) -> str:
        """A name for something in it."""
        self._names += 1
        return f"{self.name}-{self._names}"

    def clock(self) -> float:
        """The time as it sees it."""
        return self.offset + self.loop.now * self.rate

    def true_time(self, local: float) -> float:
        """When its clock shows *local*; a little later, so that rounding does not make it early."""
        return (local - self.offset) / self.rate + 1e-6

    @property
    def paused(self) -> bool:
        return self.loop.now < self.paused_until

    def at(self, when: float, what: Callable[..., object], *args: Any, tie: float = 0.0) -> Timer:
        """Call *what* at a true time, unless the process does not run by then."""
        timer = self.loop.at(when, self._run, tie=tie)
        timer[4] = (timer, what, args)
        return timer

    def soon(self, what: Callable[..., object], *args: Any) -> Timer:
        """Call *what* as soon as the process runs."""
        return self.at(self.loop.now, what, *args)

    def _run(self, timer: Timer, what: Callable[..., object], args: tuple[Any, ...]) -> None:
        if self.dead:
            return
        if self.loop.now < self.paused_until:
            self.loop.again(timer, self.paused_until, self._run)
        else:
            what(*args)

    def start(self, body: Coroutine[Any, Any, Any], name: str, ended: Callable[[Task], object]) -> Task:
        """Run a coroutine; *ended* hears of its end."""
        task = Task(self, body, name, ended)
        self.tasks.append(task)
        task.reschedule()
        return task

    def kill(self) -> None:
        """Stop for ever. What its tasks hold is dropped where they stand, without clean-up."""
        self.dead = True

    async def sleep(self, seconds: float) -> None:
        """Wait on this process's clock."""
        task = self.loop.current
        assert task is not None
        timer = self.at(self.true_time(self.clock() + seconds), task.reschedule)
        await self.loop.park(lambda: Loop.stop(timer))

    async def checkpoint(self) -> None:
        """Let others run."""
        task = self.loop.current
        assert task is not None
        timer = self.at(self.loop.now, task.reschedule)
        await self.loop.park(lambda: Loop.stop(timer))


class Task:
    """A coroutine that runs by itself.

    Attributes:
        done: whether it has ended.
        result: what it returned.
        error: what it raised.
        steps: how often it has waited.
        scopes: the cancel scopes that it is in, the innermost last.
    """

    __slots__ = ("_abort", "_body", "_ended", "done", "error", "name", "process", "result", "scopes", "steps")

    def __init__(
        self, process: Process, body: Coroutine[Any, Any, Any], name: str, ended: Callable[[Task], object]
    ) -> None:
        self.process = process
        self.name = name
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.steps = 0
        self.scopes: list[Scope] = []
        self._body = body
        self._ended = ended
        self._abort: Callable[[], object] | None = None

    def park(self, abort: Callable[[], object]) -> None:
        """Note that it waits; the loop calls this."""
        self.steps += 1
        self._abort = abort
        for scope in self.scopes:
            scope.step()
        self.poke()

    @property
    def cancelled(self) -> bool:
        """Whether it is to be cancelled where it waits."""
        for scope in reversed(self.scopes):
            if scope.cancel_called:
                return True
            if scope.shield:
                return False
        return False

    def poke(self) -> None:
        """Raise in it if it waits and is cancelled."""
        if self._abort is not None and self.cancelled:
            self._abort()
            self.reschedule(Cancelled())

    def reschedule(self, error: BaseException | None = None) -> None:
        """Let it go on, among all those that may, in any order."""
        self._abort = None
        process = self.process
        random = process.loop.random.random
        late = process.lag * random() ** 4 if process.lag else 0.0
        process.at(process.loop.now + late, self._go, error, tie=random())

    def _go(self, error: BaseException | None) -> None:
        loop = self.process.loop
        before, loop.current = loop.current, self
        try:
            if error is None:
                self._body.send(None)
            else:
                self._body.throw(error)
            return
        except StopIteration as end:
            self.result = end.value
        except BaseException as failure:
            self.error = failure
        finally:
            loop.current = before
        self.done = True
        self.process.tasks.remove(self)
        self._ended(self)

    def where(self) -> str:
        """Where it waits, from the outside in."""
        names: list[str] = []
        inner: Any = self._body
        while inner is not None:
            code = getattr(inner, "cr_code", None) or getattr(inner, "ag_code", None)
            frame = getattr(inner, "cr_frame", None) or getattr(inner, "ag_frame", None)
            if code is not None and frame is not None:
                names.append(f"{code.co_qualname}:{frame.f_lineno}")
            inner = getattr(inner, "cr_await", None) or getattr(inner, "ag_await", None)
        return " > ".join(names)

    def drop(self) -> None:
        """Take the coroutine of a dead process apart; whatever its clean-up tries reaches nobody."""
        loop = self.process.loop
        before, loop.current = loop.current, self
        try:
            for _ in range(1000):
                self._body.throw(Cancelled())
        except (Exception, Cancelled):
            pass
        else:
            raise AssertionError(f"{self.name} cannot be ended")
        finally:
            loop.current = before
        self.done = True


class Scope:
    """A cancel scope, as trio has them: level-triggered, and perhaps shielded from those around it.

    Args:
        process: whose clock counts.
        seconds: after which it is cancelled; None for never.
        shield: whether cancellations from outside stay outside.
        steps: cancel it at that wait of its task, counted from its beginning; 0 for never.
    """

    def __init__(self, process: Process, seconds: float | None = None, *, shield: bool = False, steps: int = 0) -> None:
        self.shield = shield
        self.cancel_called = False
        self.cancelled_caught = False
        self._process = process
        self._seconds = seconds
        self._steps = steps
        self._task: Task | None = None
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        task = self._process.loop.current
        assert task is not None
        self._task = task
        task.scopes.append(self)
        if self._seconds is not None:
            process = self._process
            self._timer = process.at(process.true_time(process.clock() + self._seconds), self.cancel)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        task = self._task
        assert task is not None
        popped = task.scopes.pop()
        assert popped is self, "scopes are left in the order in which they were entered"
        Loop.stop(self._timer)
        self._task = None
        if isinstance(error, Cancelled) and self.cancel_called and (self.shield or not task.cancelled):
            self.cancelled_caught = True
            return True
        return False

    def cancel(self) -> None:
        """Cancel what runs inside, at its next wait or where it waits."""
        self.cancel_called = True
        if self._task is not None:
            self._task.poke()

    def step(self) -> None:
        """Its task waits once more."""
        if self._steps:
            self._steps -= 1
            if not self._steps:
                self.cancel_called = True


class Flag:
    """Something that happens once; any number may wait for it."""

    def __init__(self, loop: Loop) -> None:
        self.is_set = False
        self._loop = loop
        self._waiting: list[Task] = []

    def set(self) -> None:
        self.is_set = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            task.reschedule()

    async def wait(self) -> None:
        task = self._loop.current
        assert task is not None
        if self.is_set:
            await task.process.checkpoint()
            return
        self._waiting.append(task)
        await self._loop.park(lambda: self._waiting.remove(task))
