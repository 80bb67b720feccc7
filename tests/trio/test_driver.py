"""Connections lost, silent, late and better ones, on trio's virtual clock."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import zk_trio
from tests.trio.fake import CHILDREN, GET, Do, FakeServer
from zk_sansio.session import Server
from zk_trio import (
    Client,
    ConnectError,
    ConnectionLossError,
    SessionExpiredError,
    SessionState,
    SocketOptions,
    TlsSource,
)
from zk_trio._stream import Stream

pytestmark = pytest.mark.trio

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
AB = f"{A},{B}"


async def until(client: Client, *states: SessionState) -> SessionState:
    """Wait for one of *states*, as a slow consumer would miss none that lasts."""
    async with client.states() as changes:
        async for state in changes:
            if state in states:
                return state
    raise AssertionError("no such state came")


async def test_a_server_that_does_not_answer_the_handshake_is_left_for_the_next(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    fake.deaf = {A}
    async with zk_trio.open_client(AB, session_timeout=9) as client:
        # Both share what is left of the session, and neither gets more than five seconds.
        assert trio.current_time() == pytest.approx(4.5, abs=0.3)
        assert client.server == f"{B}:2181"
        assert fake.dialled == [A, B]
        assert await client.create("/a") == "/a"
        assert [sock.fileno() != -1 for sock in fake.sockets] == [False, True]
        await trio.sleep(60)
        assert client.state is SessionState.CONNECTED
    assert fake.dialled == [A, B]


async def test_dials_are_staggered_and_the_first_to_succeed_wins(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.lost_packets = {A}
    async with zk_trio.open_client(AB) as client:
        assert trio.current_time() == pytest.approx(0.25)
        assert client.server == f"{B}:2181"
        await trio.sleep(30)
    assert fake.dialled == [A, B]


async def test_refusals_lead_to_the_next_at_once(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.unreachable = {A: ConnectionRefusedError(111, "Connection refused")}
    async with zk_trio.open_client(AB):
        assert trio.current_time() == 0
    assert fake.dialled == [A, B]


async def test_a_black_hole_is_noticed_within_two_thirds_of_the_timeout(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(AB, session_timeout=9) as client, trio.open_nursery() as nursery:
        await client.create("/a", b"x")
        await trio.sleep(100)
        fake.deaf = {A}
        began = trio.current_time()
        nursery.start_soon(client.get, "/a")
        await until(client, SessionState.SUSPENDED)
        assert trio.current_time() - began <= 6.0
        await until(client, SessionState.CONNECTED)
        assert trio.current_time() - began <= 6.2
        assert client.server == f"{B}:2181"
        assert (await client.get("/a")).data == b"x"
        assert fake.sockets[0].fileno() == -1
    assert len(fake.handshakes) == 2


async def test_silence_in_the_middle_of_a_large_reply_is_silence_too(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    fake.make("/a", bytes(1_000_000))
    async with zk_trio.open_client(A, session_timeout=9) as client:
        fake.then(Do.STALL)
        assert (await client.get("/a")).data == bytes(1_000_000)
        assert trio.current_time() == pytest.approx(6.0, abs=0.2)
    assert fake.ops().count(GET) == 2


async def test_without_a_server_the_session_is_presumed_lost_on_time(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A, session_timeout=9) as client:
        await trio.sleep(50)
        await client.exists("/")
        sent = trio.current_time()
        await trio.sleep(1)
        fake.unreachable = {A: ConnectionRefusedError(111, "Connection refused")}
        fake.drop()
        assert await until(client, SessionState.PRESUMED_LOST) is SessionState.PRESUMED_LOST
        assert trio.current_time() == sent + 9
        # It goes on trying, and a server that has kept the session makes it live again.
        await trio.sleep(1000)
        fake.unreachable = {}
        await until(client, SessionState.CONNECTED)
        assert client.session_id == 0x5001


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("on_expiry", ["renew", "raise"])
async def test_expiring_without_a_servers_word(
    fake: FakeServer, deaf: bool, on_expiry: Any, autojump_clock: MockClock
) -> None:
    async def body() -> None:
        async with zk_trio.open_client(
            A, session_timeout=9, expire_locally=True, on_expiry=on_expiry, connect_timeout=100
        ) as client:
            sent = trio.current_time()
            if deaf:
                fake.deaf = {A}
                fake.drop()
            else:
                fake.unreachable = {A: OSError(113, "No route to host")}
                fake.drop()
            if on_expiry == "raise":
                try:
                    await trio.sleep_forever()
                finally:
                    assert trio.current_time() == sent + 12
            else:
                await until(client, SessionState.PRESUMED_LOST)
                await until(client, SessionState.CONNECTING)
                assert trio.current_time() == sent + 12
                fake.deaf.clear()
                fake.unreachable.clear()
                await until(client, SessionState.CONNECTED)
                assert client.session_id == 0x5002

    if on_expiry == "raise":
        with pytest.raises(SessionExpiredError, match="no server was reached for 12 s"):
            await body()
    else:
        await body()


async def test_a_connection_that_comes_too_late_is_closed(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Two dials succeed at the same moment."""
    together = trio.Event()

    async def dial(server: Server, options: SocketOptions, tls: TlsSource) -> Stream:
        stream = await fake.dial(server, options, tls)
        if len(fake.dialled) == 2:
            together.set()
        await together.wait()
        return stream

    monkeypatch.setattr("zk_trio._driver.dial", dial)
    async with zk_trio.open_client(AB):
        assert fake.dialled == [A, B]
        assert sorted(sock.fileno() != -1 for sock in fake.sockets) == [False, True]


