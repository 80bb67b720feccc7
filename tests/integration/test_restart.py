"""A standalone server that is killed and comes back while requests are under way."""

import pytest
import trio

import zk_trio as zk
from tests.conftest import MakeRealServer
from tests.integration.tools import brief, next_change, reach, until
from tests.support.raw import RawClient
from tests.support.servers import AnyServer
from tests.support.settings import Options
from tests.support.waiting import blocking

pytestmark = pytest.mark.trio


async def test_killed_in_the_middle_of_requests(server: AnyServer, root: str) -> None:
    """Every acknowledged write is there, what is raised was in flight, and reads never fail."""
    made: list[str] = []
    unknown: list[str] = []
    read: list[int] = []
    killed = trio.Event()
    async with zk.open_client(server.hosts) as client, client.watch(root) as changes:
        session = client.session_id
        await client.create(f"{root}/e", ephemeral=True)
        assert brief(await next_change(changes)) == ("CHILDREN_CHANGED", root)

        async def write(worker: int) -> None:
            for n in range(20):
                path = f"{root}/{worker}-{n}"
                try:
                    made.append(await client.create(path))
                except zk.ConnectionLossError as error:
                    unknown.append(path if error.maybe_applied and error.path == path else repr(error))
                if len(made) >= 60 and not killed.is_set():
                    killed.set()
                    server.kill()

        async def look() -> None:
            while len(made) + len(unknown) < 200:
                read.append((await client.get_children_with_stat(root)).stat.cversion)

        async with trio.open_nursery() as nursery:
            for worker in range(10):
                nursery.start_soon(write, worker)
            for _ in range(3):
                nursery.start_soon(look)
            await killed.wait()
            await reach(client, zk.SessionState.SUSPENDED)
            await blocking(server.start)
        assert len(made) + len(unknown) == 200
        assert len(unknown) <= 10  # one for each worker; none if all were answered, and what followed was not sent yet
        assert all(path.startswith(root) for path in unknown), unknown
        assert client.session_id == session
        with server.raw() as witness:
            there = {f"{root}/{name}" for name in witness.children(root)}
            stat = witness.exists(f"{root}/e")
        assert set(made) <= there <= {*made, *unknown, f"{root}/e"}
        assert stat is not None
        assert stat.ephemeral_owner == session
        while brief(await next_change(changes)) != ("GAP", "reconnected"):
            pass


async def test_killed_before_a_pipeline_is_answered(server: AnyServer, root: str) -> None:
    async with zk.open_client(server.hosts) as client:
        pipeline = client.pipeline()
        for n in range(200):
            pipeline.create(f"{root}/{n}", b"x" * 1000)
        outcomes: list[object] = []

        async def run() -> None:
            outcomes.extend(await pipeline.run())

        async with trio.open_nursery() as nursery:
            server.pause()
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            server.kill()
            await reach(client, zk.SessionState.SUSPENDED)
            await blocking(server.start)
        # Nobody knows what the server had read and done.
        for outcome in outcomes:
            assert isinstance(outcome, zk.ConnectionLossError)
            assert outcome.maybe_applied is True
        assert len(outcomes) == 200
        there = sorted(map(int, await client.get_children(root)))
        assert there == list(range(len(there)))


async def test_restarted_in_order(server: AnyServer, root: str, witness: RawClient) -> None:
    """What waits for the connection is sent when it is back, in order."""
    async with zk.open_client(server.hosts) as client, client.watch_data(root) as watch:
        await blocking(server.stop)
        await reach(client, zk.SessionState.SUSPENDED)
        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(client.create, f"{root}/{n}")
            await trio.testing.wait_all_tasks_blocked()
            await blocking(server.start)
        assert len(await client.get_children(root)) == 50
        await client.set(root, b"")
        assert brief(await watch.fired()) == ("DATA_CHANGED", root)


@pytest.mark.server("losing its data")
async def test_server_that_has_lost_its_data(make_server: MakeRealServer) -> None:
    """A wiped server is behind what the client has seen, and refuses it: that is no expiry, until it has caught up."""
    server = make_server(Options())
    async with zk.open_client(server.hosts, session_timeout=2) as client:
        for n in range(20):
            await client.create(f"/{n}")
        seen = client.last_zxid
        old = client.session_id
        await blocking(server.stop)
        server.wipe()
        await blocking(server.start)
        await reach(client, zk.SessionState.PRESUMED_LOST)
        assert client.session_id == old
        assert client.last_zxid == seen
        with server.raw() as other:
            for n in range(30):
                other.create(f"/other-{n}")
        await until(lambda: client.session_id not in (0, old))
        assert len(await client.get_children("/")) == 31
