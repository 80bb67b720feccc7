"""What the integration tests share: waiting for states and changes, and what a server says that it holds."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

import zk_trio as zk
from tests.support.servers import AnyServer

T = TypeVar("T")
LIMIT = 15.0
SERVING = (zk.SessionState.CONNECTED, zk.SessionState.READ_ONLY)


async def reach(client: zk.Client, *wanted: zk.SessionState, within: float = LIMIT) -> float:
    """Wait until the client is in one of these states; return when it was seen, on trio's clock."""
    with trio.fail_after(within):
        async with client.states() as states:
            async for state in states:
                if state in wanted:
                    return trio.current_time()
    raise AssertionError(f"the client ended, {client.state.value}")


async def until(condition: Callable[[], Awaitable[object] | object], within: float = LIMIT) -> None:
    """Wait until *condition* holds: a function of something that happens elsewhere, quick or asynchronous."""
    with trio.fail_after(within):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await trio.sleep(0.005)


async def next_change(changes: zk.ChangeStream[Any], within: float = LIMIT) -> zk.Change:
    """Wait for the next change."""
    with trio.fail_after(within):
        change: zk.Change = await anext(changes)
        return change


async def next_changes(changes: zk.ChangeStream[Any], count: int) -> list[zk.Change]:
    """Wait for so many changes."""
    return [await next_change(changes) for _ in range(count)]


def brief(change: zk.Change) -> tuple[str, str]:
    """A change as its type and its path; a gap as ``GAP`` and its reason."""
    return ("GAP", change.reason) if isinstance(change, zk.Gap) else (change.type.name, change.path)


async def at_once(step: Callable[[], Awaitable[T]], most: float = float("inf")) -> list[T]:
    """All that *step* gives without waiting: it is cut off when some turns of the event loop bring nothing."""
    found: list[T] = []
    quiet = 0

    async def collect() -> None:
        nonlocal quiet
        while len(found) < most:
            found.append(await step())
            quiet = 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        while quiet < 5:
            quiet += 1
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    return found


def hexadecimal(session_id: int) -> str:
    """A session's id as servers print it."""
    return f"0x{session_id & (2**64 - 1):x}"


def _section(text: str, heading: str) -> set[str]:
    """The indented lines below *heading*."""
    found: set[str] = set()
    inside = False
    for line in text.split("\n"):
        if not line.startswith("\t"):
            inside = line.strip().rstrip(":") == heading
        elif inside:
            found.add(line.strip())
    return found


def watches_of(server: AnyServer, session_id: int) -> set[str]:
    """The paths that a session watches on this server; those watched for children alone are not among them."""
    return _section(server.four_letter("wchc"), hexadecimal(session_id))


def ephemerals_of(server: AnyServer, session_id: int) -> set[str]:
    """The ephemeral znodes of a session, as this server knows them."""
    _, _, ephemerals = server.four_letter("dump").partition("ephemeral nodes dump:")
    return _section(ephemerals, hexadecimal(session_id))


def connections_of(server: AnyServer, session_id: int) -> int:
    """How many connections a session has to this server."""
    return server.four_letter("cons").count(f"sid={hexadecimal(session_id)},")


def open_connections(server: AnyServer) -> int:
    """How many connections this server has, the asking one not counted."""
    return sum(line.startswith(" /") for line in server.four_letter("cons").split("\n")) - 1
