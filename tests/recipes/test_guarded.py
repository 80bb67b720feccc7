"""Guarded writes: the check of the lease's znode comes first, and nobody else notices that it is there."""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pytest

from tests.client.stepping import Bench, Task
from tests.support.peer import stat, string, strings
from zk_sansio.client import TransactionResult
from zk_sansio.errors import (
    ConnectionLossError,
    InvalidPathError,
    LeaseLostError,
    LocalProtocolError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    SessionExpiredError,
    TransactionError,
)
from zk_sansio.recipes import Client, GuardedTransaction, Lock
from zk_sansio.wire import Check, Create2, Created, Delete, Multi, SetData, Stat

END = struct.pack(">i?i", -1, True, -1)
NO_NODE, NO_AUTH, NODE_EXISTS, RUNTIME_INCONSISTENCY = -101, -102, -110, -2
TAG = "_c_00010203-0405-0607-0809-0a0b0c0d0e0f-"
NAME = f"{TAG}lock-0000000004"


class Scope:
    """A scope that knows whether it was cancelled."""

    cancelled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        pass

    def cancel(self) -> None:
        self.cancelled = True


def element(kind: int, record: bytes = b"", code: int = 0) -> bytes:
    return struct.pack(">i?i", kind, False, code) + record


def failed(*codes: int) -> bytes:
    return b"".join(element(-1, struct.pack(">i", code), code) for code in codes) + END


def hold(bench: Bench, monkeypatch: pytest.MonkeyPatch, client: Client | None = None, path: str = "/lock") -> Lock:
    """Take a lock of which nobody else wants anything."""
    monkeypatch.setattr(bench.runtime, "cancel_scope", Scope)
    lock = (client or bench.client).lock(path)
    entering = bench.start(lock.__aenter__())
    (create,) = bench.sent()
    assert isinstance(create, Create2)
    bench.reply(string(f"{create.path}0000000004") + stat(czxid=77, owner=bench.session.session_id))
    bench.sent()
    bench.reply(strings([NAME]))
    assert entering.result is lock
    return lock


def body_of(lock: Lock) -> Scope:
    assert isinstance(lock._scope, Scope)
    return lock._scope


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def lock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Lock:
    return hold(bench, monkeypatch)


def commit(bench: Bench, transaction: GuardedTransaction) -> Task[list[TransactionResult]]:
    return bench.start(transaction.commit())


def test_the_check_comes_first(bench: Bench, lock: Lock) -> None:
    writes = lock.guarded().set("/data", b"x", version=3).delete("/old").create("/new")
    commit(bench, writes)
    (multi,) = bench.sent()
    assert isinstance(multi, Multi)
    check, put, delete, create = multi.ops
    assert check == Check(f"/lock/{NAME}", -1)
    assert put == SetData("/data", b"x", 3)
    assert isinstance(delete, Delete)
    assert isinstance(create, Create2)


def test_results_are_those_of_the_user(bench: Bench, lock: Lock) -> None:
    committing = commit(bench, lock.guarded().set("/data", b"x").delete("/old").create("/new"))
    bench.sent()
    made = element(15, string("/new") + stat(czxid=9))
    bench.reply(element(13) + element(5, stat(version=4)) + element(2) + made + END)
    put, delete, create = committing.result
    assert isinstance(put, Stat)
    assert put.version == 4
    assert delete is None
    assert isinstance(create, Created)
    assert create.path == "/new"


def test_its_length_is_the_users(bench: Bench, lock: Lock) -> None:
    writes = lock.guarded()
    assert len(writes) == 0
    writes.set("/a", b"").delete("/b")
    assert len(writes) == 2
    for _ in range(2):  # it may be committed again, and is not longer then
        commit(bench, writes)
        (multi,) = bench.sent()
        assert isinstance(multi, Multi)
        assert len(multi.ops) == 3
        assert len(writes) == 2
        bench.reply(element(13) + element(5, stat()) + element(2) + END)


def test_nothing_but_the_check(bench: Bench, lock: Lock) -> None:
    """The server's own word on whether the lock is held."""
    committing = commit(bench, lock.guarded())
    bench.sent()
    bench.reply(element(13) + END)
    assert committing.result == []


@pytest.mark.parametrize("index, path", [(0, "/data"), (1, "/new")])
def test_the_index_of_an_error_is_the_users(bench: Bench, lock: Lock, index: int, path: str) -> None:
    committing = commit(bench, lock.guarded().set("/data", b"").create("/new"))
    bench.sent()
    codes = [NO_NODE, RUNTIME_INCONSISTENCY] if index == 0 else [0, NODE_EXISTS]
    bench.reply(failed(0, *codes))
    with pytest.raises(TransactionError) as caught:
        _ = committing.result
    error = caught.value
    assert error.index == index
    assert isinstance(error.error, NoNodeError if index == 0 else NodeExistsError)
    assert error.error.path == path
    assert isinstance(error.op, (SetData, Create2))
    assert error.op.target == path
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert not lock.lost
    lock.check()


