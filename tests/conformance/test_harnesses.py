"""The harnesses do what the checks rely on, and the checks refuse a client that leaves something behind."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from time import monotonic
from typing import Any

import pytest

from tests.conformance.test_conformance import HARNESSES
from zk_conformance import Function, Harness, World, run_check
from zk_sansio import CallTimeoutError
from zk_sansio.session import Call, Session


@pytest.fixture(params=HARNESSES)
def harness(request: pytest.FixtureRequest) -> Harness:
    """Each harness."""
    return HARNESSES[request.param]()


def run(harness: Harness, function: Function[None]) -> None:
    """Run a function, in time."""
    harness.run(partial(harness.within, 10, function))


async def meet(harness: Harness, arrived: list[int], n: int) -> None:
    """Wait for the other one."""
    arrived.append(n)
    while len(arrived) < 2:
        await harness.sleep(0.001)


def test_functions_run_together(harness: Harness) -> None:
    arrived: list[int] = []
    run(harness, lambda: harness.together(*[partial(meet, harness, arrived, n) for n in range(2)]))
    assert sorted(arrived) == [0, 1]


def test_an_error_comes_out_as_it_is(harness: Harness) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(harness, lambda: harness.together(partial(harness.sleep, 0), fail))


@pytest.mark.parametrize("nested", [False, True])
def test_what_takes_too_long_ends(harness: Harness, nested: bool) -> None:
    """Also in what is started meanwhile."""

    async def wait() -> None:
        await (harness.together(partial(harness.sleep, 20)) if nested else harness.sleep(20))

    async def check() -> None:
        began = monotonic()
        with pytest.raises(TimeoutError):
            await harness.within(0.02, wait)
        assert 0.01 < monotonic() - began < 5
        await harness.within(5, partial(harness.sleep, 0))

    run(harness, check)


def test_what_is_left_is_named(harness: Harness) -> None:
    ended = threading.Event()

    async def check() -> None:
        assert harness.leftovers() == []
        thread = threading.Thread(target=ended.wait, name="left behind")
        thread.start()
        with socket.socket() as left:
            assert harness.leftovers() == ["thread left behind", f"socket {left.fileno()}"]
        ended.set()
        thread.join()
        assert harness.leftovers() == []

    run(harness, check)


@pytest.mark.parametrize("nested", [False, True])
def test_each_wait_is_interrupted_in_each_way(harness: Harness, world: World, nested: bool) -> None:
    async def check() -> None:
        async with harness.open_client(world.hosts) as client:
            raised: list[type[BaseException]] = []
            undisturbed = 0

            async def read() -> None:
                try:
                    await client.get(world.root)
                except BaseException as error:
                    raised.append(type(error))
                    raise

            async def function() -> None:
                nonlocal undisturbed
                await (harness.together(read) if nested else read())
                undisturbed += 1

            for step in count():
                reached = await harness.interrupt(step, function)
                assert await client.get_children(world.root) == []
                if not reached:
                    break
            assert undisturbed >= 1
            if harness.cancels:
                assert {kind.__name__ for kind in raised} <= {"Cancelled", "CancelledError"}
                assert raised
            else:
                assert raised == [CallTimeoutError, CallTimeoutError if nested else KeyboardInterrupt]

    run(harness, check)


@contextmanager
def careless(forgets: Callable[[Call[Any]], bool]) -> Iterator[None]:
    """Sessions do not clean up behind some of the calls whose callers are gone."""
    abandon = Session.abandon

    def forget(session: Session, call: Call[Any], after: int | None = None) -> None:
        if not forgets(call):
            abandon(session, call, after)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "abandon", forget)
        yield


CARELESS: dict[str, Callable[[Call[Any]], bool]] = {
    "always": lambda call: True,
    "when the reply has come": lambda call: call.done,  # asyncio alone is made to cancel then
}
CASES = [(runtime, "always") for runtime in HARNESSES]
CASES += [(runtime, "when the reply has come") for runtime in ("anyio-asyncio", "anyio-uvloop")]


@pytest.mark.parametrize("runtime, forgets", CASES)
def test_a_careless_client_is_found_out(world: World, runtime: str, forgets: str) -> None:
    with careless(CARELESS[forgets]), pytest.raises((AssertionError, TimeoutError)):
        run_check("interrupted_create_ephemeral", HARNESSES[runtime](), world, limit=0.3)
