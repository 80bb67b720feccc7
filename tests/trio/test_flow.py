"""Order, few writes, few wake-ups, and callers that wait where there is no room."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import zk_trio
from tests.support.peer import buffer, stat
from tests.trio.fake import CREATE, GET, SET, Do, FakeServer
from tests.trio.test_operations import Scripted
from zk_trio import Client, NodeExistsError, NoNodeError, SessionState, Znode
from zk_trio._stream import Stream

pytestmark = pytest.mark.trio

A = "10.0.0.1"


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    return Scripted(monkeypatch)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each write to a socket."""
    sizes: list[int] = []
    original = Stream.send

    def send(stream: Stream, data: bytes) -> bool:
        sizes.append(len(data))
        return original(stream, data)

    monkeypatch.setattr(Stream, "send", send)
    return sizes


class Steps(trio.abc.Instrument):
    """Counts how often this task is run."""

    def __init__(self) -> None:
        self.task = trio.lowlevel.current_task()
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task

    def __enter__(self) -> Steps:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.remove_instrument(self)


async def test_a_call_is_one_write_and_one_wake_up(
    fake: FakeServer, writes: list[int], autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A) as client:
        await client.exists("/")
        writes.clear()
        with Steps() as steps:
            for _ in range(10):
                await client.exists("/")
        assert writes == [4 + 8 + 4 + 1 + 1] * 10
        assert steps.count == 10


async def test_a_pipeline_is_one_write_and_one_wake_up(
    fake: FakeServer, writes: list[int], autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A) as client:
        await client.create("/a", b"x")
        writes.clear()
        pipeline = client.pipeline()
        for number in range(300):
            pipeline.get("/a" if number % 3 else "/none")
        with Steps() as steps:
            results = await pipeline.run()
        assert len(writes) == 1
        # Woken for the results, and a checkpoint.
        assert steps.count <= 2
        for number, result in enumerate(results):
            if number % 3:
                assert isinstance(result, Znode)
                assert result.data == b"x"
            else:
                assert isinstance(result, NoNodeError)
                assert result.path == "/none"


