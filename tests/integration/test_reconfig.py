"""Members that join and leave, and how a client learns of it."""

from typing import Any

import pytest
import trio

import zk_trio as zk
from tests.conftest import MakeRealEnsemble
from tests.integration.tools import brief, next_change, until
from tests.support.ensemble import Ensemble, member_line
from tests.support.settings import SUPER, Options
from tests.support.waiting import blocking

pytestmark = [pytest.mark.trio, pytest.mark.server("other members")]

AS_SUPER = [("digest", ":".join(SUPER))]
CONFIG = "/zookeeper/config"


def ids(config: zk.EnsembleConfig) -> list[int]:
    return sorted(member.id for member in config.members)


async def test_members_join_and_leave(make_ensemble: MakeRealEnsemble) -> None:
    ensemble = await blocking(make_ensemble, 3, Options())
    newcomer = await blocking(ensemble.newcomer)
    await blocking(newcomer.wait_until_serving)
    async with (
        zk.open_client(f"{ensemble.hosts}/chroot", auth=AS_SUPER) as client,
        zk.open_client(ensemble.hosts) as observer,
        observer.watch(CONFIG) as changes,
        observer.watch_data(CONFIG) as once,
    ):
        first = await client.get_config()
        assert ids(first) == [1, 2, 3]
        joined = await client.reconfig(joining=member_line(newcomer))
        assert ids(joined) == [1, 2, 3, 4]
        assert joined.version is not None
        assert first.version is not None
        assert joined.version > first.version
        assert brief(await next_change(changes)) == ("DATA_CHANGED", CONFIG)
        assert brief(await once.fired()) == ("DATA_CHANGED", CONFIG)
        assert await observer.get_config() == joined == await client.get_config()

        with pytest.raises(zk.BadVersionError):
            await client.reconfig(leaving="1", version=first.version)
        # Leaving servers go on for a while: a client moves when it is told to.
        leader = await blocking(ensemble.wait_for_leader)
        leaving = next(server for server in ensemble if server is not leader)
        staying = [server for server in [*ensemble, newcomer] if server is not leaving]
        left = await client.reconfig(leaving=[str(leaving.server_id)], version=joined.version)
        assert ids(left) == sorted(server.server_id for server in staying)
        session = client.session_id
        client.set_hosts([member.client_address or "" for member in left.members])
        await until(lambda: client.server in [server.hosts for server in staying])
        assert await client.exists("/") is None  # the chroot
        assert client.session_id == session

        # A server whose role changes drops its clients: let it be neither the leader nor ours.
        demoted = next(server for server in staying if server is not leader and server.hosts != client.server)
        members = [member_line(server, "observer" if server is demoted else "participant") for server in staying]
        replaced = await client.reconfig(new_members=members)
        assert ids(replaced) == ids(left)
        assert sorted(member.role for member in replaced.members) == ["observer", "participant", "participant"]


async def test_reconfig_in_progress(make_ensemble: MakeRealEnsemble) -> None:
    """While the followers are held, the first one is not done, and the second one is refused."""
    ensemble: Ensemble = await blocking(make_ensemble, 3, Options())
    leader = await blocking(ensemble.wait_for_leader)
    followers = [server for server in ensemble if server is not leader]
    observer = member_line(followers[0], "observer")
    outcomes: dict[str, object] = {}
    async with zk.open_client(leader.hosts, auth=AS_SUPER) as client:
        before = await client.get_config()

        async def reconfig(name: str, **what: Any) -> None:
            try:
                outcomes[name] = await client.reconfig(**what)
            except zk.ServerError as error:
                outcomes[name] = error

        files = set(leader.folder.glob("*.next"))
        async with trio.open_nursery() as nursery:
            for server in followers:
                server.pause()
            nursery.start_soon(lambda: reconfig("first", joining=observer))
            await until(lambda: set(leader.folder.glob("*.next")) - files)  # proposed
            nursery.start_soon(lambda: reconfig("second", leaving=str(followers[1].server_id)))
            await trio.testing.wait_all_tasks_blocked()
            for server in followers:
                server.resume()
        done, refused = outcomes["first"], outcomes["second"]
        assert isinstance(done, zk.EnsembleConfig)
        assert ids(done) == ids(before)
        assert isinstance(refused, zk.ReconfigInProgressError)
        assert refused.code == -14
