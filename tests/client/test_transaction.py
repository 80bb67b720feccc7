from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.client.stepping import Bench
from tests.support.peer import stat, string, strings
from tests.wire.vectors import vector
from zk_sansio.acl import OPEN
from zk_sansio.client import ReadBatch, RetryPolicy, Transaction
from zk_sansio.errors import (
    BadVersionError,
    ConnectionLossError,
    InvalidPathError,
    InvalidRequestError,
    MarshallingError,
    NodeExistsError,
    NoNodeError,
    NotReadOnlyError,
    RemoteProtocolError,
    RuntimeInconsistencyError,
    TransactionError,
    ZooKeeperError,
)
from zk_sansio.wire import (
    Check,
    Create2,
    CreateContainer,
    Created,
    CreateMode,
    CreateTTL,
    Delete,
    GetChildren,
    GetData,
    Multi,
    MultiRead,
    SetData,
    Stat,
    Znode,
)

END = struct.pack(">i?i", -1, True, -1)
STAT = Stat(5, 6, 0, 0, 2, 0, 0, 0, 0, 0, 7)
STAT_BYTES = stat(czxid=5, mzxid=6, pzxid=7, version=2)


def element(kind: int, record: bytes = b"", code: int = 0) -> bytes:
    return struct.pack(">i?i", kind, False, code) + record


def failed(*codes: int) -> bytes:
    return b"".join(element(-1, struct.pack(">i", code), code) for code in codes) + END


def collected(transaction: Transaction) -> Transaction:
    return (
        transaction.check("/a", version=3)
        .create("/b", b"x", ephemeral=True)
        .create("/c", container=True)
        .create("/d-", sequential=True, ttl=2)
        .create("/", sequential=True)
        .set("/a", None, version=3)
        .delete("/e")
    )


@pytest.mark.parametrize("chroot", ["", "/app"])
def test_what_is_sent(chroot: str) -> None:
    bench = Bench(chroot=chroot)
    transaction = collected(bench.client.transaction())
    assert len(transaction) == 7
    bench.start(transaction.commit())
    acl = list(OPEN)
    assert bench.sent() == [
        Multi(
            [
                Check(f"{chroot}/a", 3),
                Create2(f"{chroot}/b", b"x", acl, CreateMode.EPHEMERAL),
                CreateContainer(f"{chroot}/c", b"", acl, CreateMode.CONTAINER),
                CreateTTL(f"{chroot}/d-", b"", acl, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, 2000),
                Create2(f"{chroot}/", b"", acl, CreateMode.PERSISTENT_SEQUENTIAL),
                SetData(f"{chroot}/a", None, 3),
                Delete(f"{chroot}/e", -1),
            ]
        )
    ]


@pytest.mark.parametrize("chroot", ["", "/app"])
def test_results_in_order_with_paths_as_the_client_names_them(chroot: str) -> None:
    bench = Bench(chroot=chroot)
    task = bench.start(collected(bench.client.transaction()).commit())
    bench.sent()
    bench.reply(
        element(13)
        + element(15, string(f"{chroot}/b") + STAT_BYTES)
        + element(15, string(f"{chroot}/c") + STAT_BYTES)
        + element(15, string(f"{chroot}/d-0000000001") + STAT_BYTES)
        + element(15, string(f"{chroot}/0000000002") + STAT_BYTES)
        + element(5, STAT_BYTES)
        + element(2)
        + END
    )
    assert task.result == [
        None,
        Created("/b", STAT),
        Created("/c", STAT),
        Created("/d-0000000001", STAT),
        Created("/0000000002", STAT),
        STAT,
        None,
    ]


def test_a_server_of_3_8_tells_no_stat() -> None:
    bench = Bench()
    task = bench.start(bench.client.transaction().create("/a").commit())
    bench.sent()
    bench.reply(element(1, string("/a")) + END)
    assert task.result == [Created("/a", None)]


