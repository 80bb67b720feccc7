"""What a server refuses because of how it is configured."""

from collections.abc import Iterator

import pytest

import zk_trio as zk
from tests.conftest import MakeServer, Shared, open_server
from tests.support.servers import AnyServer
from tests.support.settings import Options

pytestmark = pytest.mark.trio

STRICT = Options(
    config={
        "extendedTypesEnabled": "false",
        "reconfigEnabled": "false",
        "4lw.commands.whitelist": "srvr",
    },
)
OVERLOADED = Options(
    properties={"zookeeper.request_throttle_max_requests": 1, "zookeeper.throttled_op_wait_time": 1},
)


@pytest.fixture(scope="module")
def strict(zookeeper: str, shared: Shared) -> Iterator[AnyServer]:
    """A server with most features off."""
    with shared.open(open_server(zookeeper, STRICT)) as server:
        yield server


async def test_ttl_is_off(strict: AnyServer) -> None:
    async with zk.open_client(strict.hosts) as client:
        with pytest.raises(zk.UnimplementedError) as caught:
            await client.create("/ttl", ttl=1)
        assert (caught.value.code, caught.value.path) == (-6, "/ttl")
        with pytest.raises(zk.TransactionError) as failed:
            await client.transaction().create("/ttl", ttl=1).commit()
        assert isinstance(failed.value.error, zk.UnimplementedError)
        await client.create("/container", container=True)
        assert client.state is zk.SessionState.CONNECTED


async def test_reconfig_is_off(strict: AnyServer) -> None:
    async with zk.open_client(strict.hosts) as client:
        with pytest.raises(zk.ReconfigDisabledError) as caught:
            await client.reconfig(leaving="1")
        assert caught.value.code == -123


async def test_reconfig_of_a_standalone_server(client: zk.Client) -> None:
    with pytest.raises(zk.UnimplementedError) as caught:
        await client.reconfig(joining="server.2=127.0.0.1:1:2;3")
    assert caught.value.code == -6
    with pytest.raises(zk.InvalidRequestError):
        await client.reconfig(joining="server.2=127.0.0.1:1:2;3", new_members="server.2=127.0.0.1:1:2;3")
    config = await client.get_config()
    assert (config.members, config.version) == ((), None)


@pytest.mark.server("quotas")
async def test_quota(make_server: MakeServer) -> None:
    server = make_server(Options(config={"enforceQuota": "true"}))
    async with zk.open_client(server.hosts) as client:
        await client.create("/limited")
        limits = b"count=-1,bytes=-1=;byteHardLimit=20;countHardLimit=3"
        await client.create("/zookeeper/quota/limited/zookeeper_limits", limits, make_parents=True)
        await client.create("/zookeeper/quota/limited/zookeeper_stats", b"count=1,bytes=0")
        await client.create("/limited/a", b"x" * 10)
        with pytest.raises(zk.QuotaExceededError) as caught:
            await client.set("/limited/a", b"x" * 21)
        assert (caught.value.code, caught.value.path) == (-125, "/limited/a")
        await client.create("/limited/b")
        with pytest.raises(zk.QuotaExceededError):
            await client.create("/limited/c")
        with pytest.raises(zk.TransactionError) as failed:
            await client.transaction().delete("/limited/b").create("/limited/c").create("/limited/d").commit()
        assert isinstance(failed.value.error, zk.QuotaExceededError)
        assert (await client.get("/limited/a")).data == b"x" * 10
        assert sorted(await client.get_children("/limited")) == ["a", "b"]


async def test_words_that_are_not_listed(strict: AnyServer) -> None:
    assert "Mode: standalone" in await zk.four_letter_word(strict.hosts, "srvr")
    for word in ("mntr", "ruok"):
        with pytest.raises(zk.FourLetterError, match="whitelist"):
            await zk.four_letter_word(strict.hosts, word)


@pytest.mark.server("refusing what is too much")
async def test_overload(make_server: MakeServer) -> None:
    """What an overloaded server refuses is made again, as far as the policy allows."""
    server = make_server(OVERLOADED)
    async with zk.open_client(server.hosts) as client:
        pipeline = client.using(retry=zk.RetryPolicy(max_attempts=1)).pipeline()
        for _ in range(500):
            pipeline.set("/", b"")
        outcomes = await pipeline.run()
        refused = [outcome for outcome in outcomes if not isinstance(outcome, zk.Stat)]
        assert refused
        for error in refused:
            assert isinstance(error, zk.ThrottledError)
            assert (error.code, error.maybe_applied) == (-127, False)
        assert (await client.get("/")).stat.version == 500 - len(refused)
        pipeline = client.pipeline()
        for n in range(4):
            pipeline.create(f"/{n}")
        outcomes = await pipeline.run()
        assert [made.path for made in outcomes] == [f"/{n}" for n in range(4)]
