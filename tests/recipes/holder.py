"""A program that takes a lock: ``python -m tests.recipes.holder ADAPTER HOSTS ROOT NAME THEN``.

It says on its standard output what happens to it, and does what the next line of its standard input, or *THEN*, says:
``write`` in a loop, through the lock's guard; ``stop`` itself and then ``write``, ``leave`` or ``check``.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import repeat

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


def steps(then: str) -> Iterator[str]:
    """What to do while the lock is held."""
    if then == "write on":
        yield from repeat("write")
    elif then == "write once":
        yield "write"
        yield "listen"
    else:
        # Nothing looks at the connection between the stop and what follows.
        stop, _, follows = then.partition(" and ")
        assert stop == "stop"
        os.kill(os.getpid(), signal.SIGSTOP)
        yield follows


def in_trio(hosts: str, root: str, name: str, then: str) -> None:
    """The program on trio, from its beginning to its end."""
    trio.run(with_trio, hosts, root, name, then)


PROGRAMS: dict[str, Callable[..., object]] = {
    "trio": in_trio,
    "blocking": with_threads,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