@pytest.mark.parametrize("chroot", ["", "/app"])
@pytest.mark.parametrize(
    "codes, index, kind",
    [
        ((-110, -2, -2), 0, NodeExistsError),
        ((0, -103, -2), 1, BadVersionError),
        ((0, 0, -101), 2, NoNodeError),
        ((0, 0, 0), 0, RuntimeInconsistencyError),  # no server says so, but it is no success
    ],
)
def test_a_failed_operation(chroot: str, codes: tuple[int, ...], index: int, kind: type[ZooKeeperError]) -> None:
    bench = Bench(chroot=chroot)
    transaction = bench.client.transaction().create("/a").set("/b", b"").delete("/c")
    task = bench.start(transaction.commit())
    bench.sent()
    bench.reply(failed(*codes))
    with pytest.raises(TransactionError) as caught:
        _ = task.result
    error = caught.value
    assert (error.index, type(error.error), error.path) == (index, kind, f"/{'abc'[index]}")
    assert error.error.path == error.path
    op = transaction._ops[index]
    assert (type(error.op), error.op.path) == (type(op), error.path)  # type: ignore[attr-defined]
    assert not error.maybe_applied
    assert str(error).startswith(f"operation {index} of the transaction failed, nothing was applied: ")


def test_one_that_failed_can_be_made_again() -> None:
    bench = Bench()
    transaction = bench.client.transaction().delete("/a")
    first = bench.start(transaction.commit())
    sent = bench.sent()
    bench.reply(failed(-101))
    with pytest.raises(TransactionError):
        _ = first.result
    second = bench.start(transaction.commit())
    assert bench.sent() == sent
    bench.reply(element(2) + END)
    assert second.result == [None]


@pytest.mark.parametrize("code, kind", [(-5, MarshallingError), (-119, NotReadOnlyError)])
def test_the_whole_is_refused(code: int, kind: type[ZooKeeperError]) -> None:
    bench = Bench()
    task = bench.start(bench.client.transaction().delete("/a").commit())
    bench.sent()
    bench.reply(code=code)
    with pytest.raises(kind):
        _ = task.result


def test_a_lost_reply() -> None:
    bench = Bench()
    task = bench.start(bench.client.transaction().delete("/a").commit())
    bench.sent()
    bench.hang_up()
    with pytest.raises(ConnectionLossError) as caught:
        _ = task.result
    assert caught.value.maybe_applied


def test_nothing_is_a_transaction_too() -> None:
    bench = Bench()
    task = bench.start(bench.client.transaction().commit())
    assert bench.sent() == [Multi([])]
    bench.reply(END)
    assert task.result == []


@pytest.mark.parametrize("chroot", ["", "/app"])
def test_wrong_arguments_are_reported_where_they_are_given(chroot: str) -> None:
    transaction = Bench(chroot=chroot).client.transaction()
    wrong: list[Callable[[], object]] = [
        lambda: transaction.create("a"),
        lambda: transaction.create("/a/"),
        lambda: transaction.delete("/a//b"),
        lambda: transaction.set("/./a", b""),
        lambda: transaction.check(""),
    ]
    for call in wrong:
        with pytest.raises(InvalidPathError):
            call()
    for refused in (
        lambda: transaction.create("/a", acl=[]),
        lambda: transaction.create("/a", ttl=-1),
        lambda: transaction.create("/a", ttl=1, ephemeral=True),
    ):
        with pytest.raises(InvalidRequestError):
            refused()  # type: ignore[no-untyped-call]
    assert len(transaction) == 0


@pytest.mark.parametrize(
    "reply",
    [END, element(2) + element(2) + END, element(4, struct.pack(">i", -1) + STAT_BYTES) + END],
    ids=["too few", "too many", "a read"],
)
def test_results_that_do_not_fit(reply: bytes) -> None:
    bench = Bench()
    task = bench.start(bench.client.transaction().delete("/a").commit())
    bench.sent()
    bench.reply(reply)
    with pytest.raises(RemoteProtocolError) as caught:
        _ = task.result
    assert caught.value.maybe_applied


