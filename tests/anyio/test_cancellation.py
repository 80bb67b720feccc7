"""Whatever cancels, wherever: nothing is left behind, here or on the server, and nothing waits for nobody."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import zk_anyio
from tests.anyio.runs import CREATE, DELETE, GET, TRIO, Backend, How, interrupted, obeying, peer, until
from tests.support.peer import CLOSE_SESSION, ScriptedListener, string
from tests.support.raw import RawClient
from tests.support.servers import AnyServer
from zk_anyio import Client, ClosedError, SessionState
from zk_anyio._runtime import AsyncioRuntime
from zk_sansio.session import Call, Waitable


def ways(backend: Backend) -> list[How]:
    return [How.SCOPE] if backend is TRIO else list(How)


def test_the_whole_scope_is_cancelled_at_each_await(
    backend: Backend, server: AnyServer, root: str, witness: RawClient
) -> None:
    """What was made is gone at once, not when the session of 10 s expires: its end was sent, whatever happened."""

    async def whole() -> None:
        async with zk_anyio.open_client(server.hosts, session_timeout=10) as client:
            await client.create(f"{root}/e", ephemeral=True)
            async with client.watch(root) as changes:
                await client.set(root, b"")
                await anext(changes)

    for how in ways(backend):

        async def main(how: How = how) -> int:
            step = 0
            while await interrupted(step, how, whole):
                assert len(asyncio.all_tasks() if backend is not TRIO else "1") == 1
                await until(lambda: not witness.children(root))
                step += 1
            return step

        started = monotonic()
        assert backend.run(main, limit=60) >= 8
        assert monotonic() - started < 8, "something waits for nobody"


@pytest.mark.parametrize("how", How)
def test_calls_are_cancelled_at_each_await(
    loop: Backend, server: AnyServer, root: str, witness: RawClient, how: How
) -> None:
    made: set[str] = set()

    async def calls(client: Client) -> None:
        made.add(await client.create(f"{root}/a", ephemeral=True))
        made.add(await client.create(f"{root}/b-", ephemeral=True, sequential=True, protected=True))
        await client.transaction().create(f"{root}/c", ephemeral=True).commit()
        made.add(f"{root}/c")
        pipeline = client.pipeline()
        pipeline.create(f"{root}/d", ephemeral=True)
        pipeline.get(root)
        await pipeline.run()
        made.add(f"{root}/d")
        async with client.lock(f"{root}/lock"):
            await client.get(root)

    async def main() -> None:
        async with zk_anyio.open_client(server.hosts) as client:
            step = 0
            while await interrupted(step, how, lambda: calls(client)):
                # What the session does in the background is done by the time that it has answered this.
                for _ in range(4):
                    await client.sync()
                # Of the one that was cancelled nothing is left; what those before it made is their caller's.
                assert {f"{root}/{name}" for name in witness.children(root)} - {f"{root}/lock"} == made
                for path in made:
                    await client.delete(path)
                made.clear()
                assert not (witness.children(f"{root}/lock") if witness.exists(f"{root}/lock") else [])
                assert (await client.get(root)).data == b""
                step += 1
            assert step > 8
            assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
            session = client._engine.session
            assert session.in_flight == session.queued_bytes == 0

    loop.run(main)


# --- together with the reply


@pytest.mark.parametrize("native", [False, True])
def test_a_cancellation_that_comes_together_with_the_reply(
    loop: Backend, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The future is done, and the task has not run: `Task.cancel` wins, but anyio leaves the task its result."""

    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session(session_id=7)
            request = await server.read_request(CREATE)
            await server.reply(request.xid, 1, 0, string("/e"))
            if native:
                request = await server.read_request(DELETE)
                assert request.path() == "/e"
                await server.reply(request.xid, 2)
            await server.close_session(3)

    async def main(hosts: str) -> None:
        made: list[str] = []
        async with zk_anyio.open_client(hosts) as client:
            scope = anyio.CancelScope()
            wake = AsyncioRuntime.wake

            def wake_and_cancel(runtime: AsyncioRuntime, waitable: Waitable) -> None:
                wake(runtime, waitable)
                if isinstance(waitable, Call):
                    cancelled.append((task if native else scope).cancel())

            async def create() -> None:
                with scope:
                    made.append(await client.create("/e", ephemeral=True))

            cancelled: list[object] = []
            task = asyncio.create_task(create())
            monkeypatch.setattr(AsyncioRuntime, "wake", wake_and_cancel)
            await asyncio.wait([task])
            assert cancelled
            assert task.cancelled() is native
            assert made == ([] if native else ["/e"])
            monkeypatch.undo()

    with peer(script) as hosts:
        loop.run(lambda: main(hosts))


