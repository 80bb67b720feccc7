"""Ctrl-C: it unwinds through the clean-up, wherever it comes, and leaves everything in order."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

import zk_blocking as zk
from tests.blocking.tools import (
    HEAD,
    MAIN,
    REPOSITORY,
    Background,
    Peer,
    Played,
    blocked,
    refusing,
    runtime_of,
    signals,
)
from tests.support.proxy import ChaosProxy
from tests.support.raw import EPHEMERAL, RawClient
from tests.support.servers import AnyServer
from tests.support.waiting import eventually
from zk_blocking import Client
from zk_blocking._interrupts import INTERRUPTS, Interrupts
from zk_blocking._runtime import BlockingRuntime, Waiter

DELETE, EXISTS = 2, 3


@pytest.fixture
def client(server: AnyServer, root: str) -> Iterator[Client]:
    with zk.open_client(server.hosts + root) as opened:
        yield opened


def usable(client: Client) -> None:
    assert client.state is zk.SessionState.CONNECTED
    assert client.get("/").data == b""
    assert not runtime_of(client).parked
    assert not runtime_of(client).mutex.locked()


# --- where it comes


def test_in_a_call_that_waits(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    with zk.open_client(proxy.hosts + root) as client:
        proxy.black_hole("replies")
        with pytest.raises(KeyboardInterrupt):
            with signals():
                client.create("/gone", ephemeral=True)
        eventually(lambda: witness.exists(f"{root}/gone"))
        proxy.heal()
        eventually(lambda: witness.exists(f"{root}/gone") is None)
        usable(client)
        assert proxy.connections == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_a_call_whose_reply_another_thread_reads(proxy: ChaosProxy, root: str) -> None:
    with zk.open_client(proxy.hosts + root) as client:
        proxy.black_hole("replies")
        leader = Background(lambda: client.get("/"))
        runtime = runtime_of(client)
        eventually(lambda: proxy.requests == 1)
        with pytest.raises(KeyboardInterrupt):
            with signals(lambda: blocked() and runtime.parked):
                client.get("/")
        proxy.heal()
        assert leader.result().data == b""
        usable(client)


def test_while_iterating(client: Client) -> None:
    waits = False
    with client.watch("/") as outer:
        with pytest.raises(KeyboardInterrupt):
            with client.watch("/below", recursive=True) as changes, signals(lambda: waits and blocked()):
                waits = True
                for _ in changes:
                    pass
        assert client.check_watches("/")
        assert not client.check_watches("/below")
        client.set("/", b"")
        assert isinstance(outer.next(timeout=5), zk.WatchEvent)
    usable(client)


@pytest.mark.parametrize("way", ["fired", "wait_for", "wait_until_gone", "states"])
def test_while_waiting_for_something(client: Client, way: str) -> None:
    waits = False
    with pytest.raises(KeyboardInterrupt):
        with signals(lambda: waits and blocked() and client._core._engine.session.in_flight == 0):
            if way == "fired":
                with client.watch_data("/") as watch:
                    waits = True
                    watch.fired()
            elif way == "states":
                with client.states() as states:
                    for _ in states:
                        waits = True
            else:
                waits = True
                client.wait_for("/nothing") if way == "wait_for" else client.wait_until_gone("/")
    usable(client)
    assert not client.check_watches("/")
    assert not client.check_watches("/nothing")


def test_while_waiting_for_a_lock(client: Client, root: str, witness: RawClient) -> None:
    witness.create(f"{root}/lock")
    holder = witness.create(f"{root}/lock/lock-", flags=EPHEMERAL | 2)

    def queued() -> bool:
        return blocked() and len(witness.children(f"{root}/lock")) == 2

    with pytest.raises(KeyboardInterrupt):
        with signals(queued):
            with client.lock("/lock"):
                pytest.fail("nobody has released it")
    assert witness.children(f"{root}/lock") == [holder.rpartition("/")[2]]
    witness.delete(holder)
    usable(client)
    with client.lock("/lock") as lock:
        lock.check()


def test_while_the_lock_is_held(client: Client, root: str, witness: RawClient) -> None:
    with pytest.raises(KeyboardInterrupt):
        with client.lock("/lock"):
            signal.raise_signal(signal.SIGINT)
    assert witness.children(f"{root}/lock") == []
    usable(client)


def test_while_connecting_to_nobody() -> None:
    with refusing() as hosts:
        with pytest.raises(KeyboardInterrupt):
            with signals():
                with zk.open_client(hosts):
                    pytest.fail("there is no server")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_while_a_server_does_not_answer() -> None:
    asked = threading.Event()

    def play(server: Played) -> None:
        server.read_frame()
        asked.set()
        server.read_frame()

    with Peer(play) as peer:
        with pytest.raises(KeyboardInterrupt):
            with signals(lambda: asked.is_set() and blocked()):
                with zk.open_client(peer.hosts):
                    pytest.fail("there is no session")


def test_while_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, done = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, *rest: object, **more: object) -> object:
        if host != "slow.example":
            return real(host, *rest, **more)  # type: ignore[arg-type]
        if not more.get("flags"):
            asked.set()
            done.wait(10)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            with signals(lambda: asked.is_set() and blocked()):
                with zk.open_client("slow.example:2181"):
                    pytest.fail("there is no server")
        assert time.monotonic() - began < 5
    finally:
        done.set()


def test_without_waiting_for_a_connection() -> None:
    """An interrupt while the scope is entered comes out even when nothing waits there."""
    with refusing() as hosts:
        scope = zk.open_client(hosts, open_timeout=0)
        real = INTERRUPTS.opened

        def opened(client: object) -> None:
            real(client)
            signal.raise_signal(signal.SIGINT)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Interrupts, "opened", lambda _, client: opened(client))
            with pytest.raises(KeyboardInterrupt):
                scope.__enter__()


def test_in_the_body(server: AnyServer, root: str, witness: RawClient) -> None:
    with pytest.raises(KeyboardInterrupt):
        with zk.open_client(server.hosts + root) as client:
            client.create("/mine", ephemeral=True)
            signal.raise_signal(signal.SIGINT)
    assert witness.exists(f"{root}/mine") is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_twice_while_closing(proxy: ChaosProxy, root: str) -> None:
    scope = zk.open_client(proxy.hosts + root, close_grace=0.3)
    client = scope.__enter__()
    proxy.black_hole()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        with signals(blocked, blocked):
            scope.__exit__(None, None, None)
    assert time.monotonic() - began >= 0.25  # the session had its chance
    assert client.state is zk.SessionState.CLOSED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_again_while_the_first_one_is_cleaned_up(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    """The second one waits until the lock's znode is away."""
    witness.create(f"{root}/lock")
    witness.create(f"{root}/lock/lock-", flags=EPHEMERAL | 2)
    with zk.open_client(proxy.hosts + root) as client:
        proxy.delay(0.03)
        session = client._core._engine.session

        def our_turn_is_waited_for() -> bool:
            return blocked() and proxy.opcodes[-1] == EXISTS and not session.in_flight

        def it_is_cleaned_up() -> bool:
            return blocked() and proxy.opcodes[-1] == DELETE and bool(session.in_flight)

        with pytest.raises(KeyboardInterrupt):
            with signals(our_turn_is_waited_for, it_is_cleaned_up):
                with client.lock("/lock"):
                    pytest.fail("nobody has released it")
        assert len(witness.children(f"{root}/lock")) == 1
        usable(client)


