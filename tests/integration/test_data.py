"""Reading and writing znodes: results and refusals."""

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import until
from tests.support.raw import RawClient
from tests.support.servers import AnyServer

pytestmark = pytest.mark.trio


async def test_get_and_exists(client: zk.Client, root: str, witness: RawClient) -> None:
    witness.create(f"{root}/a", b"data")
    znode = await client.get(f"{root}/a")
    assert znode.data == b"data"
    assert tuple(znode.stat) == witness.exists(f"{root}/a") == tuple(await client.exists(f"{root}/a") or ())
    assert await client.exists(f"{root}/none") is None
    with pytest.raises(zk.NoNodeError) as caught:
        await client.get(f"{root}/none")
    assert (caught.value.code, caught.value.path, caught.value.operation) == (-101, f"{root}/none", "get")


async def test_set(client: zk.Client, root: str, witness: RawClient) -> None:
    path = witness.create(f"{root}/a", b"data")
    for data in (b"x", b"", None, b"x"):
        stat = await client.set(path, data)
        assert witness.get(path) == data
        assert witness.exists(path) == tuple(stat)
    assert stat.version == 4
    assert (await client.set(path, b"y", version=4)).version == 5
    with pytest.raises(zk.BadVersionError) as version:
        await client.set(path, b"z", version=4)
    assert (version.value.code, version.value.path, version.value.maybe_applied) == (-103, path, False)
    with pytest.raises(zk.NoNodeError):
        await client.set(f"{root}/none", b"")
    assert witness.get(path) == b"y"


async def test_delete(client: zk.Client, root: str, witness: RawClient) -> None:
    path = witness.create(f"{root}/a")
    witness.create(f"{path}/b")
    with pytest.raises(zk.NotEmptyError) as caught:
        await client.delete(path)
    assert (caught.value.code, caught.value.path) == (-111, path)
    with pytest.raises(zk.BadVersionError):
        await client.delete(f"{path}/b", version=1)
    await client.delete(f"{path}/b", version=0)
    await client.delete(path)
    assert witness.exists(path) is None
    with pytest.raises(zk.NoNodeError):
        await client.delete(path)
    for reserved in ("/zookeeper", "/zookeeper/quota"):
        with pytest.raises(zk.BadArgumentsError) as bad:
            await client.delete(reserved)
        assert bad.value.code == -8
    with pytest.raises(zk.InvalidRequestError):
        await client.delete("/")


async def test_delete_recursive_while_others_create(
    client: zk.Client, server: AnyServer, root: str, witness: RawClient
) -> None:
    tree = f"{root}/tree"
    pipeline = client.pipeline()
    pipeline.create(tree)
    for branch in range(20):
        pipeline.create(f"{tree}/{branch}")
        for leaf in range(98):
            pipeline.create(f"{tree}/{branch}/{leaf}")
        pipeline.create(f"{tree}/{branch}/0/deeper")
    await pipeline.run()
    assert await client.count_descendants(tree) == 2_000
    began = trio.Event()
    made = 0

    async def disturb() -> None:
        nonlocal made
        async with zk.open_client(server.hosts) as other:
            for n in range(300):
                try:
                    await other.create(f"{tree}/{n % 20}/new-{n}")
                except zk.NoNodeError:
                    continue
                made += 1
                began.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(disturb)
        await began.wait()
        await client.delete(tree, recursive=True)
        assert witness.exists(tree) is None
    assert made
    with pytest.raises(zk.NoNodeError):
        await client.delete(tree, recursive=True)


async def test_delete_recursive_refusals(client: zk.Client, root: str, witness: RawClient) -> None:
    with pytest.raises(zk.InvalidRequestError):
        await client.delete("/", recursive=True)
    with pytest.raises(zk.InvalidRequestError):
        await client.delete(root, recursive=True, version=1)
    for path in ("a", "a/locked", "a/locked/child", "a/open"):
        witness.create(f"{root}/{path}")
    await client.set_acl(f"{root}/a/locked", zk.READ_ONLY)
    with pytest.raises(zk.NoAuthError) as caught:
        await client.delete(f"{root}/a", recursive=True)
    assert caught.value.path == f"{root}/a/locked/child"


async def test_children(client: zk.Client, root: str, witness: RawClient) -> None:
    assert await client.get_children(root) == []
    names = [f"ü {n} 漢字" for n in range(50)]
    for name in names:
        witness.create(f"{root}/{name}")
    assert sorted(await client.get_children(root)) == sorted(names)
    found = await client.get_children_with_stat(root)
    assert sorted(found.names) == sorted(names)
    assert tuple(found.stat) == witness.exists(root)
    for read in (client.get_children, client.get_children_with_stat):
        with pytest.raises(zk.NoNodeError):
            await read(f"{root}/none")


