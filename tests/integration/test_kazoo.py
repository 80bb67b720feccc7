"""What kazoo writes we read, and the other way round."""

from collections.abc import Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError as KazooNoAuthError
from kazoo.protocol.states import WatchedEvent
from kazoo.security import ACL as KAZOO_ACL
from kazoo.security import make_digest_acl

import zk_trio as zk
from tests.integration.tools import brief, next_changes, until
from tests.support.servers import AnyServer
from tests.support.waiting import blocking

pytestmark = pytest.mark.trio

DATA = [b"", b"x", bytes(range(256)), b"x" * 100_000]
NAMES = ["plain", "with space", "ümläut", "漢字", "a.b-c_d", "..."]


@pytest.fixture
def kazoo(server: AnyServer) -> Iterator[Any]:
    """A client of the other kind; its calls block."""
    client = KazooClient(server.hosts)
    client.start()
    yield client
    client.stop()
    client.close()


async def test_data(client: zk.Client, kazoo: Any, root: str) -> None:
    for n, data in enumerate(DATA):
        await blocking(kazoo.create, f"{root}/kazoo-{n}", data)
        await client.create(f"{root}/ours-{n}", data)
    for n, data in enumerate(DATA):
        assert (await client.get(f"{root}/kazoo-{n}")).data == data
        assert (await blocking(kazoo.get, f"{root}/ours-{n}"))[0] == data
    assert sorted(await client.get_children(root)) == sorted(await blocking(kazoo.get_children, root))


async def test_names(client: zk.Client, kazoo: Any, root: str) -> None:
    for name in NAMES:
        await blocking(kazoo.create, f"{root}/{name}")
        assert await client.exists(f"{root}/{name}") is not None
        await client.create(f"{root}/{name}/{name}")
        assert await blocking(kazoo.get_children, f"{root}/{name}") == [name]
    assert set(await client.get_children(root)) == set(NAMES)


async def test_stats(client: zk.Client, kazoo: Any, root: str) -> None:
    path = await client.create(f"{root}/a", b"data", ephemeral=True)
    await blocking(kazoo.set, path, b"other")
    stat = (await client.get(path)).stat
    assert tuple(stat) == tuple((await blocking(kazoo.get, path))[1])
    assert stat.ephemeral_owner == client.session_id
    await blocking(kazoo.create, f"{root}/b", ephemeral=True)
    owner = await client.exists(f"{root}/b")
    assert owner is not None
    assert owner.ephemeral_owner == kazoo.client_id[0]


async def test_sequence(client: zk.Client, kazoo: Any, root: str) -> None:
    names = []
    for _ in range(3):
        names.append(await client.create(f"{root}/n-", sequential=True))
        names.append(await blocking(kazoo.create, f"{root}/n-", sequence=True))
    assert names == [f"{root}/n-{n:010}" for n in range(6)]


async def test_versions(client: zk.Client, kazoo: Any, root: str) -> None:
    path = await client.create(f"{root}/a")
    for n in range(0, 6, 2):
        assert (await blocking(kazoo.set, path, b"", version=n)).version == n + 1
        assert (await client.set(path, b"", version=n + 1)).version == n + 2


async def test_acl(client: zk.Client, kazoo: Any, root: str) -> None:
    theirs = make_digest_acl("bob", "secret", all=True)
    ours = zk.digest_acl("bob", "secret")
    assert (theirs.perms, *theirs.id) == (ours.perms, *ours.id)
    await blocking(kazoo.create, f"{root}/theirs", b"1", acl=[theirs])
    await client.create(f"{root}/ours", b"2", acl=[ours])
    with pytest.raises(zk.NoAuthError):
        await client.get(f"{root}/theirs")
    with pytest.raises(KazooNoAuthError):
        await blocking(kazoo.get, f"{root}/ours")
    await client.add_auth("digest", "bob:secret")
    await blocking(kazoo.add_auth, "digest", "bob:secret")
    assert (await client.get(f"{root}/theirs")).data == b"1"
    assert (await blocking(kazoo.get, f"{root}/ours"))[0] == b"2"
    assert list((await client.get_acl(f"{root}/theirs")).acl) == [ours]
    assert await blocking(lambda: kazoo.get_acls(f"{root}/ours")[0]) == [KAZOO_ACL(theirs.perms, theirs.id)]


async def test_transactions(client: zk.Client, kazoo: Any, root: str) -> None:
    transaction = kazoo.transaction()
    transaction.create(f"{root}/a", b"1")
    transaction.create(f"{root}/b-", b"2", sequence=True)
    assert await blocking(transaction.commit) == [f"{root}/a", f"{root}/b-0000000001"]
    await (
        client.transaction()
        .check(f"{root}/a", version=0)
        .set(f"{root}/a", b"3")
        .delete(f"{root}/b-0000000001")
        .commit()
    )
    assert (await blocking(kazoo.get, f"{root}/a"))[0] == b"3"
    assert await blocking(kazoo.get_children, root) == ["a"]


async def test_watches(client: zk.Client, kazoo: Any, root: str) -> None:
    async with client.watch(root, recursive=True) as changes:
        await blocking(kazoo.create, f"{root}/a")
        await blocking(kazoo.set, f"{root}/a", b"x")
        await blocking(kazoo.delete, f"{root}/a")
        assert [brief(change) for change in await next_changes(changes, 3)] == [
            ("CREATED", f"{root}/a"),
            ("DATA_CHANGED", f"{root}/a"),
            ("DELETED", f"{root}/a"),
        ]
    events: list[WatchedEvent] = []
    await blocking(kazoo.get, root, events.append)
    await client.set(root, b"x")
    await until(lambda: events)
    assert (events[0].type, events[0].path) == ("CHANGED", root)


async def test_session_goes_to_and_fro(server: AnyServer, root: str) -> None:
    """A session is its id and its password, whoever made it."""
    async with zk.open_client(server.hosts, keep_session=True) as client:
        await client.create(f"{root}/e", ephemeral=True)
        ticket = client.ticket
    assert ticket is not None
    kazoo = KazooClient(server.hosts, client_id=(ticket.session_id, ticket.password))
    await blocking(kazoo.start)
    assert kazoo.client_id[0] == ticket.session_id
    assert (await blocking(kazoo.exists, f"{root}/e")).ephemeralOwner == ticket.session_id
    async with zk.open_client(server.hosts, ticket=ticket) as again:
        assert again.session_id == ticket.session_id
        assert await again.get_ephemerals() == [f"{root}/e"]
        await blocking(kazoo.stop)
    await blocking(kazoo.close)