def test_between_entering_a_scope_and_its_body(client: Client, root: str, witness: RawClient) -> None:
    """It comes when the lock is held already, but nobody has been told: it is released again."""
    lock = client.lock("/lock")
    real = type(lock._core)._hold

    def hold(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(lock._core), "_hold", hold)
        with pytest.raises(KeyboardInterrupt):
            lock.__enter__()
    assert witness.children(f"{root}/lock") == []
    usable(client)


# --- at any moment


class Shooter:
    """Sends a signal some microseconds after it was told to. An interrupt does not leave its trigger held."""

    def __init__(self) -> None:
        self.sent = True
        self._delay: float | None = 0.0
        self._trigger = threading.Lock()
        self._trigger.acquire()
        self._switch = sys.getswitchinterval()
        sys.setswitchinterval(1e-4)
        self._thread = Background(self._run)

    def aim(self, delay: float) -> None:
        self.sent = False
        self._delay = delay
        self._trigger.release()

    def _run(self) -> None:
        while True:
            self._trigger.acquire()
            if self._delay is None:
                return
            until = time.perf_counter() + self._delay
            while time.perf_counter() < until:
                pass
            signal.pthread_kill(MAIN, signal.SIGINT)
            self.sent = True

    def end(self) -> None:
        sys.setswitchinterval(self._switch)
        self._delay = None
        self._trigger.release()
        self._thread.result()