@pytest.mark.parametrize("chroot", ["", "/app"])
def test_reads(chroot: str) -> None:
    bench = Bench(chroot=chroot)
    batch = bench.client.multi_read().get("/a").get_children("/b").get("/c").get_children("/d").get("/")
    assert isinstance(batch, ReadBatch)
    assert len(batch) == 5
    task = bench.start(batch.run())
    assert bench.sent() == [
        MultiRead(
            [
                GetData(f"{chroot}/a"),
                GetChildren(f"{chroot}/b"),
                GetData(f"{chroot}/c"),
                GetChildren(f"{chroot}/d"),
                GetData(chroot or "/"),
            ]
        )
    ]
    bench.reply(
        element(4, struct.pack(">i", 1) + b"x" + STAT_BYTES)
        + element(8, strings(["k"]))
        + element(-1, struct.pack(">i", -101), -101)
        + element(-1, struct.pack(">i", -102), -102)
        + element(4, struct.pack(">i", -1) + STAT_BYTES)
        + END
    )
    data, names, missing, forbidden, null = task.result
    assert data == Znode(b"x", STAT)
    assert names == ["k"]
    assert isinstance(missing, NoNodeError)
    assert (missing.path, missing.operation) == ("/c", "get")
    assert isinstance(forbidden, ZooKeeperError)
    assert forbidden.path == "/d"
    assert null == Znode(None, STAT)


def test_wrong_reads_are_reported_where_they_are_given() -> None:
    batch = Bench().client.multi_read()
    with pytest.raises(InvalidPathError):
        batch.get("a")
    with pytest.raises(InvalidPathError):
        batch.get_children("/a/")
    assert len(batch) == 0


@pytest.mark.parametrize(
    "reply", [END, element(8, strings([])) * 2 + END, element(2) + END], ids=["too few", "too many", "a write"]
)
def test_outcomes_of_reads_that_do_not_fit(reply: bytes) -> None:
    bench = Bench()
    task = bench.start(bench.client.multi_read().get_children("/a").run())
    bench.sent()
    bench.reply(reply)
    with pytest.raises(RemoteProtocolError):
        _ = task.result


def test_reads_are_repeated() -> None:
    bench = Bench()
    task = bench.start(bench.client.multi_read().get_children("/a").run())
    bench.sent()
    bench.hang_up()
    bench.connect()
    assert bench.sent() == [MultiRead([GetChildren("/a")])]
    bench.reply(element(8, strings(["b"])) + END)
    assert task.result == [["b"]]


@pytest.mark.parametrize("version", ["3.8.0", "3.9.5"])
def test_what_real_servers_answer(version: str) -> None:
    bench = Bench(chroot="/vec")
    transaction = bench.client.transaction().check("/a", version=1).create("/m1").create("/m2").set("/m1", b"1")
    task = bench.start(transaction.delete("/m2").create("/mc", container=True).commit())
    bench.sent()
    bench.reply(vector("multi_success", version).frames[0][16:])
    checked, first, second, written, deleted, container = task.result
    assert (checked, first, deleted) == (None, Created("/m1", None), None)
    assert isinstance(written, Stat)
    assert written.version == 1
    assert isinstance(second, Created)
    assert second.path == "/m2"
    assert (second.stat is None) is (version == "3.8.0")
    assert isinstance(container, Created)
    assert container.stat is not None

    task = bench.start(bench.client.transaction().create("/m3").create("/a").set("/a", b"").commit())
    bench.sent()
    bench.reply(vector("multi_failure", version).frames[0][16:])
    with pytest.raises(TransactionError) as caught:
        _ = task.result
    assert (caught.value.index, type(caught.value.error), caught.value.path) == (1, NodeExistsError, "/a")


def test_one_that_is_repeated_and_then_refused_may_have_been_applied_the_first_time() -> None:
    bench = Bench(retry=RetryPolicy(repeat_unknown=True))
    task = bench.start(bench.client.transaction().create("/a").commit())
    bench.sent()
    bench.hang_up()
    bench.connect()
    bench.sent()
    bench.reply(failed(-110))
    with pytest.raises(ConnectionLossError) as caught:
        _ = task.result
    assert caught.value.maybe_applied
