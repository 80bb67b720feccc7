"""Membership and configuration, on threads. Two members join; each adds its name to a configuration that both follow.

    python examples/configuration_blocking.py

There is the same program for trio, configuration_trio.py, and for asyncio, configuration_anyio.py. It uses the
servers in ZK_HOSTS, below a path of its own that it removes in the end; if that is not set, one in memory.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import zk_blocking as zk
from zk_blocking.testing import open_server

APP = f"/configuration-example-{uuid4().hex[:8]}"
NAMES = ("ann", "bob")


def member(hosts: str, name: str) -> None:
    """Join, add our name, and follow the configuration until everybody is in it."""
    with zk.open_client(hosts) as client:
        # Ephemeral: it goes when this client goes, in whatever way that is.
        client.create(f"{APP}/members/{name}", ephemeral=True, timeout=10)
        print(f"{name} joins, with session {client.session_id:#x}")
        with client.watch(f"{APP}/configuration", snapshot=True, timeout=10) as changes:
            add(client, name)
            # The stream has kept what has changed meanwhile; it begins with what was there.
            while True:
                change = changes.next(timeout=30)  # "for change in changes" has no limit
                data, stat = client.get(change.path, timeout=10)
                print(f"{name} sees version {stat.version}: {names_in(data)}")
                if set(NAMES) <= set(names_in(data)):
                    break
    print(f"{name} leaves")


def add(client: zk.Client, name: str) -> None:
    """Add our name to the configuration. Nobody else does so between our reading and our writing."""
    with client.lock(f"{APP}/lock", data=name.encode(), timeout=30) as lock:
        print(f"{name} holds the lock, with token {lock.token}")
        data, _ = client.get(f"{APP}/configuration", timeout=10)
        names = " ".join([*names_in(data), name])
        # The server refuses this if the lock is not ours any more, whatever we believe.
        lock.guarded().set(f"{APP}/configuration", names.encode()).commit(timeout=10)


def names_in(data: bytes | None) -> list[str]:
    return (data or b"").decode().split()


def main(hosts: str) -> None:
    with zk.open_client(hosts) as client:
        client.ensure_path(f"{APP}/configuration", timeout=10)
        client.ensure_path(f"{APP}/members", timeout=10)
        with ThreadPoolExecutor() as threads:
            for done in [threads.submit(member, hosts, name) for name in NAMES]:
                done.result()
        print("members now:", client.get_children(f"{APP}/members", timeout=10))
        client.delete(APP, recursive=True, timeout=10)


if __name__ == "__main__":
    with ExitStack() as stack:
        main(os.environ.get("ZK_HOSTS") or stack.enter_context(open_server()).hosts)
