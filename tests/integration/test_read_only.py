"""A server without a quorum that serves reads, and the way back to one that serves writes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import zk_trio as zk
from tests.conftest import REAL, MakeEnsemble, Shared, open_ensemble
from tests.integration.tools import reach, until
from tests.support.ensemble import AnyEnsemble
from tests.support.servers import AnyServer
from tests.support.settings import Options
from tests.support.waiting import blocking

pytestmark = pytest.mark.trio

OPTIONS = Options(read_only_mode=True, local_sessions=True, config={"localSessionsUpgradingEnabled": "false"})


@pytest.fixture(scope="module")
def local(zookeeper: str, shared: Shared) -> Iterator[AnyEnsemble[Any]]:
    """An ensemble with read-only mode, and if it is real with local sessions that stay local."""
    options = OPTIONS if zookeeper == REAL else Options(read_only_mode=True)
    with shared.open(open_ensemble(zookeeper, 3, options)) as started:
        yield started


@asynccontextmanager
async def left_alone(ensemble: AnyEnsemble[Any]) -> AsyncIterator[AnyServer]:
    """One server is on its own."""
    alone, *others = ensemble
    for server in others:
        await blocking(server.kill)
    await until(lambda: alone.mode() == "read-only", within=30)
    yield alone
    await blocking(ensemble.heal)


@pytest.mark.server("local sessions")
async def test_local_sessions_make_no_ephemerals(local: AnyEnsemble[Any]) -> None:
    async with zk.open_client(local.hosts) as client:
        with pytest.raises(zk.EphemeralOnLocalSessionError) as caught:
            await client.create("/e", ephemeral=True)
        assert (caught.value.code, caught.value.path) == (-120, "/e")
        await client.create("/persistent", b"data")


async def test_read_only_server_and_back(local: AnyEnsemble[Any]) -> None:
    async with zk.open_client(local.hosts) as client:
        await client.ensure_path("/a/b")
        await client.set("/a", b"data")
    async with left_alone(local) as alone:
        with pytest.raises(zk.ConnectError):
            async with zk.open_client(local.hosts, open_timeout=1):
                pytest.fail("it opened")
        async with zk.open_client(local.hosts, read_only=True) as client:
            assert client.state is zk.SessionState.READ_ONLY
            assert client.server == alone.hosts
            assert client.ticket is None  # this session is worth nothing elsewhere
            assert (await client.get("/a")).data == b"data"
            assert await client.get_children("/a") == ["b"]
            assert len(await client.multi_read().get("/a").get_children("/a").run()) == 2
            assert await client.whoami() == [zk.Id("ip", "127.0.0.1")]
            for call in (
                client.set("/a", b""),
                client.create("/c"),
                client.delete("/a/b"),
                client.set_acl("/a", zk.OPEN),
                client.sync(),
                client.transaction().set("/a", b"").commit(),
            ):
                with pytest.raises(zk.NotReadOnlyError) as caught:
                    await call
                assert caught.value.code == -119
                assert caught.value.maybe_applied is False
            old = client.session_id
            async with client.watch("/a") as changes:
                await blocking(local.heal)
                await reach(client, zk.SessionState.CONNECTED, within=30)
                assert client.session_id not in (0, old)
                assert client.ticket is not None
                assert isinstance(await anext(changes), zk.Gap)
                assert (await client.set("/a", b"new")).version >= 2
                assert isinstance(await anext(changes), zk.WatchEvent)


@pytest.mark.server("holding one member")
async def test_moves_from_a_read_only_server_to_another_one(local: AnyEnsemble[Any]) -> None:
    """The read-only server stays as it is; the client finds the other ones by asking."""
    alone, *others = local
    async with left_alone(local), zk.open_client(local.hosts, read_only=True) as client:
        assert client.server == alone.hosts
        # Held, it does not notice that the others are back.
        alone.pause()
        for server in others:
            await blocking(server.start, wait=False)
        for server in others:
            await blocking(server.wait_until_serving)
        await reach(client, zk.SessionState.CONNECTED, within=30)
        assert client.server in [server.hosts for server in others]
        await client.create("/moved")


@pytest.mark.server("read-only mode without local sessions")
async def test_global_session_waits_for_a_quorum(make_ensemble: MakeEnsemble) -> None:
    """A read-only server refuses it: it is not given up for a session that can only read."""
    ensemble = await blocking(make_ensemble, 3, Options(read_only_mode=True))
    async with zk.open_client(ensemble.hosts, read_only=True, session_timeout=30) as client:
        await client.create("/e", ephemeral=True)
        session = client.session_id
        seen: set[zk.SessionState] = set()

        async def note() -> None:
            async with client.states() as states:
                async for state in states:
                    seen.add(state)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(note)
            async with left_alone(ensemble):
                # Without local sessions it has none for new clients either.
                with pytest.raises(zk.ConnectError) as caught:
                    async with zk.open_client(ensemble[0].hosts, read_only=True, open_timeout=0.5):
                        pytest.fail("it opened")
                assert "refused the session" in caught.value.failures[ensemble[0].hosts]
                assert client.state is zk.SessionState.SUSPENDED
            await reach(client, zk.SessionState.CONNECTED, within=30)
            nursery.cancel_scope.cancel()
        assert seen == {zk.SessionState.CONNECTED, zk.SessionState.SUSPENDED}
        assert client.session_id == session
        assert await client.get_ephemerals() == ["/e"]
