"""``timeout=`` on every call: it is kept, and the call that is given up disturbs nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import zk_blocking as zk
from tests.blocking.tools import Background, Peer, Played, public_calls, refusing, runtime_of
from tests.support.proxy import ChaosProxy
from tests.support.raw import EPHEMERAL, RawClient
from tests.support.servers import AnyServer
from tests.support.waiting import eventually
from zk_blocking import CallTimeoutError, Client
from zk_blocking._runtime import BlockingRuntime, TimeUpError

SOON = 0.02

CALLS: dict[str, Callable[[Client, float], Any]] = {
    "Client.get": lambda c, t: c.get("/", timeout=t),
    "Client.exists": lambda c, t: c.exists("/", timeout=t),
    "Client.get_children": lambda c, t: c.get_children("/", timeout=t),
    "Client.get_children_with_stat": lambda c, t: c.get_children_with_stat("/", timeout=t),
    "Client.get_acl": lambda c, t: c.get_acl("/", timeout=t),
    "Client.count_descendants": lambda c, t: c.count_descendants("/", timeout=t),
    "Client.get_ephemerals": lambda c, t: c.get_ephemerals("/", timeout=t),
    "Client.sync": lambda c, t: c.sync("/", timeout=t),
    "Client.walk": lambda c, t: next(c.walk("/", timeout=t)),
    "Client.get_many": lambda c, t: c.get_many(["/", "/a"], timeout=t),
    "Client.create": lambda c, t: c.create("/create", timeout=t),
    "Client.create_with_stat": lambda c, t: c.create_with_stat("/create_with_stat", timeout=t),
    "Client.ensure_path": lambda c, t: c.ensure_path("/some/path", timeout=t),
    "Client.set": lambda c, t: c.set("/", b"set", timeout=t),
    "Client.delete": lambda c, t: c.delete("/nothing", timeout=t),
    "Client.set_acl": lambda c, t: c.set_acl("/", zk.OPEN, timeout=t),
    "Client.watch": lambda c, t: c.watch("/", timeout=t).__enter__(),
    "Client.watch_data": lambda c, t: c.watch_data("/", timeout=t).__enter__(),
    "Client.watch_children": lambda c, t: c.watch_children("/", timeout=t).__enter__(),
    "Client.watch_exists": lambda c, t: c.watch_exists("/nothing", timeout=t).__enter__(),
    "Client.wait_until_gone": lambda c, t: c.wait_until_gone("/", timeout=t),
    "Client.wait_for": lambda c, t: c.wait_for("/nothing", timeout=t),
    "Client.check_watches": lambda c, t: c.check_watches("/", timeout=t),
    "Client.add_auth": lambda c, t: c.add_auth("digest", "user:password", timeout=t),
    "Client.whoami": lambda c, t: c.whoami(timeout=t),
    "Client.get_config": lambda c, t: c.get_config(timeout=t),
    "Client.reconfig": lambda c, t: c.reconfig(leaving="9", timeout=t),
    "Client.lock": lambda c, t: c.lock("/lock", timeout=t).__enter__(),
    "Lock.try_acquire": lambda c, t: c.lock("/lock").try_acquire(timeout=t).__enter__(),
    "Lock.contenders": lambda c, t: c.lock("/lock").contenders(timeout=t),
    "Transaction.commit": lambda c, t: c.transaction().check("/").commit(timeout=t),
    "ReadBatch.run": lambda c, t: c.multi_read().get("/").run(timeout=t),
    "Pipeline.run": lambda c, t: run_pipeline(c, t),
}
"""Each call that needs an answer."""

OTHERS = {
    "Client.states": "nothing is waited for when it is entered",
    "StateStream.next": "tested by itself",
    "ChangeStream.next": "tested by itself",
    "ChangeStream.close": "nothing is waited for",
    "OneShotWatch.fired": "tested by itself",
    "GuardedTransaction.commit": "tested by itself",
    "Client.close": "tested by itself",
}


def run_pipeline(client: Client, timeout: float) -> list[Any]:
    pipeline = client.pipeline()
    pipeline.get("/")
    pipeline.exists("/a")
    return pipeline.run(timeout=timeout)


def times_out(call: Callable[[], object], seconds: float = SOON) -> None:
    """Check that *call* is given up, when it should be, with the timeout that was given."""
    began = time.monotonic()
    with pytest.raises(CallTimeoutError) as caught:
        call()
    assert seconds <= time.monotonic() - began < seconds + 2
    assert caught.value.seconds == seconds
    assert caught.value.__cause__ is None
    assert isinstance(caught.value, TimeoutError)


@pytest.fixture
def client(proxy: ChaosProxy, root: str) -> Iterator[Client]:
    with zk.open_client(proxy.hosts + root) as opened:
        yield opened


def test_every_call_is_tested() -> None:
    kinds = [
        zk.Client,
        zk.ChangeStream,
        zk.OneShotWatch,
        zk.StateStream,
        zk.Transaction,
        zk.GuardedTransaction,
        zk.ReadBatch,
        zk.Pipeline,
        zk.Lock,
    ]
    assert {f"{kind.__name__}.{name}" for kind in kinds for name in public_calls(kind)} == {*CALLS, *OTHERS}


def test_every_call_is_given_up_in_time(proxy: ChaosProxy, client: Client) -> None:
    """All on one connection, whose answers come late: none of them is taken for the answer to another call."""
    client.create("/a", b"of a")
    client.create("/b", b"of b")
    proxy.black_hole("replies")
    for name, call in CALLS.items():
        if name != "Client.add_auth":  # its reply overtakes the others
            times_out(lambda call=call: call(client, SOON))  # type: ignore[misc]
    proxy.heal()
    assert client.get("/a").data == b"of a"
    proxy.black_hole("replies")
    times_out(lambda: client.get("/b", timeout=SOON))
    proxy.heal()
    assert client.get("/a").data == b"of a"
    assert proxy.connections == 1
    assert not runtime_of(client).parked


def test_what_is_given_up_leaves_no_watch(proxy: ChaosProxy, client: Client) -> None:
    proxy.black_hole("replies")
    for name in ("Client.watch", "Client.watch_data", "Client.watch_children", "Client.watch_exists"):
        times_out(lambda name=name: CALLS[name](client, SOON))  # type: ignore[misc]
    proxy.heal()
    for path in ("/", "/nothing"):
        eventually(lambda path=path: not client.check_watches(path))  # type: ignore[misc]


def test_an_identity(proxy: ChaosProxy, client: Client) -> None:
    proxy.black_hole("replies")
    times_out(lambda: client.add_auth("digest", "user:password", timeout=SOON))
    proxy.heal()
    client.add_auth("digest", "user:password", timeout=5)
    assert client.exists("/") is not None


@pytest.mark.parametrize("seconds", [0, -1, 0.0, -1e9])
def test_no_time_at_all(client: Client, seconds: float) -> None:
    client.create("/a", b"of a")
    for call in CALLS.values():
        with pytest.raises(CallTimeoutError) as caught:
            call(client, seconds)
        assert caught.value.seconds == seconds
    assert client.get("/a").data == b"of a"


def test_a_timeout_that_is_none(client: Client) -> None:
    """A wrong one is reported, and the thread may go on."""
    with pytest.raises(TypeError):
        client.get("/", timeout="5")  # type: ignore[arg-type]
    assert client.get("/", timeout=float("inf")).data == b""
    assert client.get("/", timeout=1e300).data == b""
    assert client.get("/", timeout=None).data == b""


def test_an_abandoned_ephemeral_is_removed(proxy: ChaosProxy, client: Client, root: str, witness: RawClient) -> None:
    proxy.black_hole("replies")
    times_out(lambda: client.create("/mine", ephemeral=True, timeout=SOON))
    times_out(lambda: client.create("/mine-", ephemeral=True, sequential=True, timeout=SOON))
    transaction = client.transaction().create("/both", ephemeral=True)
    times_out(lambda: transaction.commit(timeout=SOON))
    eventually(lambda: len(witness.children(root)) == 3)
    proxy.heal()
    eventually(lambda: witness.children(root) == [])


def test_waiting_for_a_lock(client: Client, root: str, witness: RawClient) -> None:
    witness.create(f"{root}/lock")
    holder = witness.create(f"{root}/lock/lock-", flags=EPHEMERAL | 2)
    times_out(lambda: client.lock("/lock", timeout=0.1).__enter__(), 0.1)
    assert witness.children(f"{root}/lock") == [holder.rpartition("/")[2]]
    witness.delete(holder)
    with client.lock("/lock", timeout=5) as lock:
        times_out(lambda: lock.guarded().check("/").commit(timeout=0), 0)
        assert lock.guarded().check("/").commit(timeout=5) == [None]


def test_cleaning_up_has_a_time_of_its_own(proxy: ChaosProxy, client: Client, root: str, witness: RawClient) -> None:
    """The timeout has passed long ago when the server says that the lock's znode is away."""
    witness.create(f"{root}/lock")
    witness.create(f"{root}/lock/lock-", flags=EPHEMERAL | 2)
    lock = client.lock("/lock", timeout=0.6)
    proxy.delay(0.1)
    with pytest.raises(CallTimeoutError):
        lock.__enter__()
    assert len(witness.children(f"{root}/lock")) == 1


