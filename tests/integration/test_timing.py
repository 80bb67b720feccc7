"""Time: pings, silence, and the deadline after which a session is presumed lost. The clock is the real one."""

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import reach
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient, expire
from tests.support.servers import HOST, AnyServer

pytestmark = [pytest.mark.trio, pytest.mark.server("real time, of a real server")]

SLACK = 0.5
"""Seconds by which a busy machine may be late."""


async def test_idle_client_keeps_its_session(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    async with zk.open_client(proxy.hosts, session_timeout=1) as client:
        session = client.session_id
        await client.create(f"{root}/e", ephemeral=True)
        async with client.states() as states:
            with trio.move_on_after(2):
                seen = []
                async for state in states:
                    seen.append(state)
        assert seen == [zk.SessionState.CONNECTED]
        assert client.session_id == session
        assert proxy.connections == 1
        assert proxy.opcodes.count(11) >= 3
        assert witness.exists(f"{root}/e") is not None


async def test_silence_is_noticed_within_two_thirds_of_the_timeout(proxy: ChaosProxy, root: str) -> None:
    async with zk.open_client(proxy.hosts, session_timeout=2) as client:
        await client.exists(root)
        proxy.black_hole()
        began = trio.current_time()
        noticed = await reach(client, zk.SessionState.SUSPENDED)
        assert noticed <= began + client.session_timeout * 2 / 3 + SLACK
        session = client.session_id
        proxy.heal()
        await reach(client, zk.SessionState.CONNECTED)
        assert client.session_id == session


@pytest.mark.parametrize("direction", ["requests", "replies"])
async def test_half_a_black_hole_is_one(proxy: ChaosProxy, root: str, direction: str) -> None:
    """Whether what we send is lost, or what the server sends."""
    async with zk.open_client(proxy.hosts, session_timeout=2) as client:
        await client.exists(root)
        proxy.black_hole("requests" if direction == "requests" else "replies")
        began = trio.current_time()
        noticed = await reach(client, zk.SessionState.SUSPENDED)
        assert noticed <= began + client.session_timeout * 2 / 3 + SLACK
        proxy.heal()
        assert await client.exists(root) is not None


async def test_presumed_lost_at_the_deadline(proxy: ChaosProxy, root: str) -> None:
    """No server can have dropped the session before; nobody may hold a lease later."""
    async with zk.open_client(proxy.hosts, session_timeout=1.5) as client:
        asked = trio.current_time()
        await client.exists(root)
        proxy.black_hole()
        answered = trio.current_time()
        session = client.session_id
        lost = await reach(client, zk.SessionState.PRESUMED_LOST)
        assert asked + client.session_timeout <= lost <= answered + client.session_timeout + SLACK
        assert client.session_id == session
        proxy.heal()
        await reach(client, zk.SessionState.CONNECTED)
        assert await client.exists(root) is not None


@pytest.mark.parametrize("refused", [False, True])
async def test_expires_locally_if_asked_to(proxy: ChaosProxy, root: str, refused: bool) -> None:
    with pytest.raises(zk.SessionExpiredError):
        async with zk.open_client(proxy.hosts, session_timeout=1, expire_locally=True, on_expiry="raise") as client:
            asked = trio.current_time()
            await client.exists(root)
            if refused:
                proxy.refuse()
                proxy.cut()
            else:
                proxy.black_hole()
            answered = trio.current_time()
            try:
                await trio.sleep_forever()
            finally:
                ended = trio.current_time()
    assert asked + 4 / 3 <= ended <= answered + 4 / 3 + SLACK


async def test_pause_shorter_than_the_silence_goes_unnoticed(server: AnyServer, root: str) -> None:
    async with zk.open_client(server.hosts, session_timeout=3) as client, client.states() as states:
        assert await anext(states) is zk.SessionState.CONNECTED
        server.pause()
        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(client.create, f"{root}/{n}")
            await trio.sleep(1)
            server.resume()
        assert len(await client.get_children(root)) == 20
        with trio.move_on_after(0.1):
            pytest.fail(f"it went {await anext(states)}")


async def test_longer_pause_suspends_and_the_session_lives_on(server: AnyServer, root: str) -> None:
    async with zk.open_client(server.hosts, session_timeout=4) as client:
        await client.create(f"{root}/e", ephemeral=True)
        session = client.session_id
        server.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, root)
            await reach(client, zk.SessionState.SUSPENDED)
            server.resume()
            await reach(client, zk.SessionState.CONNECTED)
        assert client.session_id == session
        stat = await client.exists(f"{root}/e")
        assert stat is not None
        assert stat.ephemeral_owner == session


