"""Transactions: all or nothing, with the result of each operation or the one that failed."""

from collections.abc import Callable

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import until
from tests.support.raw import RawClient
from tests.support.servers import AnyServer

pytestmark = pytest.mark.trio


async def test_all_operations(client: zk.Client, server: AnyServer, root: str, witness: RawClient) -> None:
    witness.create(f"{root}/old", b"old")
    witness.create(f"{root}/gone")
    transaction = (
        client.transaction()
        .check(f"{root}/old", version=0)
        .create(f"{root}/parent", b"p")
        .create(f"{root}/parent/child", None)
        .create(f"{root}/n-", sequential=True)
        .create(f"{root}/n-", sequential=True, ephemeral=True)
        .create(f"{root}/container", container=True)
        .create(f"{root}/ttl", ttl=100)
        .create(f"{root}/ttl-", ttl=100, sequential=True)
        .set(f"{root}/old", b"new", version=0)
        .delete(f"{root}/gone")
        .check(f"{root}/old", version=1)
    )
    assert len(transaction) == 11
    checked, *created, changed, deleted, again = await transaction.commit()
    names = ["parent", "parent/child", "n-0000000003", "n-0000000004", "container", "ttl", "ttl-0000000007"]
    assert [made.path for made in created if isinstance(made, zk.Created)] == [f"{root}/{name}" for name in names]
    assert isinstance(changed, zk.Stat)
    assert changed.version == 1
    assert (checked, deleted, again) == (None, None, None)
    assert witness.get(f"{root}/old") == b"new"
    assert witness.get(f"{root}/parent/child") is None
    stats = {name: witness.exists(f"{root}/{name}") for name in names}
    # All in one change, and what the results tell of it is true, as far as the server tells.
    assert {stat.czxid for stat in stats.values() if stat} == {changed.mzxid}
    assert {name for name, stat in stats.items() if stat and stat.ephemeral_owner} == {"n-0000000004"}
    for name, made in zip(names, created, strict=True):
        assert isinstance(made, zk.Created)
        if made.stat is not None:
            assert made.stat.czxid == changed.mzxid
        assert (made.stat is not None) == (server.version_info >= (3, 9) or name in ("container", "ttl", names[-1]))


async def test_failure_says_which_and_changes_nothing(client: zk.Client, root: str, witness: RawClient) -> None:
    witness.create(f"{root}/a", b"old")
    before = witness.exists(root)
    a, none = f"{root}/a", f"{root}/none"
    refused: list[tuple[Callable[[zk.Transaction], zk.Transaction], type[zk.ServerError], int, str]] = [
        (lambda ops: ops.create(a), zk.NodeExistsError, -110, a),
        (lambda ops: ops.create(f"{none}/b"), zk.NoNodeError, -101, f"{none}/b"),
        (lambda ops: ops.set(a, b"", version=3), zk.BadVersionError, -103, a),
        (lambda ops: ops.delete(none), zk.NoNodeError, -101, none),
        (lambda ops: ops.check(a, version=3), zk.BadVersionError, -103, a),
        (lambda ops: ops.check(none), zk.NoNodeError, -101, none),
        (lambda ops: ops.delete(root), zk.NotEmptyError, -111, root),
    ]
    for add, error, code, path in refused:
        transaction = client.transaction().create(f"{root}/new").set(a, b"new")
        add(transaction).create(f"{root}/never")
        with pytest.raises(zk.TransactionError) as caught:
            await transaction.commit()
        assert caught.value.index == 2
        assert isinstance(caught.value.error, error)
        assert caught.value.error.code == code
        assert caught.value.path == caught.value.error.path == path
        assert caught.value.maybe_applied is False
    assert witness.exists(root) == before
    assert witness.get(f"{root}/a") == b"old"


async def test_failed_one_may_be_committed_again(client: zk.Client, root: str, witness: RawClient) -> None:
    transaction = client.transaction().create(f"{root}/a/b")
    with pytest.raises(zk.TransactionError):
        await transaction.commit()
    witness.create(f"{root}/a")
    (made,) = await transaction.commit()
    assert isinstance(made, zk.Created)
    assert made.path == f"{root}/a/b"


async def test_empty(client: zk.Client) -> None:
    assert await client.transaction().commit() == []


async def test_too_large(client: zk.Client, root: str, witness: RawClient) -> None:
    transaction = client.transaction()
    for n in range(11):
        transaction.create(f"{root}/{n}", bytes(100_000))
    with pytest.raises(zk.RequestTooLargeError):
        await transaction.commit()
    assert witness.children(root) == []
    with pytest.raises(zk.InvalidRequestError):
        client.transaction().create("relative")


async def test_counter_of_many(client: zk.Client, server: AnyServer, root: str) -> None:
    """Compare and set by several clients at once: no increment is lost."""
    path = await client.create(f"{root}/counter", b"0")

    async def increment() -> None:
        async with zk.open_client(server.hosts) as other:
            done = 0
            while done < 20:
                data, stat = await other.get(path)
                value = int(data or b"0") + 1
                change = other.transaction().set(path, b"%d" % value, version=stat.version)
                change.create(f"{root}/{value}")
                try:
                    await change.commit()
                    done += 1
                except zk.TransactionError as error:
                    if error.index != 0:
                        raise

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(increment)
    assert (await client.get(path)).data == b"80"
    assert len(await client.get_children(root)) == 81


async def test_ephemerals_of_a_transaction_go_with_the_session(
    server: AnyServer, root: str, witness: RawClient
) -> None:
    async with zk.open_client(server.hosts) as client:
        await client.transaction().create(f"{root}/e", ephemeral=True).create(f"{root}/p").commit()
        stat = witness.exists(f"{root}/e")
        assert stat is not None
        assert stat.ephemeral_owner == client.session_id
    await until(lambda: witness.children(root) == ["p"])