async def test_an_open_that_is_cancelled_leaves_nothing(fake: FakeServer, autojump_clock: MockClock) -> None:
    for deaf, lost in (set(), {A}), ({A}, set()), (set(), set()):
        fake.deaf, fake.lost_packets = deaf, lost
        before = trio.lowlevel.current_statistics().tasks_living
        with trio.move_on_after(1.0) as scope:
            async with zk_trio.open_client(A):
                assert not deaf | lost
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert all(sock.fileno() == -1 for sock in fake.sockets)


async def test_an_idle_connection_is_kept_alive_by_pings(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A, session_timeout=9) as client:
        await trio.sleep(90)
        assert client.state is SessionState.CONNECTED
        assert 29 <= fake.pings <= 31
    assert len(fake.handshakes) == 1


async def test_requests_are_as_good_as_pings(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A, session_timeout=9) as client:
        for _ in range(40):
            await client.exists("/")
            await trio.sleep(2)
    assert fake.pings == 0


async def test_a_program_that_does_not_get_to_run_does_not_take_it_for_silence(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A, session_timeout=9) as client, trio.open_nursery() as nursery:
        fake.then(Do.HOLD, op=GET)
        nursery.start_soon(client.get, "/")
        await wait_all_tasks_blocked()
        # The answer arrives, and the program is busy with something else for longer than it may be silent.
        fake.release_now()
        autojump_clock.jump(8.0)
        await client.exists("/")
        assert client.state is SessionState.CONNECTED
    assert len(fake.handshakes) == 1


async def test_write_errors_wait_for_what_the_server_said_last(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """The server answers and closes; what is written meanwhile fails, and its answers are still to be read."""
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:
        await client.create("/a", b"x")
        results: list[Any] = []

        async def get() -> None:
            results.append((await client.get("/a")).data)

        fake.then(Do.HOLD, op=GET)
        nursery.start_soon(get)
        await wait_all_tasks_blocked()
        # All at once, before the client gets to run again.
        fake.release_now()
        fake.drop()
        nursery.start_soon(get)
        nursery.start_soon(get)
    assert results == [b"x"] * 3
    # The first was answered, and not asked again.
    assert fake.ops().count(GET) == 3


@pytest.mark.parametrize("busy", [False, True], ids=["direct", "by the sender"])
async def test_errors_of_writing_are_found_by_reading(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, busy: bool, autojump_clock: MockClock
) -> None:
    """A socket that takes no more bytes is not given up before its silence, or its end, says so."""
    async with zk_trio.open_client(A, session_timeout=9) as client, trio.open_nursery() as nursery:
        broken = True

        def send(stream: Stream, data: bytes) -> bool:
            if broken:
                raise BrokenPipeError(32, "Broken pipe")
            return original(stream, data)

        original = Stream.send
        monkeypatch.setattr(Stream, "send", send)
        began = trio.current_time()
        for _ in range(2 if busy else 1):
            nursery.start_soon(client.exists, "/")
        await wait_all_tasks_blocked()
        assert client.state is SessionState.CONNECTED
        await until(client, SessionState.SUSPENDED)
        assert trio.current_time() - began <= 6.0
        broken = False


async def test_read_errors_end_the_connection(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A) as client:

        def receive(stream: Stream) -> bytes | None:
            monkeypatch.undo()
            monkeypatch.setattr("zk_trio._driver.dial", fake.dial)
            raise ConnectionResetError(104, "Connection reset by peer")

        monkeypatch.setattr(Stream, "receive", receive)
        with pytest.raises(ConnectionLossError) as caught:
            await client.set("/", b"")
        assert caught.value.reason == "Connection reset by peer"
        assert caught.value.server == f"{A}:2181"
        assert caught.value.maybe_applied
        await until(client, SessionState.CONNECTED)


async def test_a_list_of_servers_without_the_one_in_use_moves_the_client(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A) as client:
        client.set_hosts([A, f"{A}:2181"])
        assert client.state is SessionState.CONNECTED
        await trio.sleep(10)
        fake.then(Do.HOLD)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get_children, "/")
            await wait_all_tasks_blocked()
            client.set_hosts(B)
            assert client.state is SessionState.SUSPENDED
            await until(client, SessionState.CONNECTED)
            assert client.server == f"{B}:2181"
        assert client.session_id == 0x5001
        assert trio.current_time() == 10
    assert fake.dialled == [A, B]
    assert fake.ops().count(CHILDREN) == 2


