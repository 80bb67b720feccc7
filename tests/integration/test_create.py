"""create, in every mode and with every option."""

import re
from typing import Any

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import until
from tests.support.raw import RawClient
from tests.support.servers import AnyServer

pytestmark = pytest.mark.trio

TAG = r"_c_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-"
MODES: dict[str, dict[str, Any]] = {
    "persistent": {},
    "ephemeral": {"ephemeral": True},
    "sequential": {"sequential": True},
    "ephemeral sequential": {"ephemeral": True, "sequential": True},
    "container": {"container": True},
    "TTL": {"ttl": 100},
    "sequential with TTL": {"ttl": 100, "sequential": True},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("protected", [False, True])
async def test_every_mode(client: zk.Client, root: str, witness: RawClient, mode: str, protected: bool) -> None:
    options = MODES[mode]
    paths = [await client.create(f"{root}/n", b"data", protected=protected, **options)]
    path, stat = await client.create_with_stat(f"{root}/m", b"more data", protected=protected, **options)
    paths.append(path)
    number = r"000000000\d" if "sequential" in options else ""
    for found, name in zip(paths, "nm", strict=True):
        assert re.fullmatch(rf"{root}/{TAG if protected else ''}{name}{number}", found)
    assert witness.children(root) == sorted(path.rpartition("/")[2] for path in paths)
    assert witness.get(paths[0]) == b"data"
    assert witness.get(paths[1]) == b"more data"
    assert witness.exists(paths[1]) == tuple(stat)
    assert stat.ephemeral_owner == (client.session_id if "ephemeral" in options else 0)
    assert (stat.version, stat.data_length, stat.num_children) == (0, 9, 0)


async def test_null_is_not_empty(client: zk.Client, root: str, witness: RawClient) -> None:
    await client.create(f"{root}/null", None)
    await client.create(f"{root}/empty", b"")
    assert witness.get(f"{root}/null") is None
    assert witness.get(f"{root}/empty") == b""
    assert [(await client.get(f"{root}/{name}")).data for name in ("null", "empty")] == [None, b""]


async def test_sequence_counts_every_child(client: zk.Client, root: str) -> None:
    assert await client.create(f"{root}/", sequential=True) == f"{root}/0000000000"
    await client.create(f"{root}/other")
    await client.delete(f"{root}/other")
    assert await client.create(f"{root}/a-", sequential=True) == f"{root}/a-0000000002"
    assert await client.create(f"{root}/a-", sequential=True, ephemeral=True) == f"{root}/a-0000000003"


async def test_ephemerals_go_with_the_session(server: AnyServer, root: str, witness: RawClient) -> None:
    async with zk.open_client(server.hosts) as client:
        await client.create(f"{root}/e", ephemeral=True)
        await client.create(f"{root}/s", ephemeral=True, sequential=True)
        await client.create(f"{root}/p")
        assert len(witness.children(root)) == 3
    assert witness.children(root) == ["p"]


async def test_container_goes_when_it_has_been_used(client: zk.Client, root: str, witness: RawClient) -> None:
    await client.create(f"{root}/used", container=True)
    await client.create(f"{root}/unused", container=True)
    await client.create(f"{root}/used/child")
    await client.delete(f"{root}/used/child")
    await until(lambda: witness.exists(f"{root}/used") is None)
    assert witness.children(root) == ["unused"]


async def test_ttl_reaps_what_is_childless_and_unmodified(client: zk.Client, root: str, witness: RawClient) -> None:
    await client.create(f"{root}/parent", ttl=0.1)
    await client.create(f"{root}/parent/child")
    numbered = await client.create(f"{root}/n-", ttl=0.2, sequential=True)
    long = await client.create(f"{root}/long", ttl=1000)
    # Whoever reaps looks at all of them: when this one goes, the parent was old enough, too.
    await until(lambda: witness.exists(numbered) is None)
    assert witness.exists(f"{root}/parent") is not None
    await client.delete(f"{root}/parent/child")
    await until(lambda: witness.exists(f"{root}/parent") is None)
    assert witness.exists(long) is not None


async def test_missing_parents(client: zk.Client, root: str, witness: RawClient) -> None:
    with pytest.raises(zk.NoNodeError) as caught:
        await client.create(f"{root}/a/b/c")
    assert (caught.value.code, caught.value.path) == (-101, f"{root}/a/b/c")
    acl = [zk.ACL(zk.Perms.ALL, zk.ANYONE), zk.digest_acl("user", "password", zk.Perms.READ)]
    assert await client.create(f"{root}/a/b/c", b"x", make_parents=True, acl=acl) == f"{root}/a/b/c"
    for path in (f"{root}/a", f"{root}/a/b", f"{root}/a/b/c"):
        assert list((await client.get_acl(path)).acl) == acl
    assert witness.get(f"{root}/a/b") == b""
    path, stat = await client.create_with_stat(f"{root}/d/e/f-", make_parents=True, sequential=True, ephemeral=True)
    assert path == f"{root}/d/e/f-0000000000"
    assert stat.ephemeral_owner == client.session_id
    path = await client.create(f"{root}/g/h/i", make_parents=True, protected=True)
    assert witness.children(f"{root}/g/h") == [path.rpartition("/")[2]]


async def test_missing_parents_of_a_container_are_containers(client: zk.Client, root: str, witness: RawClient) -> None:
    await client.create(f"{root}/a/b", container=True, make_parents=True)
    await client.create(f"{root}/a/b/c")
    await client.delete(f"{root}/a/b/c")
    await until(lambda: witness.exists(f"{root}/a") is None)


async def test_many_make_the_same_parents(client: zk.Client, root: str, witness: RawClient) -> None:
    async def make(n: int) -> None:
        await client.create(f"{root}/a/b/c/{n}", make_parents=True)

    async with trio.open_nursery() as nursery:
        for n in range(30):
            nursery.start_soon(make, n)
    assert len(witness.children(f"{root}/a/b/c")) == 30


async def test_ensure_path(client: zk.Client, root: str, witness: RawClient) -> None:
    await client.ensure_path(f"{root}/a/b/c")
    await client.ensure_path(f"{root}/a/b/c")
    await client.ensure_path(f"{root}/a/b/d/e", container=True)
    assert witness.children(f"{root}/a/b") == ["c", "d"]
    assert witness.children(f"{root}/a/b/c") == []
    await client.ensure_path("/")


async def test_refusals(client: zk.Client, root: str, witness: RawClient) -> None:
    await client.create(f"{root}/e", ephemeral=True)
    before = witness.exists(root)
    with pytest.raises(zk.NodeExistsError) as exists:
        await client.create(f"{root}/e")
    assert (exists.value.code, exists.value.path, exists.value.operation) == (-110, f"{root}/e", "create")
    assert exists.value.maybe_applied is False
    assert exists.value.zxid == client.last_zxid
    with pytest.raises(zk.NoChildrenForEphemeralsError) as childless:
        await client.create(f"{root}/e/child", make_parents=True)
    assert childless.value.code == -108
    with pytest.raises(zk.NodeExistsError):
        await client.create("/")
    for wrong in ({"container": True, "ttl": 1}, {"ephemeral": True, "ttl": 1}, {"ttl": 0}, {"ttl": 2.0**31}):
        with pytest.raises(zk.InvalidRequestError):
            await client.create(f"{root}/x", **wrong)
    assert witness.exists(root) == before


async def test_largest_data(client: zk.Client, root: str, witness: RawClient) -> None:
    path = f"{root}/large"
    # header, path, data, ACL of world:anyone, flags; jute.maxbuffer is 0xfffff
    room = 0xFFFFF - 8 - (4 + len(path)) - 4 - (4 + 4 + 4 + 5 + 4 + 6) - 4
    with pytest.raises(zk.RequestTooLargeError) as caught:
        await client.create(path, bytes(room + 1))
    assert (caught.value.size, caught.value.limit, caught.value.path) == (0x100000, 0xFFFFF, path)
    await client.create(path, b"c" * room)
    assert witness.get(path) == b"c" * room
    room = 0xFFFFF - 8 - (4 + len(path)) - 4 - 4
    with pytest.raises(zk.RequestTooLargeError):
        await client.set(path, bytes(room + 1))
    data = bytes(range(256)) * 4096
    stat = await client.set(path, data[:room])
    assert stat.data_length == room
    assert (await client.get(path)).data == data[:room]
    assert client.state is zk.SessionState.CONNECTED
