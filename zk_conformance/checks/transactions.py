"""Transactions: all or nothing, with the result of each operation or the one that failed."""

from __future__ import annotations

from collections.abc import Callable

import zk_sansio as zk

from .._port import Harness, World
from .._run import check
from .._tools import outcome, raises


def path_of(result: zk.TransactionResult) -> str:
    """The path that a create has made."""
    assert isinstance(result, zk.Created)
    return result.path


@check
async def check_transaction(harness: Harness, world: World) -> None:
    """Operations of every kind happen together, and later ones see what earlier ones have done."""
    root = world.root
    world.create(f"{root}/old", b"old")
    world.create(f"{root}/gone")
    async with harness.open_client(world.hosts) as client:
        transaction = (
            client.transaction()
            .check(f"{root}/old", version=0)
            .create(f"{root}/a", None)
            .create(f"{root}/a/b", b"b")
            .create(f"{root}/n-", sequential=True, ephemeral=True)
            .create(f"{root}/container", container=True)
            .create(f"{root}/ttl", ttl=100)
            .set(f"{root}/old", b"new", version=0)
            .delete(f"{root}/gone")
        )
        assert len(transaction) == 8
        checked, *created, changed, deleted = await transaction.commit()
        names = ["a", "a/b", "n-0000000003", "container", "ttl"]
        assert [path_of(each) for each in created] == [f"{root}/{name}" for name in names]
        assert isinstance(changed, zk.Stat)
        assert (changed.version, checked, deleted) == (1, None, None)
        assert (world.get(f"{root}/old"), world.get(f"{root}/a"), world.get(f"{root}/a/b")) == (b"new", None, b"b")
        stats = [world.exists(f"{root}/{name}") for name in names]
        assert {stat.czxid for stat in stats if stat} == {changed.mzxid}
        assert world.ephemerals(client.session_id) == {f"{root}/n-0000000003"}
        assert await client.transaction().commit() == []
    assert "n-0000000003" not in world.children(root)


@check
async def check_transaction_refused(harness: Harness, world: World) -> None:
    """The error says which operation failed and why, and nothing has changed."""
    root = world.root
    a, none = world.create(f"{root}/a", b"old"), f"{root}/none"
    before = world.exists(root)
    refused: list[tuple[Callable[[zk.Transaction], zk.Transaction], type[zk.ServerError], str]] = [
        (lambda ops: ops.create(a), zk.NodeExistsError, a),
        (lambda ops: ops.create(f"{none}/b"), zk.NoNodeError, f"{none}/b"),
        (lambda ops: ops.set(a, b"", version=3), zk.BadVersionError, a),
        (lambda ops: ops.delete(none), zk.NoNodeError, none),
        (lambda ops: ops.check(a, version=3), zk.BadVersionError, a),
        (lambda ops: ops.delete(root), zk.NotEmptyError, root),
    ]
    async with harness.open_client(world.hosts) as client:
        for add, kind, path in refused:
            transaction = client.transaction().create(f"{root}/new").set(a, b"new")
            add(transaction).create(f"{root}/never")
            with raises(zk.TransactionError) as caught:
                await transaction.commit()
            assert caught.value.index == 2
            assert isinstance(caught.value.error, kind)
            assert caught.value.path == caught.value.error.path == path
            assert caught.value.maybe_applied is False
        assert world.exists(root) == before
        assert world.get(a) == b"old"
        # The one that has failed may be committed again.
        transaction = client.transaction().create(f"{none}/b")
        with raises(zk.TransactionError):
            await transaction.commit()
        world.create(none)
        assert [path_of(each) for each in await transaction.commit()] == [f"{none}/b"]


@check
async def check_compare_and_set(harness: Harness, world: World) -> None:
    """Several clients count in the same znode, and no increment is lost."""
    path = world.create(f"{world.root}/counter", b"0")

    async def count() -> None:
        async with harness.open_client(world.hosts) as client:
            done = 0
            while done < 5:
                data, stat = await client.get(path)
                value = int(data or b"") + 1
                change = client.transaction().set(path, b"%d" % value, version=stat.version)
                result = await outcome(change.create(f"{path}/{value}").commit)
                if isinstance(result, zk.ZooKeeperError):
                    assert isinstance(result, zk.TransactionError)
                    assert (result.index, type(result.error)) == (0, zk.BadVersionError)
                else:
                    done += 1

    await harness.together(*[count] * 4)
    assert world.get(path) == b"20"
    assert len(world.children(path)) == 20