async def test_replies_larger_than_requests_may_be(client: zk.Client, root: str) -> None:
    names = [f"{n:0200}" for n in range(6000)]
    for start in range(0, len(names), 3000):
        transaction = client.transaction()
        for name in names[start : start + 3000]:
            transaction.create(f"{root}/{name}")
        await transaction.commit()
    assert sorted(await client.get_children(root)) == names
    data = [bytes([n]) * 1_000_000 for n in range(4)]
    batch = client.multi_read()
    for n, large in enumerate(data):
        await client.set(f"{root}/{names[n]}", large)
        batch.get(f"{root}/{names[n]}")
    read = await batch.run()
    assert [znode.data for znode in read if isinstance(znode, zk.Znode)] == data
    await client.delete(root, recursive=True)


async def test_reply_over_our_own_limit(server: AnyServer, root: str, witness: RawClient) -> None:
    witness.create(f"{root}/large", bytes(100_000))
    async with zk.open_client(server.hosts, max_reply=50_000) as client:
        with pytest.raises(zk.ReplyTooLargeError) as caught:
            await client.get(f"{root}/large")
        assert caught.value.limit == 50_000
        assert caught.value.size > 100_000
        assert await client.exists(f"{root}/large") is not None


async def test_count_descendants(client: zk.Client, root: str, witness: RawClient) -> None:
    for path in ("a", "a/b", "a/b/c", "d"):
        witness.create(f"{root}/{path}")
    assert await client.count_descendants(root) == 4
    assert await client.count_descendants(f"{root}/a") == 2
    assert await client.count_descendants(f"{root}/d") == 0
    everything = await client.count_descendants()
    assert everything >= 4 + 3
    with pytest.raises(zk.NoNodeError):
        await client.count_descendants(f"{root}/none")


async def test_get_ephemerals(client: zk.Client, root: str, witness: RawClient) -> None:
    assert await client.get_ephemerals() == []
    mine = {await client.create(f"{root}/{name}", ephemeral=True) for name in ("e1", "e2", "f")}
    witness.create(f"{root}/e3", flags=1)
    assert set(await client.get_ephemerals()) == mine
    assert set(await client.get_ephemerals(f"{root}/e")) == {f"{root}/e1", f"{root}/e2"}
    below = client.at(root)
    assert set(await below.get_ephemerals()) == {"/e1", "/e2", "/f"}
    assert await below.get_ephemerals("/f") == ["/f"]
    assert await client.at(f"{root}/e").get_ephemerals() == []
    with pytest.raises(zk.InvalidRequestError):
        await client.get_ephemerals("e")


async def test_sync(client: zk.Client, root: str) -> None:
    await client.sync()
    await client.sync(root)
    await client.sync(f"{root}/none")
    with pytest.raises(zk.InvalidPathError):
        await client.sync("relative")


async def test_multi_read(client: zk.Client, root: str, witness: RawClient) -> None:
    witness.create(f"{root}/a", b"data")
    witness.create(f"{root}/a/b")
    batch = client.multi_read().get(f"{root}/a").get(f"{root}/none").get_children(f"{root}/a").get_children(root)
    assert len(batch) == 4
    znode, error, names, above = await batch.run()
    assert isinstance(znode, zk.Znode)
    assert (znode.data, tuple(znode.stat)) == (b"data", witness.exists(f"{root}/a"))
    assert isinstance(error, zk.NoNodeError)
    assert error.path == f"{root}/none"
    assert (names, above) == (["b"], ["a"])
    assert await client.multi_read().run() == []


async def test_pipeline(client: zk.Client, root: str) -> None:
    pipeline = client.pipeline()
    created = pipeline.create(f"{root}/n-", b"1", sequential=True)
    missing = pipeline.set(f"{root}/none", b"")
    changed = pipeline.set(f"{root}/n-0000000000", b"2", version=0)
    read = pipeline.get(f"{root}/n-0000000000")
    names = pipeline.get_children(root)
    pipeline.sync()
    pipeline.delete(f"{root}/n-0000000000")
    gone = pipeline.exists(f"{root}/n-0000000000")
    counted = pipeline.get_children_with_stat(root)
    assert len(pipeline) == 9
    with pytest.raises(zk.LocalProtocolError):
        _ = created.value
    outcomes = await pipeline.run()
    assert len(outcomes) == 9
    assert created.value.path == f"{root}/n-0000000000"
    assert isinstance(missing.error, zk.NoNodeError)
    assert changed.value.version == 1
    assert read.value.data == b"2"
    assert names.value == ["n-0000000000"]
    with pytest.raises(zk.NoNodeError):
        _ = gone.value
    assert (counted.value.names, counted.value.stat.cversion) == ([], 2)
    assert await pipeline.run() == []