def test_at_many_moments(client: Client, root: str, witness: RawClient) -> None:
    """Signals after delays that grow: before, in, between and behind calls. No answer may be somebody else's."""
    for number in range(10):
        client.create(f"/{number}", str(number).encode())
    shooter = Shooter()
    try:
        for turn in range(240):
            with pytest.raises(KeyboardInterrupt):
                shooter.aim(turn * 10e-6)
                while not shooter.sent:
                    if turn % 3 == 0:
                        assert client.get(f"/{turn % 10}").data == str(turn % 10).encode()
                    elif turn % 3 == 1:
                        with client.watch("/", recursive=True):
                            assert client.get("/3").data == b"3"
                    else:
                        with client.lock("/lock") as lock:
                            assert not lock.lost
                time.sleep(5)  # it is on its way
            assert client.get(f"/{(turn + 1) % 10}").data == str((turn + 1) % 10).encode()
    finally:
        shooter.end()
    assert not client.check_watches("/")
    assert witness.children(f"{root}/lock") == []
    usable(client)


# --- whose handler it is


def test_a_handler_of_the_users_own_is_left_alone(proxy: ChaosProxy, root: str) -> None:
    seen: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        proxy.heal()

    before = signal.signal(signal.SIGINT, handler)
    try:
        with zk.open_client(proxy.hosts + root) as client:
            assert signal.getsignal(signal.SIGINT) is handler
            proxy.black_hole("replies")
            with signals():
                assert client.get("/").data == b""
        assert signal.getsignal(signal.SIGINT) is handler
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_is_set_meanwhile_stays() -> None:
    with refusing() as hosts:
        with zk.open_client(hosts, open_timeout=0):
            assert signal.getsignal(signal.SIGINT) != signal.default_int_handler
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.signal(signal.SIGINT, signal.default_int_handler)
        del before


def test_the_last_client_gives_the_handler_back() -> None:
    with refusing() as hosts:
        with zk.open_client(hosts, open_timeout=0):
            with zk.open_client(hosts, open_timeout=0):
                pass
            assert signal.getsignal(signal.SIGINT) == INTERRUPTS._handle
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_clients_of_other_threads_are_not_counted() -> None:
    """One that another thread has opened may be closed here, and one that was opened here may be closed there."""
    with refusing() as hosts:
        scopes = [zk.open_client(hosts, open_timeout=0) for _ in range(3)]
        Background(lambda: scopes[0].__enter__()).result()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        scopes[1].__enter__()
        scopes[0].__exit__(None, None, None)
        assert signal.getsignal(signal.SIGINT) == INTERRUPTS._handle
        Background(lambda: scopes[1].__exit__(None, None, None)).result()
        with scopes[2]:
            assert signal.getsignal(signal.SIGINT) == INTERRUPTS._handle
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_of_calls_nothing_is_held_back() -> None:
    with refusing() as hosts:
        with zk.open_client(hosts, open_timeout=0):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