async def test_results_of_a_pipeline_are_those_of_its_requests(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        pipeline = client.pipeline()
        pipeline.create("/a")
        pipeline.create("/a")
        pipeline.set("/a", b"1")
        pipeline.get("/a")
        pipeline.delete("/a", version=9)
        pipeline.delete("/a")
        pipeline.exists("/a")
        made, exists, changed, read, refused, deleted, gone = await pipeline.run()
        assert made.path == "/a"
        assert isinstance(exists, NodeExistsError)
        assert changed.version == 1
        assert read.data == b"1"
        assert isinstance(refused, zk_trio.BadVersionError)
        assert deleted is None
        assert isinstance(gone, NoNodeError)


async def test_calls_of_many_tasks_share_writes(fake: FakeServer, writes: list[int], autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        async with trio.open_nursery() as nursery:
            writes.clear()
            for _ in range(200):
                nursery.start_soon(client.exists, "/")
        assert len(writes) <= 3
        assert sum(writes) == 200 * 18


async def test_the_order_of_calls_is_the_order_on_the_wire(fake: FakeServer, autojump_clock: MockClock) -> None:
    order: list[str] = []
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:

        async def call(path: str) -> None:
            order.append(path)
            await client.exists(path)

        for number in range(50):
            nursery.start_soon(call, f"/{number}")
    assert [request.path() for request in fake.requests if request.op == 3] == order


async def test_each_caller_gets_its_own_answer(fake: FakeServer, autojump_clock: MockClock) -> None:
    for number in range(100):
        fake.make(f"/{number}", b"%d" % number)
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:

        async def call(number: int) -> None:
            assert (await client.get(f"/{number}")).data == b"%d" % number

        for number in range(100):
            nursery.start_soon(call, number)


async def test_callers_wait_above_the_limit_of_requests(fake: FakeServer, autojump_clock: MockClock) -> None:
    done = 0
    async with zk_trio.open_client(A, max_in_flight=10) as client, trio.open_nursery() as nursery:
        fake.then(Do.HOLD)

        async def call() -> None:
            nonlocal done
            await client.exists("/")
            done += 1

        for _ in range(50):
            nursery.start_soon(call)
        await wait_all_tasks_blocked()
        assert len(fake.requests) == 10
        assert done == 0
        # The session is alive all the time.
        await trio.sleep(5)
        assert client.state is SessionState.CONNECTED
        await fake.release()
        await wait_all_tasks_blocked()
        assert done == 50


async def test_callers_wait_above_the_mark_of_bytes(scripted: Scripted, autojump_clock: MockClock) -> None:
    """The server does not read, so that everything piles up here, but no more than that."""
    done = 0
    value = bytes(60_000)
    async with scripted.client(high_water=200_000, low_water=100_000) as (client, server):
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                nonlocal done
                await client.set("/a", value)
                done += 1

            for _ in range(40):
                nursery.start_soon(call)
            await wait_all_tasks_blocked()
            session = client._engine.session
            assert 100_000 < session.queued_bytes < 200_000 + 61_000
            waiting = 40 - session.in_flight
            assert 20 < waiting < 40
            for _ in range(40):
                request = await server.read_request(SET)
                await server.reply(request.xid, 1, 0, stat())
        assert done == 40
        assert session.queued_bytes == 0


async def test_a_value_of_a_megabyte_both_ways(fake: FakeServer, autojump_clock: MockClock) -> None:
    value = bytes(range(256)) * 4000
    async with zk_trio.open_client(A) as client:
        await client.create("/a", value)
        await client.set("/a", value[::-1])
        assert (await client.get("/a")).data == value[::-1]
        results = await client.get_many(["/a"] * 5)
        assert [result.data for result in results if isinstance(result, Znode)] == [value[::-1]] * 5
    assert fake.ops().count(CREATE) == 1


async def test_large_replies_are_read_into_one_buffer(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    buffers: set[int] = set()
    original = Stream.receive_into

    def receive_into(stream: Stream, view: memoryview) -> int | None:
        buffers.add(id(view.obj))
        return original(stream, view)

    monkeypatch.setattr(Stream, "receive_into", receive_into)
    value = bytes(range(256)) * 4000
    async with scripted.client() as (client, server), trio.open_nursery() as nursery:
        result: list[Any] = []

        async def get() -> None:
            result.append(await client.get("/a"))

        nursery.start_soon(get)
        request = await server.read_request(GET)
        payload = struct.pack(">iqi", request.xid, 9, 0) + buffer(value) + stat()
        await server.send_frame(payload)
        await wait_all_tasks_blocked()
        assert result[0].data == value
    assert len(buffers) == 1


@pytest.mark.parametrize("size", [10, 100_000, 1_000_000])
async def test_a_reply_that_breaks_off(fake: FakeServer, size: int, autojump_clock: MockClock) -> None:
    fake.make("/a", bytes(size))
    async with zk_trio.open_client(A) as client:
        fake.then(Do.BREAK_OFF)
        assert (await client.get("/a")).data == bytes(size)
        fake.then(Do.BREAK_OFF)
        with pytest.raises(zk_trio.ConnectionLossError) as caught:
            await client.using(retry=zk_trio.RetryPolicy(max_attempts=1)).get("/a")
        assert caught.value.reason == "closed by the server"


async def test_replies_in_the_smallest_pieces(scripted: Scripted, autojump_clock: MockClock) -> None:
    async with scripted.client() as (client, server), trio.open_nursery() as nursery:
        result: list[Any] = []

        async def get() -> None:
            result.append(await client.get("/a"))

        nursery.start_soon(get)
        request = await server.read_request(GET)
        payload = struct.pack(">iqi", request.xid, 9, 0) + buffer(b"x") + stat()
        for byte in struct.pack(">i", len(payload)) + payload:
            await server.send_raw(bytes([byte]))
            await wait_all_tasks_blocked()
        assert result[0].data == b"x"


async def test_a_flood_of_calls_leaves_others_their_turn(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A, max_in_flight=20) as client, trio.open_nursery() as nursery:

        async def flood(client: Client) -> None:
            while True:
                await client.exists("/")

        for _ in range(100):
            nursery.start_soon(flood, client)
        for _ in range(5):
            before = len(fake.requests)
            await client.get_children("/")
            assert len(fake.requests) - before < 400
        nursery.cancel_scope.cancel()