async def test_many_more_requests_than_may_be_in_flight(client: zk.Client, root: str, witness: RawClient) -> None:
    pipeline = client.pipeline()
    for n in range(3_000):
        pipeline.create(f"{root}/{n}", b"%d" % n)
    await pipeline.run()
    paths = [f"{root}/{n}" for n in range(3_001)]
    read = await client.get_many(paths)
    assert [znode.data for znode in read[:-1] if isinstance(znode, zk.Znode)] == [b"%d" % n for n in range(3_000)]
    assert isinstance(read[-1], zk.NoNodeError)
    assert len(witness.children(root)) == 3_000
    await client.delete(root, recursive=True)


async def test_walk(client: zk.Client, root: str, witness: RawClient) -> None:
    expected = [root]
    for a in range(3):
        expected.append(witness.create(f"{root}/{a}"))
        for b in range(100):
            expected.append(witness.create(f"{root}/{a}/{b}", b"%d" % b))
    found = [(path, stat) async for path, stat in client.walk(root)]
    paths = [path for path, _ in found]
    assert sorted(paths) == sorted(expected)
    assert [path.count("/") for path in paths] == sorted(path.count("/") for path in paths)
    assert all(tuple(stat) == witness.exists(path) for path, stat in found)
    below = [path async for path, _ in client.at(f"{root}/1").walk()]
    assert len(below) == 101
    assert below[0] == "/"
    assert "/99" in below
    assert [path async for path, _ in client.walk(f"{root}/none")] == []
    # What vanishes meanwhile is left out.
    seen = 0
    async for _ in client.walk(root):
        seen += 1
        if seen == 2:
            await client.delete(f"{root}/2", recursive=True)
    assert 103 <= seen <= 304


async def test_chroot(server: AnyServer, root: str, witness: RawClient) -> None:
    async with zk.open_client(f"{server.hosts}{root}/app") as client:
        assert client.chroot == f"{root}/app"
        with pytest.raises(zk.NoNodeError) as caught:
            await client.create("/a")
        assert caught.value.path == "/a"
        await client.ensure_path("/")
        assert witness.exists(f"{root}/app") is not None
        assert await client.create("/a", b"data") == "/a"
        assert await client.create("/a/n-", sequential=True) == "/a/n-0000000000"
        assert await client.create("/", sequential=True) == "/0000000001"
        assert await client.create("/b/c/d", make_parents=True) == "/b/c/d"
        assert witness.children(f"{root}/app") == ["0000000001", "a", "b"]
        assert (await client.get("/a")).data == b"data"
        assert sorted(await client.get_children("/")) == ["0000000001", "a", "b"]
        results = await client.transaction().create("/t").set("/t", b"x").delete("/t").commit()
        assert isinstance(results[0], zk.Created)
        assert results[0].path == "/t"
        with pytest.raises(zk.TransactionError) as failed:
            await client.transaction().check("/a", version=7).commit()
        assert failed.value.path == "/a"
        pipeline = client.pipeline()
        created = pipeline.create("/p")
        missing = pipeline.get("/none")
        await pipeline.run()
        assert created.value.path == "/p"
        assert missing.error is not None
        assert missing.error.path == "/none"
        async with client.watch("/", recursive=True) as changes:
            await client.set("/a", b"y")
            change = await anext(changes)
            assert isinstance(change, zk.WatchEvent)
            assert change.path == "/a"
            await client.set("/", b"y")
            change = await anext(changes)
            assert isinstance(change, zk.WatchEvent)
            assert change.path == "/"
        view = client.at("/b")
        assert view.chroot == f"{root}/app/b"
        assert await view.get_children("/") == ["c"]
        assert view.session_id == client.session_id
        await client.delete("/b", recursive=True)
        # The root of a view is no znode of its own.
        for call in (client.delete("/"), client.delete("/", recursive=True)):
            with pytest.raises(zk.InvalidRequestError):
                await call
        # The configuration is the ensemble's, whatever the chroot.
        assert (await client.get_config()).members == ()


async def test_facts(client: zk.Client, server: AnyServer, root: str) -> None:
    assert client.state is zk.SessionState.CONNECTED
    assert client.server == server.hosts
    assert client.session_timeout == 10.0
    assert client.session_id
    assert f"{client.session_id:x}" in repr(client)
    before = client.last_zxid
    _, stat = await client.create_with_stat(f"{root}/a")
    assert client.last_zxid == stat.czxid > before
    await client.exists(root)
    assert client.last_zxid >= stat.czxid
    await until(lambda: client.state is zk.SessionState.CONNECTED)
    ticket = client.ticket
    assert ticket is not None
    assert (ticket.session_id, len(ticket.password)) == (client.session_id, 16)
    assert ticket.password.hex() not in repr(ticket)
    assert repr(ticket.password) not in repr(ticket)


async def test_session_timeout_is_negotiated(server: AnyServer) -> None:
    for asked, got in ((0.001, 1.0), (7.5, 7.5), (1000.0, 60.0)):
        async with zk.open_client(server.hosts, session_timeout=asked) as client:
            assert client.session_timeout == got
