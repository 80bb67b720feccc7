"""Many threads on one client: one reads for all, and when it stops, another one does."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import zk_blocking as zk
from tests.blocking.tools import GET, Background, Peer, Played, blocked, driver_of, runtime_of, signals
from tests.support.peer import CREATED, DATA_CHANGED, Request, buffer, stat
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient
from tests.support.servers import AnyServer
from tests.support.waiting import eventually
from zk_blocking import Client
from zk_blocking._bell import Bell, wait_for
from zk_blocking._driver import Driver
from zk_blocking._runner import Runner
from zk_blocking._runtime import BlockingRuntime, Waiter
from zk_sansio.session import Waitable

LONG = 30_000
"""Milliseconds; with such a session the keeper has nothing to do for ten seconds."""


class Desk:
    """A server whose answers the test hands out itself: it waits for requests, and says which one is answered."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.server: Played | None = None
        self._answers_itself = False

    def play(self, server: Played) -> None:
        server.accept_session(LONG)
        self.server = server
        while True:
            request = server.read_request()
            if self._answers_itself:
                server.answer(request)
            else:
                self.requests.append(request)

    def wait(self, count: int) -> None:
        eventually(lambda: len(self.requests) >= count)

    def answer(self, count: int = 1) -> None:
        """Answer the oldest requests."""
        assert self.server is not None
        for _ in range(count):
            request = self.requests.pop(0)
            self.server.reply(request.xid, buffer(request.path().encode()) + stat())

    def close(self) -> None:
        self._answers_itself = True
        if self.requests:
            self.answer(len(self.requests))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def client(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client whose keeper never reads, from here on: who gets an answer got it without the keeper's help."""
    real = Driver._listen
    reads = True

    def listen(driver: Driver, seconds: float, stream: Any = None, *, reading: bool = False) -> bool:
        return real(driver, seconds, stream, reading=reading and reads)

    monkeypatch.setattr(Driver, "_listen", listen)
    with Peer(desk.play) as peer:
        with zk.open_client(peer.hosts) as opened:
            driver_of(opened).nudge()
            eventually(lambda: not driver_of(opened)._news._rung)
            reads = False
            driver_of(opened).nudge()
            eventually(lambda: not driver_of(opened)._news._rung)
            yield opened
            reads = True
            desk.close()


def getting(client: Client, path: str, timeout: float | None = None) -> Background[zk.Znode]:
    return Background(lambda: client.get(path, timeout=timeout))


def got(background: Background[zk.Znode]) -> str:
    data = background.result().data
    assert data is not None
    return data.decode()


def parked(client: Client, count: int) -> None:
    """Wait until so many threads are parked, and one leads."""
    eventually(lambda: len(runtime_of(client).parked) == count and driver_of(client)._leader is not None)


# --- followers go on at once


def test_the_leader_has_its_answer_first(client: Client, desk: Desk) -> None:
    first = getting(client, "/1")
    desk.wait(1)
    others = [getting(client, f"/{number}") for number in (2, 3, 4)]
    parked(client, 3)
    desk.wait(4)
    order = [request.path() for request in desk.requests]
    assert order[0] == "/1"
    desk.answer()
    assert got(first) == "/1"
    desk.answer(3)
    assert sorted(map(got, others)) == ["/2", "/3", "/4"]


def test_the_leader_reads_for_the_others(client: Client, desk: Desk) -> None:
    """It waits for something that comes last."""
    desk._answers_itself = True
    with client.watch("/watched") as changes:
        desk._answers_itself = False
        leader = Background(lambda: changes.next(timeout=10))
        eventually(lambda: driver_of(client)._leader is not None)
        for turn in range(20):
            caller = getting(client, f"/{turn}")
            desk.wait(1)
            desk.answer()
            assert got(caller) == f"/{turn}"
        assert leader.running
        assert desk.server is not None
        desk.server.notify(DATA_CHANGED, "/watched")
        assert leader.result() == zk.WatchEvent(zk.EventType.DATA_CHANGED, "/watched", None)
        desk._answers_itself = True


def test_the_leaders_time_is_up(client: Client, desk: Desk) -> None:
    first = getting(client, "/1", 0.2)
    desk.wait(1)
    others = [getting(client, f"/{number}") for number in (2, 3)]
    parked(client, 2)
    assert isinstance(first.outcome(), zk.CallTimeoutError)
    assert not first.running  # the thread has ended, too
    desk.wait(3)
    desk.answer(3)
    assert sorted(map(got, others)) == ["/2", "/3"]


def test_a_followers_time_is_up(client: Client, desk: Desk) -> None:
    first = getting(client, "/1")
    desk.wait(1)
    second, third = getting(client, "/2", 0.1), getting(client, "/3")
    assert isinstance(second.outcome(), zk.CallTimeoutError)
    desk.wait(3)
    desk.answer(3)
    assert (got(first), got(third)) == ("/1", "/3")


def test_the_leader_is_interrupted(client: Client, desk: Desk) -> None:
    others: list[Background[zk.Znode]] = []

    def led() -> bool:
        if not blocked():
            return False
        if not others:
            others.extend(getting(client, f"/{number}") for number in (2, 3))
        return len(runtime_of(client).parked) == 2

    with pytest.raises(KeyboardInterrupt):
        with signals(led):
            client.get("/1")
    desk.wait(3)
    desk.answer(3)
    assert sorted(map(got, others)) == ["/2", "/3"]


def test_a_follower_is_interrupted(client: Client, desk: Desk) -> None:
    first = getting(client, "/1")
    desk.wait(1)
    with pytest.raises(KeyboardInterrupt):
        with signals(lambda: blocked() and runtime_of(client).parked):
            client.get("/2")
    third = getting(client, "/3")
    desk.wait(3)
    desk.answer(3)
    assert (got(first), got(third)) == ("/1", "/3")


def test_the_one_who_is_to_lead_has_no_time_left(client: Client, desk: Desk) -> None:
    """The lead passes on along the queue, whoever gives up."""
    threads = [getting(client, f"/{number}", 0.1 * number) for number in (1, 2, 3)]
    last = getting(client, "/last")
    desk.wait(4)
    for thread in threads:
        assert isinstance(thread.outcome(), zk.CallTimeoutError)
    desk.answer(4)
    assert got(last) == "/last"


def test_somebody_else_leads_before_the_one_who_was_told_to(client: Client, desk: Desk) -> None:
    """A leader that makes one call after the other always comes first; in the end the others go on all the same."""

    def calls() -> None:
        for turn in range(50):
            assert client.get(f"/busy-{turn}").data == f"/busy-{turn}".encode()

    others = [getting(client, f"/{number}") for number in (1, 2)]
    desk.wait(2)
    held = desk.requests[:]
    busy = Background(calls)
    # Replies come in the order of the requests, so those of the others come first, in the middle of all this.
    desk.wait(3)
    desk.answer(2)
    assert [request.path() for request in held] != []
    assert sorted(map(got, others)) == ["/1", "/2"]
    more = [getting(client, f"/{number}") for number in (3, 4)]
    for _ in range(52):
        desk.wait(1)
        desk.answer()
    busy.result()
    assert sorted(map(got, more)) == ["/3", "/4"]


def test_who_was_appointed_and_parked_again_is_appointed_again(client: Client) -> None:
    """As `_appoint` sees it: told to lead, it found another one leading, and waits again."""
    driver, runtime = driver_of(client), runtime_of(client)
    waiter = Waiter(reads=True)
    with runtime.mutex:
        runtime.parked[waiter] = None
        try:
            for _ in range(2):
                lock = waiter.lock = threading.Lock()
                lock.acquire()
                driver._appoint()
                assert not lock.locked()
                driver._appoint()  # it is on its way: nobody else is told
                assert driver._appointed is waiter
        finally:
            del runtime.parked[waiter]
            driver._appointed = None


def test_sleepers_and_those_who_are_done_do_not_lead(client: Client) -> None:
    driver, runtime = driver_of(client), runtime_of(client)
    sleeper, done = Waiter(reads=False), Waiter(reads=True)
    done.woken = True
    with runtime.mutex:
        runtime.parked |= {sleeper: None, done: None}
        driver._appoint()
        assert driver._appointed is None
        runtime.parked.clear()


# --- many


def test_each_thread_gets_its_own_answers(proxy: ChaosProxy, root: str) -> None:
    with zk.open_client(proxy.hosts + root) as client:

        def work(name: str) -> None:
            client.create(f"/{name}", b"0")
            for turn in range(1, 40):
                data = f"{name} {turn}".encode() * (1000 if turn % 10 == 0 else 1)
                assert client.set(f"/{name}", data).version == turn
                found = client.get(f"/{name}")
                assert (found.data, found.stat.version) == (data, turn)
                with pytest.raises(zk.NoNodeError) as caught:
                    client.get(f"/{name}-nothing")
                assert caught.value.path == f"/{name}-nothing"
                if turn % 13 == 0:
                    with client.lock("/lock", timeout=10) as lock:
                        assert lock.node.startswith("/lock/")
                if turn % 5 == 0:
                    with pytest.raises(zk.CallTimeoutError):
                        client.get("/", timeout=0)

        for thread in [Background(partial(work, f"thread-{number}")) for number in range(8)]:
            thread.result()
        assert client.get("/").data == b""
        assert proxy.connections == 1
        assert not runtime_of(client).parked


def test_one_waits_for_long_while_others_call(server: AnyServer, root: str, witness: RawClient) -> None:
    with zk.open_client(server.hosts + root) as client:
        with client.watch("/", recursive=True) as changes:
            waiting = Background(lambda: [next(changes) for _ in range(20)])
            for turn in range(20):
                client.create(f"/{turn}")
                assert next(path for path, _ in client.walk(timeout=5)) == "/"
            events = waiting.result()
            assert [event.path for event in events if isinstance(event, zk.WatchEvent)] == [f"/{n}" for n in range(20)]


@pytest.mark.parametrize("way", ["changes", "one-shot", "states"])
def test_two_threads_cannot_share_one_stream(server: AnyServer, root: str, way: str) -> None:
    with zk.open_client(server.hosts + root) as client:
        with client.watch("/") as changes, client.watch_data("/") as watch, client.states() as states:
            states.next(timeout=5)
            wait = {"changes": changes.next, "one-shot": watch.fired, "states": states.next}[way]
            first = Background(partial(wait, timeout=10))
            eventually(lambda: driver_of(client)._leader)
            with pytest.raises(zk.LocalProtocolError, match="somebody waits"):
                wait(timeout=5)
            assert first.running
            if way == "states":
                client.close()
            else:
                client.set("/", b"")
            assert first.result() is not None


def test_a_stream_is_closed_by_another_thread(server: AnyServer, root: str) -> None:
    with zk.open_client(server.hosts + root) as client:
        with client.watch("/") as changes:
            consumer = Background(lambda: list(changes))
            eventually(lambda: driver_of(client)._leader)
            changes.close()
            assert consumer.result() == []
        assert not client.check_watches("/")


# --- closing while others are in calls


def waits(client: Client) -> dict[str, Callable[[], Any]]:
    """Calls that wait for something that does not come."""

    def iterate() -> list[Any]:
        with client.watch("/") as changes:
            return list(changes)

    def states() -> list[Any]:
        with client.states() as stream:
            return list(stream)

    def lock() -> None:
        with client.lock("/lock"):
            pytest.fail("nobody releases it")

    return {
        "wait_for": lambda: client.wait_for("/nothing"),
        "wait_until_gone": lambda: client.wait_until_gone("/lock"),
        "iterate": iterate,
        "states": states,
        "lock": lock,
    }


@pytest.mark.parametrize("way", ["close", "leave"])
def test_closing_while_others_wait(server: AnyServer, root: str, witness: RawClient, way: str) -> None:
    witness.create(f"{root}/lock")
    witness.create(f"{root}/lock/lock-", flags=3)
    scope = zk.open_client(server.hosts + root)
    client = scope.__enter__()
    threads = {name: Background(wait) for name, wait in waits(client).items()}
    runtime = runtime_of(client)
    eventually(lambda: len(runtime.parked) == len(threads) - 1 and not client._core._engine.session.in_flight)
    began = time.monotonic()
    if way == "close":
        client.close()
    else:
        scope.__exit__(None, None, None)
    outcomes = {name: thread.outcome() for name, thread in threads.items()}
    assert time.monotonic() - began < 3
    assert outcomes.pop("states") == [zk.SessionState.CONNECTED, zk.SessionState.CLOSED]
    assert {name: type(outcome) for name, outcome in outcomes.items()} == dict.fromkeys(outcomes, zk.ClosedError)
    if way == "close":
        scope.__exit__(None, None, None)
    assert len(witness.children(f"{root}/lock")) == 1


@pytest.mark.parametrize("way", ["close", "leave", "twice"])
def test_closing_while_nothing_is_answered(proxy: ChaosProxy, root: str, way: str) -> None:
    """The grace passes without the server's word; nobody is left waiting for it."""
    scope = zk.open_client(proxy.hosts + root, close_grace=0.2)
    client = scope.__enter__()
    proxy.black_hole()
    threads: list[Background[Any]] = [Background(lambda: client.get("/")) for _ in range(4)]
    threads.append(Background(lambda: client.create("/mine", ephemeral=True)))
    eventually(lambda: client._core._engine.session.in_flight == 5)
    if way == "close":
        client.close(grace=0.2)
    elif way == "twice":
        closing = [Background(lambda: client.close(grace=0.2)) for _ in range(3)]
        for each in closing:
            each.result()
    began = time.monotonic()
    scope.__exit__(None, None, None)
    assert time.monotonic() - began < 2
    for thread in threads:
        outcome = thread.outcome()
        assert isinstance(outcome, zk.ClosedError)
        assert outcome.maybe_applied
    with pytest.raises(zk.ClosedError):
        client.get("/")


def test_closing_with_no_grace(proxy: ChaosProxy, root: str) -> None:
    with zk.open_client(proxy.hosts + root, close_grace=0) as client:
        proxy.black_hole()
        thread = Background(lambda: client.get("/"))
        eventually(lambda: client._core._engine.session.in_flight == 1)
    assert isinstance(thread.outcome(), zk.ClosedError)


def test_closing_while_suspended(proxy: ChaosProxy, root: str) -> None:
    with zk.open_client(proxy.hosts + root) as client:
        proxy.refuse()
        proxy.cut()
        eventually(lambda: client.state is zk.SessionState.SUSPENDED)
        threads = [Background(lambda: client.set("/", b"")) for _ in range(3)]
        eventually(lambda: len(runtime_of(client).parked) == 3)
    for thread in threads:
        assert isinstance(thread.outcome(), zk.ClosedError)


# --- the parts


def test_a_bell_that_is_rung_while_it_is_heard() -> None:
    """Whoever listens looks behind `heard`, so a ring in the middle of it may be lost; the next one must not be."""
    bell = Bell()

    class Ear:
        def __init__(self, ear: Any, *, early: bool) -> None:
            self.ear, self.early = ear, early

        def recv(self, count: int) -> bytes:
            if self.early:
                bell.ring()
            data: bytes = self.ear.recv(count)
            if not self.early:
                bell.ring()
            return data

    real: Any = bell._ear
    for early in (True, False):
        bell._ear = real
        bell.ring()
        bell.ring()
        assert wait_for(5, bell.fd) == (True, False)
        bell._ear = Ear(real, early=early)  # type: ignore[assignment]
        bell.heard()
        bell._ear = real
        bell.ring()
        assert wait_for(5, bell.fd) == (True, False)
        bell.heard()
        assert wait_for(0, bell.fd) == (False, False)
    bell.close()
    bell.ring()
    bell.heard()


def test_waiting_where_there_is_no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    import select

    bell, other = Bell(), Bell()
    for poll in (True, False):
        if not poll:
            monkeypatch.delattr(select, "poll")
        assert wait_for(0.01, bell.fd) == (False, False)
        bell.ring()
        assert wait_for(5, bell.fd, other.fd) == (True, False)
        assert wait_for(5, bell.fd, other.fd, writable=True) == (True, True)
        other.ring()
        assert wait_for(float("inf"), bell.fd, other.fd) == (True, True)
        assert wait_for(5, bell.fd, other.fd, readable=False) == (True, False)
        bell.heard()
        other.heard()
    bell.close()
    other.close()


def test_two_threads_wait_for_the_same_thing() -> None:
    runtime = BlockingRuntime()
    thing = Waitable()

    def wait() -> None:
        with runtime.mutex:
            runtime.wait(thing).send(None)

    first = Background(wait)
    eventually(lambda: runtime.parked)
    with pytest.raises(zk.LocalProtocolError):
        wait()
    with runtime.mutex:
        runtime.wake(thing)
        runtime.wake(thing)
    assert isinstance(first.outcome(), StopIteration)


def test_a_coroutine_that_is_suspended_is_a_defect() -> None:
    """Only the waits of the runtime may be awaited: they block."""

    class Other:
        def __await__(self) -> Iterator[None]:
            yield

    with pytest.raises(RuntimeError, match="suspended"):
        Runner.drive(Other())  # type: ignore[arg-type]


def test_what_is_known_may_be_asked_at_any_time(server: AnyServer, root: str) -> None:
    """Facts need no call: a thread in one does not hold them up, and it is the same for those who are closed."""
    scope = zk.open_client(server.hosts + root, session_timeout=6)
    client = scope.__enter__()
    client.create("/a")
    with runtime_of(client).mutex:
        assert client.session_timeout == 6.0
        assert client.server == server.hosts
        assert client.last_zxid > 0
        assert client.chroot == root
        assert client.full_path("/a") == f"{root}/a"
        assert client.at("/a").chroot == f"{root}/a"
        assert client.ticket is not None
        assert client.ticket.session_id == client.session_id != 0
        assert "connected" in repr(client)
    with client.using(while_suspended="fail").lock("/lock") as lock, client.watch_data("/a") as watch:
        with runtime_of(client).mutex:
            assert watch.seen.data == b""
            assert lock.path == "/lock"
            assert lock.node.startswith("/lock/")
            assert lock.token > 0
            assert not lock.lost
            lock.check()
    scope.__exit__(None, None, None)
    assert (client.state, client.server) == (zk.SessionState.CLOSED, None)
    assert "closed" in repr(client)


def test_a_defect_of_the_client_is_told_to_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What must not happen ends all calls, rather than letting them wait for ever."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def play(server: Played) -> None:
        server.accept_session(LONG)
        while server.read_request().op != -11:
            pass

    with Peer(play) as peer:
        scope = zk.open_client(peer.hosts, close_grace=0.1)
        client = scope.__enter__()
        threads = [Background(lambda: client.get("/")) for _ in range(3)]
        eventually(lambda: len(runtime_of(client).parked) == 2)

        real = Driver._listen

        def fail(*_: object, **__: object) -> bool:
            monkeypatch.setattr(Driver, "_listen", real)
            raise ZeroDivisionError

        monkeypatch.setattr(Driver, "_listen", fail)
        driver_of(client).nudge()
        for thread in threads:
            outcome = thread.outcome()
            assert isinstance(outcome, RuntimeError)
            assert isinstance(outcome.__cause__, ZeroDivisionError)
        with pytest.raises(RuntimeError, match="defect"):
            scope.__exit__(None, None, None)


def test_signals_are_for_the_main_thread() -> None:
    """A call of another thread is not interrupted."""
    desk = Desk()
    with Peer(desk.play) as peer:
        with zk.open_client(peer.hosts) as client:
            calling = getting(client, "/1")
            desk.wait(1)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            desk.answer()
            assert got(calling) == "/1"
            desk.close()


assert (GET, CREATED) == (4, 1)