# --- timeouts


async def silent(listener: ScriptedListener) -> None:
    """A server that answers no request but the end of the session."""
    async with await listener.accept() as server:
        await server.accept_session()
        while (request := await server.read_request()).op != CLOSE_SESSION:
            pass
        await server.reply(request.xid)


def test_timeouts_of_calls(backend: Backend) -> None:
    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts) as client:
            with anyio.move_on_after(0.01) as scope:
                await client.get("/")
            assert scope.cancelled_caught
            with pytest.raises(TimeoutError):
                with anyio.fail_after(0.01):
                    await client.get("/")
            if backend is not TRIO:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await client.get("/")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.get("/"), 0.01)
                assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
            assert client.state is SessionState.CONNECTED

    with peer(silent) as hosts:
        backend.run(lambda: main(hosts))


@pytest.mark.parametrize("kind", ["fail_after", "timeout", "wait_for", "deadline inside"])
def test_timeouts_around_the_scope(backend: Backend, kind: str) -> None:
    if backend is TRIO and kind in ("timeout", "wait_for"):
        pytest.skip("of asyncio")
    ended: list[Client] = []

    async def body(hosts: str) -> None:
        async with zk_anyio.open_client(hosts) as client:
            ended.append(client)
            with anyio.fail_after(0.05 if kind == "deadline inside" else 10):
                await client.get("/")

    async def main(hosts: str) -> None:
        with pytest.raises(TimeoutError):
            match kind:
                case "fail_after":
                    with anyio.fail_after(0.05):
                        await body(hosts)
                case "timeout":
                    async with asyncio.timeout(0.05):
                        await body(hosts)
                case "wait_for":
                    await asyncio.wait_for(body(hosts), 0.05)
                case _:
                    await body(hosts)
        assert ended[0].state is SessionState.CLOSED
        if backend is not TRIO:
            assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
        await anyio.lowlevel.checkpoint()  # nothing is pending

    with peer(silent) as hosts:
        backend.run(lambda: main(hosts))


# --- the end of the scope


async def deaf(listener: ScriptedListener) -> None:
    """A server that does not answer the end of the session."""
    async with await listener.accept() as server:
        await server.accept_session()
        await server.read_request(CLOSE_SESSION)
        await server.read_end()


def test_task_cancel_cuts_the_closing_short(loop: Backend) -> None:
    async def client_task(hosts: str, opened: asyncio.Event) -> None:
        async with zk_anyio.open_client(hosts, close_grace=60):
            opened.set()
            await asyncio.sleep(60)

    async def main(hosts: str) -> None:
        opened = asyncio.Event()
        task = asyncio.create_task(client_task(hosts, opened))
        await opened.wait()
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0.05)
        assert task.cancelled()

    started = monotonic()
    with peer(deaf) as hosts:
        loop.run(lambda: main(hosts))
    assert monotonic() - started < 5


def test_a_scope_does_not_cut_the_closing_short(backend: Backend) -> None:
    async def main(hosts: str) -> None:
        started = monotonic()
        with anyio.CancelScope() as scope:
            async with zk_anyio.open_client(hosts, close_grace=0.2):
                scope.cancel()
        assert monotonic() - started > 0.19

    with peer(deaf) as hosts:
        backend.run(lambda: main(hosts))


def test_the_end_of_the_event_loop(loop: Backend) -> None:
    """`asyncio.run` cancels all tasks at once, those of clients included: the session's end is sent nevertheless."""

    async def client_task(hosts: str, opened: asyncio.Event) -> None:
        async with zk_anyio.open_client(hosts, close_grace=60):
            opened.set()
            await asyncio.sleep(60)

    async def main(hosts: str) -> None:
        opened = asyncio.Event()
        tasks.append(asyncio.create_task(client_task(hosts, opened)))
        await opened.wait()

    tasks: list[asyncio.Task[None]] = []
    noise: list[Any] = []
    started = monotonic()
    with peer(deaf) as hosts:
        with asyncio.Runner(loop_factory=_loop_factory(loop)) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: noise.append(context))
            runner.run(main(hosts))
    assert tasks[0].cancelled()
    assert not noise
    assert monotonic() - started < 5


