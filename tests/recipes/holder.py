"""A program that takes a lock: ``python -m tests.recipes.holder ADAPTER HOSTS ROOT NAME THEN``.

It says on its standard output what happens to it, and does what the next line of its standard input, or *THEN*, says:
``write`` in a loop, through the lock's guard; ``stop`` itself and then ``write``, ``leave`` or ``check``.
"""

import os
import signal
import sys
from collections.abc import Callable

import trio

import zk_blocking
import zk_trio

SESSION = 1.0


def say(*words: object) -> None:
    """Tell the test."""
    print(*words, flush=True)  # noqa: T201 -- it is what the test reads


async def with_trio(hosts: str, root: str, name: str, then: str) -> None:
    """The program on trio."""
    async with zk_trio.open_client(hosts, session_timeout=SESSION) as client:
        try:
            async with client.lock(f"{root}/lock", data=name.encode()) as lock:
                say("holds", lock.token)
                for step in steps(then):
                    if step == "write":
                        await lock.guarded().set(f"{root}/data", name.encode()).commit()
                        await trio.sleep(0.001)
                    elif step == "check":
                        lock.check()
                    elif step == "listen":
                        await trio.to_thread.run_sync(sys.stdin.readline)
                say("leaves")
        except zk_trio.LeaseLostError as error:
            say("lost", error)
        else:
            say("left")


def with_threads(hosts: str, root: str, name: str, then: str) -> None:
    """The program without an event loop."""
    with zk_blocking.open_client(hosts, session_timeout=SESSION) as client:
        try:
            with client.lock(f"{root}/lock", data=name.encode(), timeout=20) as lock:
                say("holds", lock.token)
                for step in steps(then):
                    if step == "write":
                        lock.guarded().set(f"{root}/data", name.encode()).commit(timeout=20)
                    elif step == "check":
                        lock.check()
                    elif step == "listen":
                        sys.stdin.readline()
                say("leaves")
        except zk_blocking.LeaseLostError as error:
            say("lost", error)
        else:
            say("left")


def steps(then: str) -> "list[str] | Steps":
    """What to do while the lock is held."""
    if then == "write on":
        return Steps()
    if then == "write once":
        return ["write", "listen"]
    first, _, second = then.partition(" and ")
    assert first == "stop"
    return Stopping(second)


class Steps(list[str]):
    """Writes without an end."""

    def __iter__(self) -> "Steps":  # type: ignore[override]
        return self

    def __next__(self) -> str:
        return "write"


class Stopping(Steps):
    """Stops this process, and goes on with something, without a look at anything in between."""

    def __init__(self, second: str) -> None:
        super().__init__()
        self._left = [self._stop, lambda: second]

    def __next__(self) -> str:
        if not self._left:
            raise StopIteration
        return self._left.pop(0)()

    def _stop(self) -> str:
        os.kill(os.getpid(), signal.SIGSTOP)
        return "nothing"


PROGRAMS: dict[str, Callable[..., object]] = {
    "trio": lambda *args: trio.run(with_trio, *args),
    "blocking": with_threads,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