def test_a_wake_up_that_is_lost_is_none() -> None:
    """What is remembered is noticed before the next wait, and in another thread it is not."""
    interrupts = Interrupts()
    assert interrupts.enter()
    assert not interrupts.enter()
    interrupts._handle(signal.SIGINT, None)
    assert interrupts.pending
    Background(interrupts.check).result()
    assert not Background(interrupts.enter).result()
    with pytest.raises(KeyboardInterrupt):
        interrupts.leave()
    interrupts.check()


@pytest.mark.usefixtures("guarded")
def test_what_has_come_before_a_wait_is_not_slept_over() -> None:
    """Between the look whether it has come and the wait itself: the wait does not begin, unless it is shielded."""
    runtime = BlockingRuntime()
    waiter = Waiter(reads=False)
    assert INTERRUPTS.enter()
    with runtime.mutex:
        signal.raise_signal(signal.SIGINT)
        until = time.monotonic() + 60
        runtime.park(waiter, until)
        assert time.monotonic() < until - 50
        runtime.thread.shielded = True
        runtime.park(waiter, time.monotonic() + 0.01)
        assert not runtime.parked
    with pytest.raises(KeyboardInterrupt):
        INTERRUPTS.leave()


@pytest.fixture
def guarded() -> Iterator[None]:
    """SIGINT as it is while a client is open."""
    client = threading.Event()  # anything will do
    INTERRUPTS.opened(client)
    yield
    INTERRUPTS.closed(client)


# --- other signals


@pytest.mark.parametrize("leads", [True, False])
def test_another_handler_that_raises(proxy: ChaosProxy, root: str, leads: bool) -> None:
    """SIGTERM as many programs treat it. It strikes where the call blocks, and what it breaks off is abandoned."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(number)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with zk.open_client(proxy.hosts + root) as client:
            runtime = runtime_of(client)
            proxy.black_hole("replies")
            other = None if leads else Background(lambda: client.exists("/"))
            eventually(lambda: leads or proxy.requests == 1)
            with pytest.raises(SystemExit):
                with signals(lambda: blocked() and (leads or runtime.parked), number=signal.SIGTERM):
                    client.create("/mine", ephemeral=True)
            proxy.heal()
            if other is not None:
                assert other.result()
            eventually(lambda: client.exists("/mine") is None)
            usable(client)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("leads", [True, False])
def test_a_handler_cannot_make_calls_of_the_client_that_it_has_interrupted(
    proxy: ChaosProxy, root: str, leads: bool
) -> None:
    """It would wait for a reply that the call below it is to read."""
    errors: list[BaseException] = []

    def handler(number: int, frame: FrameType | None) -> None:
        try:
            opened.get("/")
        except zk.LocalProtocolError as error:
            errors.append(error)
        proxy.heal()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with zk.open_client(proxy.hosts + root) as client:
            proxy.black_hole("replies")
            other = None if leads else Background(lambda: client.exists("/"))
            runtime = runtime_of(client)
            eventually(lambda: leads or proxy.requests == 1)
            opened = client
            with signals(lambda: blocked() and (leads or runtime.parked), number=signal.SIGUSR1):
                assert client.get("/").data == b""
            assert "within one of its own calls" in str(errors[0])
            if other is not None:
                other.result()
            usable(client)
            signal.raise_signal(signal.SIGUSR1)  # outside of calls it may
            assert len(errors) == 1
    finally:
        signal.signal(signal.SIGUSR1, before)


# --- a process of its own

WAITING = """
with zk.open_client(hosts + root) as client:
    client.create("/mine", ephemeral=True)
    print("ready", flush=True)
    client.wait_for("/nothing")
"""


def test_a_program_ends_as_python_programs_do(server: AnyServer, root: str, witness: RawClient) -> None:
    program = HEAD.format(repository=str(REPOSITORY)) + WAITING
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", program, server.hosts, root],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert witness.exists(f"{root}/mine")
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == -signal.SIGINT
        assert errors.endswith("KeyboardInterrupt\n")
        assert "Warning" not in errors
    assert witness.exists(f"{root}/mine") is None