def _loop_factory(loop: Backend) -> Any:
    if not loop.options:
        return None
    import uvloop

    return uvloop.new_event_loop


@pytest.mark.parametrize("keep", [False, True])
def test_all_other_tasks_are_cancelled(loop: Backend, keep: bool) -> None:
    """The body cannot go on without them, and is told."""

    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session()
            await server.read_request(GET)
            if not keep:
                await server.read_request(CLOSE_SESSION)
            await server.read_end()

    async def main(hosts: str) -> None:
        calls: list[asyncio.Task[Any]] = []
        with pytest.raises(ClosedError, match="the tasks of this client were cancelled"):
            async with zk_anyio.open_client(hosts, keep_session=keep) as client:
                calls.append(asyncio.create_task(client.get("/")))
                await asyncio.sleep(0.05)
                for task in asyncio.all_tasks() - {asyncio.current_task(), *calls}:
                    task.cancel()
                await asyncio.sleep(60)
        with pytest.raises(ClosedError):
            await calls[0]

    with peer(script) as hosts:
        loop.run(lambda: main(hosts))


def test_the_tasks_of_a_connection_are_cancelled(loop: Backend) -> None:
    """Without them there is another connection."""

    async def main(hosts: str) -> None:
        before = asyncio.all_tasks()
        async with zk_anyio.open_client(hosts) as client:
            for name in ("_receive", "_send", "_keep_time"):
                (task,) = (task for task in asyncio.all_tasks() - before if name in task.get_name())
                task.cancel()
                async with client.states() as states:
                    async for state in states:
                        if state is SessionState.SUSPENDED:
                            break
                await client.get("/")

    with peer(obeying(4)) as hosts:
        loop.run(lambda: main(hosts))


def test_closing_under_load(backend: Backend) -> None:
    outcomes: list[object] = []

    async def load(client: Client) -> None:
        try:
            while True:
                await client.get("/")
        except ClosedError as error:
            outcomes.append(error)

    async def main(hosts: str) -> None:
        async with anyio.create_task_group() as group:
            async with zk_anyio.open_client(hosts) as client:
                for _ in range(100):
                    group.start_soon(load, client)
                await anyio.sleep(0.1)

    with peer(obeying()) as hosts:
        backend.run(lambda: main(hosts))
    assert len(outcomes) == 100


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("mine", [ValueError()]), KeyboardInterrupt()])
def test_errors_leave_the_scope_as_they_are(backend: Backend, error: BaseException) -> None:
    async def main(hosts: str) -> None:
        with pytest.raises(type(error)) as caught:
            async with zk_anyio.open_client(hosts):
                raise error
        if isinstance(error, ExceptionGroup):
            assert caught.value.exceptions == error.exceptions  # type: ignore[attr-defined]
        else:
            assert caught.value is error

    with peer(obeying()) as hosts:
        backend.run(lambda: main(hosts))


def test_an_expiry_ends_the_body(backend: Backend) -> None:
    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session()
        async with await listener.accept() as server:
            await server.refuse_session()

    async def main(hosts: str) -> None:
        with pytest.raises(zk_anyio.SessionExpiredError):
            async with zk_anyio.open_client(hosts, on_expiry="raise"):
                await anyio.sleep_forever()

    with peer(script) as hosts:
        backend.run(lambda: main(hosts))


def test_a_body_that_is_cancelled_in_the_reader(backend: Backend) -> None:
    """The end of a lease is found while no task runs, and reaches its body nevertheless."""

    class Lease:
        def __init__(self, body: anyio.CancelScope) -> None:
            self.body = body
            self.tasks: list[object] = []

        def closing(self) -> None:
            raise AssertionError("nobody closes the client")

        def state_changed(self, state: SessionState) -> None:
            if backend is not TRIO:
                self.tasks.append(asyncio.current_task())
            self.body.cancel()

    async def script(listener: ScriptedListener) -> None:
        async with await listener.accept() as server:
            await server.accept_session()
            await server.read_request(GET)

    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts) as client:
            with client._engine.runtime.cancel_scope() as scope:
                lease = Lease(scope)  # type: ignore[arg-type]
                client._engine.listeners[lease] = None
                await client.get("/")
            client._engine.listeners.pop(lease, None)
            assert lease.tasks in ([], [None])
            if backend is not TRIO:
                assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
            await anyio.lowlevel.checkpoint()

    with peer(script) as hosts:
        backend.run(lambda: main(hosts))
