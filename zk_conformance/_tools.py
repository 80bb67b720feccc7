"""What the checks share: waiting with a limit, expected errors, states, changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import zk_sansio as zk

from ._port import Harness, Proxy, World

__all__ = [
    "Raised",
    "away",
    "brief",
    "next_brief",
    "nothing_held",
    "outcome",
    "raises",
    "reach",
    "take",
    "ticket_of",
    "until",
]

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")

LIMIT = 10.0


async def until(
    harness: Harness,
    condition: Callable[[], Awaitable[object] | object],
    what: Callable[[], str] = lambda: "",
    limit: float = LIMIT,
) -> None:
    """Wait until something holds.

    Args:
        harness: sleeps meanwhile.
        condition: tells whether it holds; quick, or asynchronous.
        what: says what is wrong as long as it does not.
        limit: seconds.

    Raises:
        AssertionError: it did not in time.
    """
    deadline = monotonic() + limit
    while True:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        if monotonic() > deadline:
            raise AssertionError(what() or f"{condition} does not hold after {limit} s")
        await harness.sleep(0.003)


class Raised(Generic[E]):
    """A scope that is expected to raise; `raises` makes it.

    Attributes:
        value: the error.
    """

    value: E

    def __init__(self, kinds: tuple[type[E], ...]) -> None:
        self._kinds = kinds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None:
            raise AssertionError(f"nothing was raised instead of {' or '.join(kind.__name__ for kind in self._kinds)}")
        if isinstance(error, self._kinds):
            self.value = error
            return True
        return False


def raises(*kinds: type[E]) -> Raised[E]:
    """Expect a scope to raise one of these errors; nothing else will do.

    Args:
        kinds: which.
    """
    return Raised(kinds)


async def outcome(function: Callable[[], Awaitable[T]]) -> T | zk.ZooKeeperError:
    """Run a function that may fail; return what it returns, or how it failed.

    Args:
        function: which.
    """
    try:
        return await function()
    except TimeoutError:
        raise  # of `Harness.within`, or an interruption
    except zk.ZooKeeperError as error:
        return error


async def reach(harness: Harness, client: zk.Client, *wanted: zk.SessionState) -> None:
    """Wait until a client is in one of these states."""
    await until(harness, lambda: client.state in wanted, lambda: f"it is {client.state.value}")


@asynccontextmanager
async def away(harness: Harness, client: zk.Client, proxy: Proxy) -> AsyncIterator[None]:
    """Cut a client's connection, and let it find no other until this scope ends.

    Args:
        harness: the client's.
        client: connected by *proxy*.
        proxy: the only way to the server.
    """
    proxy.refuse()
    proxy.cut()
    await reach(harness, client, zk.SessionState.SUSPENDED)
    yield
    proxy.heal()
    await reach(harness, client, zk.SessionState.CONNECTED)


def brief(change: zk.Change) -> tuple[str, str]:
    """Shorten a change to its type and its path; a gap to ``GAP`` and its reason."""
    return ("GAP", change.reason) if isinstance(change, zk.Gap) else (change.type.name, change.path)


async def next_brief(changes: zk.ChangeStream[Any]) -> tuple[str, str]:
    """Wait for the next change, and shorten it."""
    return brief(await anext(changes))


async def take(changes: zk.ChangeStream[Any], count: int) -> list[tuple[str, str]]:
    """Wait for so many changes, and shorten them."""
    return [await next_brief(changes) for _ in range(count)]


def ticket_of(client: zk.Client) -> zk.SessionTicket:
    """The ticket of a client that has a session."""
    assert client.ticket is not None
    return client.ticket


async def nothing_held(harness: Harness, world: World, client: zk.Client, *paths: str) -> None:
    """Wait until the server holds neither an ephemeral znode nor a watch of a client.

    Args:
        harness: the client's.
        world: the server's.
        client: which.
        paths: where there must be no watch for children either; these exist.
    """
    session = client.session_id
    await until(harness, lambda: not world.ephemerals(session), lambda: f"ephemerals: {world.ephemerals(session)}")
    await until(harness, lambda: not world.watches(session), lambda: f"watches: {world.watches(session)}")
    for path in paths:

        async def unwatched(path: str = path) -> bool:
            return not await client.check_watches(path, zk.WatcherType.CHILDREN)

        await until(harness, unwatched, lambda path=path: f"the children of {path} are watched")  # type: ignore[misc]