def test_streams_lose_nothing(client: Client, root: str, witness: RawClient) -> None:
    with client.watch("/") as changes, client.watch_exists("/new") as watch, client.states() as states:
        assert states.next(timeout=0.5) is zk.SessionState.CONNECTED
        for _ in range(2):
            times_out(lambda: changes.next(timeout=SOON))
            times_out(lambda: watch.fired(timeout=SOON))
            times_out(lambda: states.next(timeout=SOON))
        witness.create(f"{root}/new")
        assert watch.fired(timeout=5).path == "/new"
        assert isinstance(changes.next(timeout=5), zk.WatchEvent)
        with pytest.raises(CallTimeoutError):
            changes.next(timeout=0)
        changes.close(timeout=5)
        with pytest.raises(zk.ClosedError):
            changes.next(timeout=5)
        assert list(changes) == []


def test_walking_takes_no_longer_in_all(client: Client) -> None:
    for name in "abc":
        client.create(f"/{name}")
    walking = client.walk(timeout=0.2)
    assert next(walking)[0] == "/"
    assert next(walking)[0] == "/a"
    time.sleep(0.2)  # the caller's own work counts
    with pytest.raises(CallTimeoutError) as caught:
        for _ in walking:
            pass
    assert caught.value.seconds == 0.2
    assert [path for path, _ in client.walk(timeout=5)] == ["/", "/a", "/b", "/c"]