async def test_handshake_that_dribbles_is_given_up(proxy: ChaosProxy) -> None:
    """Its deadline is for all of it, and no byte starts it anew."""
    proxy.dribble(0.1)
    with trio.fail_after(10), pytest.raises(zk.ConnectError) as caught:
        async with zk.open_client(proxy.hosts, connect_timeout=0.5, open_timeout=2):
            pytest.fail("it opened")
    assert "handshake" in str(caught.value)
    assert proxy.connections >= 2


async def test_silent_server_is_passed_by(proxy: ChaosProxy, server: AnyServer) -> None:
    """One accepts connections and says nothing: the other one has the client, in whatever order they are tried."""
    proxy.black_hole()
    for _ in range(10):
        began = trio.current_time()
        async with zk.open_client(f"{proxy.hosts},{server.hosts}", connect_timeout=0.5, open_timeout=5) as client:
            assert client.server == server.hosts
            assert trio.current_time() < began + 0.5 + SLACK


async def test_slow_connection_works(proxy: ChaosProxy, root: str) -> None:
    async with zk.open_client(proxy.hosts, session_timeout=5) as client:
        proxy.delay(0.05)
        pipeline = client.pipeline()
        for n in range(100):
            pipeline.create(f"{root}/{n}", b"x" * 1000)
        outcomes = await pipeline.run()
        assert all(isinstance(made, zk.Created) for made in outcomes)
        proxy.heal()
        proxy.dribble()
        assert (await client.get(f"{root}/99")).data == b"x" * 1000
        assert client.state is zk.SessionState.CONNECTED


async def test_calls_without_a_connection(proxy: ChaosProxy, root: str) -> None:
    """They wait, or fail at once, as asked; those that fail were not sent."""
    async with zk.open_client(proxy.hosts, while_suspended="fail") as client:
        proxy.refuse()
        proxy.cut()
        await reach(client, zk.SessionState.SUSPENDED)
        for call in (client.get(root), client.create(f"{root}/a"), client.transaction().delete(root).commit()):
            with pytest.raises(zk.SuspendedError) as caught:
                await call
            assert caught.value.maybe_applied is False
        waited = None

        async def wait() -> None:
            nonlocal waited
            waited = await client.using(while_suspended="wait").create(f"{root}/b")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            with trio.move_on_after(0.2):
                await client.using(while_suspended="wait").create(f"{root}/never")
            assert waited is None
            proxy.heal()
        assert waited == f"{root}/b"
        assert await client.get_children(root) == ["b"]


async def test_no_server(proxy: ChaosProxy) -> None:
    proxy.refuse()
    began = trio.current_time()
    with pytest.raises(zk.ConnectError) as caught:
        async with zk.open_client(proxy.hosts, open_timeout=0.5):
            pytest.fail("it opened")
    assert trio.current_time() < began + 0.5 + SLACK
    assert list(caught.value.failures) == [proxy.hosts]
    assert "Connection refused" in str(caught.value)
    async with zk.open_client(proxy.hosts, open_timeout=0) as client:
        assert client.state is zk.SessionState.CONNECTING
        proxy.heal()
        assert await client.exists("/") is not None


async def test_closing_is_bounded(proxy: ChaosProxy, server: AnyServer) -> None:
    """Also without a server's word; the session is then left to its timeout."""
    async with zk.open_client(proxy.hosts, close_grace=0.5) as client:
        ticket = client.ticket
        proxy.black_hole()
        began = trio.current_time()
    assert trio.current_time() < began + 0.5 + SLACK
    assert ticket is not None
    expire(HOST, server.port, (ticket.session_id, ticket.password))
