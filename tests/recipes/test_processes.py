"""Programs that stop, and other programs: one holds the lock, and the stale one writes nothing."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self
from uuid import uuid4

import pytest
import trio

import zk_blocking
import zk_trio
from tests.recipes.holder import SESSION
from tests.support.raw import EPHEMERAL, SEQUENTIAL, RawClient
from tests.support.servers import AnyServer
from tests.support.snippets import ROOT

LIMIT = 20.0
PAIRS = [("trio", "blocking"), ("blocking", "trio")]


class Program:
    """`tests.recipes.holder`, in a process of its own.

    Args:
        adapter: which one it uses.
        server: the server.
        root: where it works.
        name: what it writes.
        then: what it does when it holds the lock.
    """

    def __init__(self, adapter: str, server: AnyServer, root: str, name: str, then: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.recipes.holder", adapter, server.hosts, root, name, then],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self._said = b""

    def line(self) -> str:
        """Wait for the next line that it prints."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + LIMIT
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._said:
                assert selector.select(deadline - time.monotonic()), "it says nothing"
                chunk = os.read(self._process.stdout.fileno(), 4096)
                assert chunk, "it has ended"
                self._said += chunk
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def holds(self) -> int:
        """Wait until it holds the lock; return its token."""
        word, token = self.line().split()
        assert word == "holds"
        return int(token)

    def tell(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """Stop it where it is."""
        self._process.send_signal(signal.SIGSTOP)
        self.stopped()

    def stopped(self) -> None:
        """Wait until it is stopped."""
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def go_on(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Wait for its end, which is in order."""
        assert self._process.wait(LIMIT) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in self._process.stdin, self._process.stdout:
            assert pipe is not None
            pipe.close()


@pytest.fixture
def data(root: str, witness: RawClient) -> str:
    """What the programs write. The lock's znode is there too, and stays."""
    witness.create(f"{root}/lock")
    return witness.create(f"{root}/data", b"nobody")


@pytest.mark.parametrize("first, second", PAIRS)
def test_a_holder_that_is_stopped_in_the_middle_of_its_work(
    server: AnyServer, witness: RawClient, root: str, data: str, first: str, second: str
) -> None:
    """The other one takes over when its session is over; what it had still in hand is refused."""
    with Program(first, server, root, "first", "write on") as stale:
        token = stale.holds()
        with Program(second, server, root, "second", "write once") as other:
            while witness.get(data) != b"first":
                time.sleep(0.001)
            stale.stop()
            stopped = time.monotonic()
            assert other.holds() > token
            # Not before the session could be over; the last ping may have been sent a little before the stop.
            assert time.monotonic() - stopped > SESSION / 2
            while witness.get(data) != b"second":
                time.sleep(0.001)
            written = witness.exists(data)
            stale.go_on()
            assert stale.line().startswith("lost the lease of")
            stale.end()
            assert witness.exists(data) == written
            other.tell()
            assert [other.line(), other.line()] == ["leaves", "left"]
            other.end()
    assert witness.children(f"{root}/lock") == []


@pytest.mark.parametrize("then", ["write", "leave", "check"])
@pytest.mark.parametrize("first, second", PAIRS)
def test_a_holder_that_is_stopped_and_goes_on_with_the_next_line(
    server: AnyServer, witness: RawClient, root: str, data: str, first: str, second: str, then: str
) -> None:
    """It has not looked at its connection since, and is told all the same: when it writes, checks or leaves."""
    with Program(first, server, root, "first", f"stop and {then}") as stale:
        token = stale.holds()
        stale.stopped()
        with Program(second, server, root, "second", "write once") as other:
            assert other.holds() > token
            while witness.get(data) != b"second":
                time.sleep(0.001)
            written = witness.exists(data)
            stale.go_on()
            said = [stale.line()]
            if then == "leave":
                assert said == ["leaves"]
                said = [stale.line()]
            assert said[0].startswith("lost the lease of")
            stale.end()
            assert witness.exists(data) == written
            other.tell()
            assert other.line() == "leaves"
            other.end()


@pytest.mark.parametrize("adapter", ["trio", "blocking"])
def test_a_holder_that_is_killed(server: AnyServer, witness: RawClient, root: str, data: str, adapter: str) -> None:
    with Program(adapter, server, root, "first", "write on") as killed:
        killed.holds()
    with Program(adapter, server, root, "second", "write once") as other:
        other.holds()
        other.tell()
        assert [other.line(), other.line()] == ["leaves", "left"]
        other.end()
    assert witness.get(data) == b"second"


class Curators:
    """Curator's ``InterProcessMutex``, as others see it: its znode, and its rule for whose turn it is.

    Args:
        client: its session.
        path: of the lock.
    """

    def __init__(self, client: RawClient, path: str) -> None:
        self._client = client
        self._path = path
        self.node = client.create(f"{path}/_c_{uuid4()}-lock-", b"192.0.2.7", flags=EPHEMERAL | SEQUENTIAL)

    @property
    def holds(self) -> bool:
        """Whether it is first among all children, by what stands behind ``lock-``."""
        children = sorted(self._client.children(self._path), key=lambda name: name.rpartition("lock-")[2])
        return children[0] == self.node.rpartition("/")[2]

    def release(self) -> None:
        """Give it back."""
        self._client.delete(self.node)


def in_trio(server: AnyServer, path: str, held: Callable[[], None], wanted: Callable[[], None]) -> None:
    """Take the lock on trio; *wanted* is called when we wait for it, *held* when we have it."""

    async def main() -> None:
        with trio.fail_after(LIMIT):
            async with zk_trio.open_client(server.hosts) as client, trio.open_nursery() as nursery:

                async def call() -> None:
                    while not await client.lock(path).contenders():
                        await trio.sleep(0.001)
                    await trio.sleep(0.1)
                    wanted()

                nursery.start_soon(call)
                async with client.lock(path):
                    held()
                    nursery.cancel_scope.cancel()

    trio.run(main)


def in_threads(server: AnyServer, path: str, held: Callable[[], None], wanted: Callable[[], None]) -> None:
    """The same in threads; the first try is in vain if somebody else has it."""
    with zk_blocking.open_client(server.hosts) as client:
        if client.lock(path).contenders():
            with pytest.raises(zk_blocking.CallTimeoutError):
                with client.lock(path, timeout=0.1):
                    pass
            wanted()
        with client.lock(path, timeout=LIMIT):
            held()


@pytest.mark.parametrize("ours", [in_trio, in_threads])
def test_curator_has_it(server: AnyServer, root: str, witness: RawClient, ours: Callable[..., None]) -> None:
    """We wait until it gives it back."""
    path = witness.create(f"{root}/lock")
    theirs = Curators(witness, path)
    assert theirs.holds
    order: list[str] = []

    def release() -> None:
        order.append("theirs")
        theirs.release()

    ours(server, path, partial(order.append, "ours"), release)
    assert order == ["theirs", "ours"]
    assert witness.children(path) == []


@pytest.mark.parametrize("ours", [in_trio, in_threads])
def test_we_have_it(server: AnyServer, root: str, witness: RawClient, ours: Callable[..., None]) -> None:
    """Curator waits until we give it back."""
    path = witness.create(f"{root}/lock")
    waiting: list[Curators] = []

    def held() -> None:
        waiting.append(Curators(witness, path))
        assert not waiting[0].holds

    ours(server, path, held, lambda: None)
    (theirs,) = waiting
    assert theirs.holds
    assert witness.children(path) == [theirs.node.rpartition("/")[2]]