def test_a_znode_that_is_gone(bench: Bench, lock: Lock) -> None:
    body = body_of(lock)
    committing = commit(bench, lock.guarded().set("/data", b""))
    bench.sent()
    bench.reply(failed(NO_NODE, RUNTIME_INCONSISTENCY))
    with pytest.raises(LeaseLostError) as caught:
        _ = committing.result
    assert caught.value.path == f"/lock/{NAME}"
    assert caught.value.reason == "its znode is gone"
    assert lock.lost
    assert body.cancelled
    with pytest.raises(LeaseLostError, match="its znode is gone"):
        lock.check()


def test_once_lost_nothing_is_sent(bench: Bench, lock: Lock) -> None:
    writes = lock.guarded().set("/data", b"")
    bench.hang_up()
    bench.runtime.time = 10_000
    bench.session.handle_timeout(10_000)
    bench.deliver()
    bench.connect()  # it lives after all
    bench.sent()
    for transaction in writes, lock.guarded():
        committing = commit(bench, transaction)
        with pytest.raises(LeaseLostError, match="no server has answered"):
            _ = committing.result
    assert bench.sent() == []


def test_a_znode_that_we_must_not_read(bench: Bench, lock: Lock) -> None:
    """A check takes the right to read, which the lock's own `acl` may withhold: that is no error of the user's ops."""
    committing = commit(bench, lock.guarded().set("/data", b""))
    bench.sent()
    bench.reply(failed(NO_AUTH, RUNTIME_INCONSISTENCY))
    with pytest.raises(NoAuthError) as caught:
        _ = committing.result
    assert caught.value.path == f"/lock/{NAME}"
    assert not lock.lost


def test_the_whole_request_is_refused(bench: Bench, lock: Lock) -> None:
    committing = commit(bench, lock.guarded().set("/data", b""))
    bench.sent()
    bench.reply(code=NO_AUTH)
    with pytest.raises(NoAuthError):
        _ = committing.result
    assert not lock.lost


def test_a_reply_that_is_lost(bench: Bench, lock: Lock) -> None:
    """It may have happened, and only once: it is not made again."""
    committing = commit(bench, lock.guarded().set("/data", b""))
    bench.sent()
    bench.hang_up()
    with pytest.raises(ConnectionLossError) as caught:
        _ = committing.result
    assert caught.value.maybe_applied
    assert not lock.lost


def test_a_session_that_expires_meanwhile(bench: Bench, lock: Lock) -> None:
    bench.hang_up()
    committing = commit(bench, lock.guarded().set("/data", b""))
    bench.connect(timeout_ms=0)
    with pytest.raises(SessionExpiredError) as caught:
        _ = committing.result
    assert not caught.value.maybe_applied
    assert lock.lost
    bench.connect(session_id=0x78)
    assert not any(isinstance(request, Multi) for request in bench.sent())


def test_wrong_arguments_are_reported_where_they_are_given(lock: Lock) -> None:
    with pytest.raises(InvalidPathError):
        lock.guarded().set("data", b"")


CHROOTED: dict[str, Callable[[Bench], tuple[Client, str]]] = {
    "view": lambda bench: (bench.client.at("/app"), "/lock"),
    "view of a view": lambda bench: (bench.client.at("/app").at("/lock"), "/"),
    "view of the root": lambda bench: (bench.client.at("/"), "/app/lock"),
}


@pytest.mark.parametrize("view", CHROOTED)
def test_a_view(monkeypatch: pytest.MonkeyPatch, view: str) -> None:
    """Paths are the view's, both of the lock and of what is written."""
    bench = Bench(chroot="/top")
    client, path = CHROOTED[view](bench)
    below = "/" if path == "/" else f"{path}/"
    lock = hold(bench, monkeypatch, client, path)
    assert lock.path == path
    assert lock.node == f"{below}{NAME}"
    committing = commit(bench, lock.guarded().set("/data", b""))
    (multi,) = bench.sent()
    assert isinstance(multi, Multi)
    root = client.chroot
    assert [op.target for op in multi.ops] == [f"/top/app/lock/{NAME}", f"{root}/data"]
    bench.reply(failed(0, NO_NODE))
    with pytest.raises(TransactionError) as caught:
        _ = committing.result
    assert caught.value.error.path == "/data"
    committing = commit(bench, lock.guarded().set("/data", b""))
    bench.sent()
    bench.reply(failed(NO_NODE, RUNTIME_INCONSISTENCY))
    with pytest.raises(LeaseLostError) as lost:
        _ = committing.result
    assert lost.value.path == lock.node


def test_before_and_after(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = bench.client.lock("/lock")
    for use in fresh.guarded, fresh.check, lambda: fresh.node, lambda: fresh.token:
        with pytest.raises(LocalProtocolError):
            use()
    assert not fresh.lost
    lock = hold(bench, monkeypatch)
    writes = lock.guarded().set("/data", b"")
    leaving = bench.start(lock.__aexit__(None, None, None))
    bench.sent()
    bench.reply()
    assert leaving.result is None
    for use in lock.guarded, lock.check:
        with pytest.raises(LocalProtocolError):
            use()
    assert (lock.node, lock.token, lock.lost) == (f"/lock/{NAME}", 77, False)
    # What was collected before is decided by the server, as always.
    committing = commit(bench, writes)
    bench.sent()
    bench.reply(failed(NO_NODE, RUNTIME_INCONSISTENCY))
    with pytest.raises(LeaseLostError):
        _ = committing.result
