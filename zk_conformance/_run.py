"""The list of all checks, and how one is run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from ._port import Check, Function, Harness, World
from ._tools import until

__all__ = ["CHECKS", "check", "check_each", "first_error", "run_check", "stopped_at"]

C = TypeVar("C")
T = TypeVar("T")

LIMIT = 30.0

CHECKS: dict[str, Check] = {}
"""All checks, by name."""


def check(function: Check, name: str | None = None) -> Check:
    """Add a check to the list, as a decorator.

    Args:
        function: the check; its name without ``check_`` becomes that in the list.
        name: another name.
    """
    name = (name or str(getattr(function, "__name__", ""))).removeprefix("check_")
    assert name not in CHECKS, f"there are two checks called {name}"
    CHECKS[name] = function
    return function


def check_each(
    cases: Mapping[str, C],
) -> Callable[[Callable[[Harness, World, C], Any]], Callable[[Harness, World, C], Any]]:
    """Add a check for each of several cases to the list.

    Args:
        cases: what the check gets as its third argument, by a name that is added to its own.
    """

    def add(function: Callable[[Harness, World, C], Any]) -> Callable[[Harness, World, C], Any]:
        for name, case in cases.items():

            async def run(harness: Harness, world: World, case: C = case) -> None:
                await function(harness, world, case)

            check(run, f"{getattr(function, '__name__', '')}_{name.replace(' ', '_')}")
        return function

    return add


def run_check(name: str, harness: Harness, world: World, *, limit: float = LIMIT) -> None:
    """Run one check; behind it nothing may be left in this process.

    Args:
        name: of the check in `CHECKS`.
        harness: the adapter.
        world: the server; its `World.root` is not used by another check.
        limit: seconds.

    Raises:
        AssertionError: the adapter does not do what it should.
        TimeoutError: it took too long.
    """

    async def body() -> None:
        await CHECKS[name](harness, world)
        await until(harness, lambda: not harness.leftovers(), lambda: f"left behind: {harness.leftovers()}")

    harness.run(partial(harness.within, limit, body))


async def stopped_at(
    step: int, function: Function[object], cancel: Callable[[], object], *, late: bool = False
) -> bool:
    """Run a function, and cancel it when it suspends for the *step*-th time; works in every event loop.

    It belongs into the scope that *cancel* ends: ``with CancelScope() as scope: return await stopped_at(step,
    function, scope.cancel)``, and behind it ``return True``.

    Args:
        step: when, counted from 0.
        function: which.
        cancel: requests the cancellation; it must not suspend.
        late: for asyncio, whose tasks can be cancelled when they are woken already: cancel it when the future that
            it waits for is done, but before it runs.

    Returns:
        Whether the function has suspended so often.
    """
    stepping = _Stepping(step, function, cancel, late=late)
    await stepping
    return stepping.suspended > step


class _Stepping(Generic[T]):
    """Drives a function from one suspension to the next, and passes each on to the event loop."""

    def __init__(self, step: int, function: Function[T], cancel: Callable[[], object], *, late: bool) -> None:
        self._step = step
        self._function = function
        self._cancel = cancel
        self._late = late
        self.suspended = 0

    def __await__(self) -> Generator[Any, Any, T]:
        driven = self._function().__await__()
        resume: Callable[[], Any] = partial(next, driven)
        while True:
            try:
                suspension = resume()
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if self.suspended == self._step:
                if self._late and suspension is not None:
                    # Before the task adds what wakes it.
                    suspension.add_done_callback(lambda _: self._cancel())
                else:
                    self._cancel()
            self.suspended += 1
            try:
                answer = yield suspension
            except BaseException as error:  # noqa: BLE001 - it is the function's
                resume = partial(driven.throw, error)
            else:
                resume = partial(driven.send, answer)


def first_error(group: BaseException) -> BaseException:
    """Find the error to raise for a group of them: its first one, which tells of the others in its notes.

    Args:
        group: the group; an error that is none is the answer itself.
    """
    if not isinstance(group, BaseExceptionGroup):
        return group
    first, *others = (first_error(error) for error in group.exceptions)
    for other in others:
        first.add_note(f"and at the same time: {other!r}")
    return first