async def test_another_list_while_there_is_no_connection(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.lost_packets = {A}
    async with zk_trio.open_client(A, open_timeout=0) as client:
        await trio.sleep(1)
        client.set_hosts(B)
        await until(client, SessionState.CONNECTED)
        assert trio.current_time() == 1
        assert client.server == f"{B}:2181"


async def test_a_read_only_server_is_left_for_a_better_one(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.read_only = {A, B}
    async with zk_trio.open_client(AB, read_only=True) as client, trio.open_nursery() as nursery:
        assert client.state is SessionState.READ_ONLY
        assert client.ticket is None
        assert await client.get_children("/") == []
        with pytest.raises(zk_trio.NotReadOnlyError):
            await client.create("/a")
        await trio.sleep(20)
        assert client.state is SessionState.READ_ONLY
        fake.then(Do.HOLD)
        nursery.start_soon(client.get_children, "/")
        fake.read_only = {A}
        await until(client, SessionState.CONNECTED)
        assert client.server == f"{B}:2181"
        await client.create("/a")
    assert fake.dialled[0] == A
    assert fake.dialled[-1] == B
    assert all(sock.fileno() == -1 for sock in fake.sockets)


async def test_probes_that_fail_change_nothing(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    fake.read_only = {A, B, C}
    async with zk_trio.open_client(f"{A},{B},{C}", read_only=True) as client:
        fake.unreachable = {B: ConnectionRefusedError(111, "Connection refused")}
        fake.lost_packets = {C}
        await trio.sleep(100)
        assert client.state is SessionState.READ_ONLY
        fake.lost_packets = set()
        fake.unreachable = {}
        fake.read_only = {A}
        await until(client, SessionState.CONNECTED)
    assert len(fake.dialled) > 10


async def test_names_are_resolved_while_looking_for_a_better_server(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    fake.read_only = {A, B}

    async def look_up(host: str, port: int, **_: object) -> list[Any]:
        await trio.lowlevel.checkpoint()
        return [(0, 0, 0, "", ({"a": A, "b": B}[host], port))]

    monkeypatch.setattr("trio.socket.getaddrinfo", look_up)
    async with zk_trio.open_client("a,b", read_only=True) as client:
        assert client.server == f"a:2181 ({A})"
        fake.read_only = {A}
        await until(client, SessionState.CONNECTED)
        assert client.server == f"b:2181 ({B})"


async def test_a_certificate_that_cannot_be_loaded_is_a_failure_of_its_server(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    def load() -> Any:
        raise FileNotFoundError(2, "No such file or directory", "client.pem")

    with pytest.raises(ConnectError) as caught:
        async with zk_trio.open_client("127.0.0.1:1", ssl=load, open_timeout=1):
            pass
    (why,) = caught.value.failures.values()
    assert "No such file or directory" in why


async def test_a_defect_beside_a_connection_leaves_as_itself(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def dial(*_: object) -> Stream:
        raise ZeroDivisionError

    monkeypatch.setattr("zk_trio._driver.dial", dial)
    with pytest.raises(ZeroDivisionError):
        async with zk_trio.open_client(A):
            pass
