"""Waiting and waking, in each event loop."""

from __future__ import annotations

import asyncio
from itertools import product

import anyio
import pytest

from tests.anyio.runs import TRIO, Backend
from zk_anyio._runtime import AsyncioRuntime, make_runtime, running_loop
from zk_sansio.errors import LocalProtocolError
from zk_sansio.session import Waitable


def test_the_backend_is_found(backend: Backend) -> None:
    async def main() -> None:
        assert (running_loop() is None) is (backend is TRIO)
        assert isinstance(make_runtime(), AsyncioRuntime) is (backend is not TRIO)

    backend.run(main)
    assert running_loop() is None


def test_time(backend: Backend) -> None:
    async def main() -> None:
        runtime = make_runtime()
        began = runtime.now()
        await runtime.sleep(0.02)
        assert 0.015 < runtime.now() - began < 5
        assert abs(runtime.now() - anyio.current_time()) < 1
        assert len(runtime.nonce()) == 16

    backend.run(main)


def test_waking(backend: Backend) -> None:
    async def main() -> None:
        runtime, waitable = make_runtime(), Waitable()
        runtime.wake(waitable)  # for nobody
        async with anyio.create_task_group() as group:
            group.start_soon(runtime.wait, waitable)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(LocalProtocolError):
                await runtime.wait(waitable)
            assert waitable.waiter is not None
            runtime.wake(waitable)
            assert waitable.waiter is None
            runtime.wake(waitable)

    backend.run(main)


def test_a_wait_that_is_cancelled(backend: Backend) -> None:
    async def main() -> None:
        runtime, waitable = make_runtime(), Waitable()
        with runtime.cancel_scope() as scope:
            scope.cancel()
            await runtime.wait(waitable)
        assert waitable.waiter is None
        with runtime.shielded(0.01):
            await runtime.wait(waitable)
        assert waitable.waiter is None
        with anyio.move_on_after(0.01), runtime.shielded(0.05):
            began = runtime.now()
            await runtime.sleep(5)
        assert runtime.now() - began > 0.04

    backend.run(main)


def test_a_waiter_that_is_woken_and_cancelled_in_any_order(loop: Backend) -> None:
    """It is cancelled once, and whoever waits next is not touched by what was meant for it."""

    async def main() -> None:
        runtime, waitable = make_runtime(), Waitable()
        for steps in product(["wake", "cancel"], repeat=2):
            task = asyncio.create_task(runtime.wait(waitable))
            await asyncio.sleep(0)
            for step in steps:
                runtime.wake(waitable) if step == "wake" else task.cancel()
            next_one = runtime.wait(waitable)
            if steps[0] == "wake":
                next_one.send(None)  # it waits before the first one has run
            await asyncio.wait([task])
            assert task.cancelled() is ("cancel" in steps)
            assert (waitable.waiter is not None) is (steps[0] == "wake")
            runtime.wake(waitable)
            next_one.close()

    loop.run(main)


def test_a_checkpoint_notices_a_cancellation(backend: Backend) -> None:
    async def main() -> None:
        runtime = make_runtime()
        await runtime.checkpoint()
        reached = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            await runtime.checkpoint()
            reached.append(1)
        with anyio.CancelScope() as scope:
            await runtime.checkpoint()
            scope.cancel()
            with pytest.raises(anyio.get_cancelled_exc_class()):
                await runtime.checkpoint()
            for _ in range(3):  # again and again
                with pytest.raises(anyio.get_cancelled_exc_class()):
                    await runtime.checkpoint()
        assert not reached

    backend.run(main)


def test_checkpoints_let_others_run(backend: Backend) -> None:
    async def main() -> None:
        runtime, ran = make_runtime(), []

        async def other() -> None:
            ran.append(1)

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            for _ in range(3):
                await runtime.checkpoint()
            assert ran

    backend.run(main)
