"""An ensemble of three: its configuration, another server that takes over, and what a follower shows."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import at_once, brief, connections_of, ephemerals_of, next_change, reach, until
from tests.support.ensemble import AnyEnsemble, member_line
from tests.support.proxy import ChaosProxy
from tests.support.servers import HOST
from tests.support.settings import SUPER
from tests.support.waiting import blocking

pytestmark = pytest.mark.trio

SLACK = 0.5
"""Seconds by which a busy machine may be late."""
AS_SUPER = [("digest", ":".join(SUPER))]


@pytest.fixture
def proxies(ensemble: AnyEnsemble[Any]) -> Iterator[list[ChaosProxy]]:
    """A proxy in front of each member."""
    with ExitStack() as stack:
        yield [stack.enter_context(ChaosProxy(server.port)) for server in ensemble]


@asynccontextmanager
async def at_two(ensemble: AnyEnsemble[Any]) -> AsyncIterator[tuple[zk.Client, zk.Client]]:
    """Two clients at different servers."""
    async with zk.open_client(ensemble[0].hosts) as one, zk.open_client(ensemble[1].hosts) as other:
        yield one, other


async def test_get_config(ensemble: AnyEnsemble[Any]) -> None:
    async with zk.open_client(f"{ensemble.hosts}/chroot") as client:
        config = await client.get_config()
        assert [member.id for member in config.members] == [1, 2, 3]
        for member, server in zip(config.members, ensemble, strict=True):
            assert member.role == "participant"
            assert member.client_address == server.hosts
            assert f"server.{member.id}={member.spec};{member.client_address}" == member_line(server)
        assert config.version is not None
        assert f"version={config.version:x}" in config.text


async def test_reconfig_refusals(ensemble: AnyEnsemble[Any]) -> None:
    async with zk.open_client(ensemble.hosts) as anonymous:
        with pytest.raises(zk.NoAuthError) as forbidden:
            await anonymous.reconfig(leaving="3")
        assert forbidden.value.code == -102
    async with zk.open_client(ensemble.hosts, auth=AS_SUPER) as client:
        before = await client.get_config()
        with pytest.raises(zk.BadArgumentsError) as malformed:
            await client.reconfig(joining="server.4=nonsense")
        assert malformed.value.code == -8
        with pytest.raises(zk.BadVersionError) as outdated:
            await client.reconfig(leaving="3", version=0xBAD)
        assert outdated.value.code == -103
        absent = [f"server.{n}={HOST}:{n}:{n + 10}:participant;{HOST}:{n + 20}" for n in range(4, 8)]
        with pytest.raises(zk.NewConfigNoQuorumError) as unsynced:
            await client.reconfig(joining=absent)
        assert unsynced.value.code == -13
        assert await client.get_config() == before


async def test_follower_shows_what_was_committed_before_a_sync(ensemble: AnyEnsemble[Any]) -> None:
    async with at_two(ensemble) as (writer, reader):
        path = await writer.create("/synced", b"")
        for n in range(100):
            await writer.set(path, b"%d" % n)
            pipeline = reader.pipeline()
            pipeline.sync(path)
            read = pipeline.get(path)
            await pipeline.run()
            assert read.value.data == b"%d" % n
            await reader.sync(path)
            assert (await reader.get(path)).data == b"%d" % n


async def test_event_comes_before_a_read_that_shows_the_change(ensemble: AnyEnsemble[Any]) -> None:
    async with at_two(ensemble) as (writer, reader):
        path = await writer.create("/ordered")
        await reader.sync()
        async with reader.watch(path) as changes:
            shown = told = 0

            async def change() -> None:
                for _ in range(200):
                    await writer.set(path, b"")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(change)
                while shown < 200:
                    shown = (await reader.get(path)).stat.version
                    told += len(await at_once(lambda: anext(changes)))
                    assert told >= shown
            assert told == 200


async def test_another_server_takes_over_a_silent_connection(proxies: list[ChaosProxy]) -> None:
    """Noticed within two thirds of the timeout; what was asked of the silent server is asked of the other one."""
    one, other, _ = proxies
    async with zk.open_client(f"{one.hosts},{other.hosts}", session_timeout=3) as client:
        path = await client.create("/taken-over", b"data", ephemeral=True)
        session = client.session_id
        silent = one if client.server == one.hosts else other
        async with client.watch(path) as changes:
            silent.black_hole()
            began = trio.current_time()
            assert (await client.get(path)).data == b"data"
            assert trio.current_time() <= began + client.session_timeout * 2 / 3 + SLACK
            assert client.server == (other if silent is one else one).hosts
            assert client.session_id == session
            assert brief(await next_change(changes)) == ("GAP", "reconnected")
            await client.set(path, b"")
            assert brief(await next_change(changes)) == ("DATA_CHANGED", path)


async def test_another_server_takes_over_from_a_killed_one(ensemble: AnyEnsemble[Any]) -> None:
    async with zk.open_client(ensemble.hosts) as client:
        path = await client.create("/of-a-killed-server", ephemeral=True)
        session = client.session_id
        async with client.watch(path) as changes:
            for _ in range(2):
                used = next(server for server in ensemble if server.hosts == client.server)
                await blocking(used.kill)
                stat = await client.exists(path)
                assert stat is not None
                assert stat.ephemeral_owner == session == client.session_id
                assert client.server != used.hosts
                assert brief(await next_change(changes)) == ("GAP", "reconnected")
                await blocking(ensemble.heal)


async def test_session_that_is_moved_behind_its_owner(ensemble: AnyEnsemble[Any], proxies: list[ChaosProxy]) -> None:
    """The old server ends the connection at the next request; the session is taken back."""
    async with zk.open_client(proxies[0].hosts) as client:
        await client.create("/moved", ephemeral=True)
        ticket = client.ticket
        assert ticket is not None
        rival = ensemble[1].raw(session=(ticket.session_id, ticket.password))
        assert connections_of(ensemble[1], ticket.session_id) == 1
        connected = proxies[0].connections
        with pytest.raises(zk.ConnectionLossError) as caught:
            await client.set("/moved", b"")
        assert caught.value.maybe_applied is True
        stat = await client.exists("/moved")
        assert stat is not None
        assert stat.version == 0
        assert proxies[0].connections > connected
        assert client.session_id == ticket.session_id
        await client.set("/moved", b"")
        rival.abandon()


async def test_moved_to_a_client_at_another_server(ensemble: AnyEnsemble[Any]) -> None:
    async with zk.open_client(ensemble[0].hosts, keep_session=True) as first:
        await first.create("/passed-on", ephemeral=True)
        ticket = first.ticket
    async with zk.open_client(ensemble[1].hosts, ticket=ticket) as second:
        assert await second.get_ephemerals() == ["/passed-on"]
        assert second.last_zxid >= first.last_zxid
        assert ephemerals_of(ensemble[1], second.session_id) == {"/passed-on"}
    async with zk.open_client(ensemble[2].hosts) as witness:
        await witness.sync()
        assert await witness.exists("/passed-on") is None


async def test_other_servers_are_given(ensemble: AnyEnsemble[Any]) -> None:
    """The client moves when its server is not in the list any more, and keeps its session."""
    async with zk.open_client(ensemble[0].hosts) as client:
        await client.create("/resettled", ephemeral=True)
        session = client.session_id
        client.set_hosts([ensemble[1].hosts, ensemble[2].hosts])
        await until(lambda: client.server in (ensemble[1].hosts, ensemble[2].hosts))
        stat = await client.exists("/resettled")
        assert stat is not None
        assert stat.ephemeral_owner == session == client.session_id
        client.set_hosts(ensemble.hosts)
        await client.exists("/")
        with pytest.raises(zk.InvalidRequestError):
            client.set_hosts(f"{ensemble.hosts}/chroot")


async def test_no_quorum(ensemble: AnyEnsemble[Any]) -> None:
    """Without a majority there is no service, and no expiry either: the session waits, and goes on."""
    async with zk.open_client(ensemble.hosts, session_timeout=20) as client:
        await client.create("/waiting", ephemeral=True)
        session = client.session_id
        leader = await blocking(ensemble.wait_for_leader)
        others = [server for server in ensemble if server is not leader]
        for server in others:
            await blocking(server.kill)
        await until(lambda: leader.mode() is None)  # for a moment it goes on as if nothing had happened
        await reach(client, zk.SessionState.SUSPENDED)
        found: list[zk.Stat] = []

        async def write() -> None:
            found.append(await client.set("/waiting", b"x"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(zk.ConnectError):
                async with zk.open_client(ensemble.hosts, open_timeout=0.5):
                    pytest.fail("it opened")
            assert client.state is zk.SessionState.SUSPENDED
            await blocking(others[0].start)
        assert found[0].version == 1
        assert client.session_id == session
        await blocking(ensemble.heal)