def test_closing(proxy: ChaosProxy, client: Client) -> None:
    """The call is given up; the session ends all the same."""
    proxy.black_hole("replies")
    times_out(lambda: client.close(grace=0.2, timeout=SOON))
    with pytest.raises(zk.ClosedError):
        client.get("/", timeout=5)
    eventually(lambda: client.state is zk.SessionState.CLOSED, 2)


def test_without_a_connection(proxy: ChaosProxy, client: Client) -> None:
    proxy.refuse()
    proxy.cut()
    times_out(lambda: client.set("/", b"never", timeout=0.1), 0.1)
    proxy.listen_again()
    assert client.get("/", timeout=10).data == b""


def test_before_there_is_any_server() -> None:
    with refusing() as hosts:
        with zk.open_client(hosts, open_timeout=0) as client:
            times_out(lambda: client.get("/", timeout=0.1), 0.1)
            waiting = Background(lambda: client.get("/"))
        assert isinstance(waiting.outcome(), zk.ClosedError)


def test_waiting_for_room(proxy: ChaosProxy, root: str) -> None:
    """A caller that waits for others to be answered first is given up too, and was never sent."""
    with zk.open_client(proxy.hosts + root, max_in_flight=2) as client:
        client.create("/a", b"of a")
        sent = proxy.requests
        proxy.black_hole("replies")
        waiting = [Background(lambda: client.get("/a")) for _ in range(2)]
        eventually(lambda: proxy.requests == sent + 2)
        times_out(lambda: client.set("/a", b"never", timeout=SOON))
        proxy.heal()
        assert [each.result().data for each in waiting] == [b"of a"] * 2
        assert client.get("/a").data == b"of a"
        assert proxy.requests == sent + 3


def test_a_call_that_is_given_up_before_it_is_sent_stays_unsent() -> None:
    seen: list[int] = []
    gone = 0

    def play(server: Played) -> None:
        server.accept_session()
        while True:
            request = server.read_request()
            seen.append(request.op)
            server.answer(request)

    with Peer(play) as peer:
        with refusing() as hosts:
            with zk.open_client(hosts, open_timeout=0) as client:
                times_out(lambda: client.set("/", b"never", timeout=SOON))
                client.set_hosts(peer.hosts)
                client.set("/", b"this", timeout=5)
                gone = len(seen)
    assert seen[:gone] == [5]


# --- the runtime by itself


def drive(runtime: BlockingRuntime, seconds: float, function: Callable[[], Any]) -> Any:
    """Run a coroutine function as a call does, with a timeout."""
    with runtime.mutex:
        runtime.thread.deadline = time.monotonic() + seconds
        try:
            function().send(None)
        except StopIteration as end:
            return end.value
    raise AssertionError("it was suspended")


def test_shields() -> None:
    """A shield's deadline takes the place of the call's, and gives it back; its own passing ends the scope only."""
    runtime = BlockingRuntime()
    steps: list[str] = []

    async def body() -> None:
        try:
            await runtime.sleep(60)
        finally:
            with runtime.shielded(0.05):
                await runtime.sleep(0.01)
                steps.append("slept")
                await runtime.sleep(60)
                steps.append("never")
            steps.append("behind")
            with runtime.shielded(60):
                await runtime.checkpoint()
                steps.append("again")
            await runtime.checkpoint()

    began = time.monotonic()
    with pytest.raises(TimeUpError):
        drive(runtime, 0.01, body)
    assert steps == ["slept", "behind", "again"]
    assert 0.06 <= time.monotonic() - began < 2
    assert not runtime.thread.shielded


def test_sleeping() -> None:
    runtime = BlockingRuntime()
    began = time.monotonic()
    drive(runtime, 60, lambda: runtime.sleep(0.02))
    assert time.monotonic() - began >= 0.02
    with pytest.raises(TimeUpError):
        drive(runtime, -1, runtime.checkpoint)
    assert not runtime.parked
    assert isinstance(runtime.now(), float)
    with runtime.cancel_scope() as scope:
        scope.cancel()


def test_one_server_all_day(server: AnyServer, root: str) -> None:
    """Many timeouts in a row that nearly pass, or just do: whatever comes of them, answers are never mixed up."""
    with zk.open_client(server.hosts + root) as client:
        for number in range(10):
            client.create(f"/{number}", str(number).encode())
        late = 0
        for turn in range(300):
            number = turn % 10
            try:
                assert client.get(f"/{number}", timeout=turn * 2e-6).data == str(number).encode()
            except CallTimeoutError:
                late += 1
        assert late
        assert client.get("/5").data == b"5"
