"""Membership and configuration, on asyncio. Two members join; each adds its name to a configuration that both follow.

    python examples/configuration_anyio.py

There is the same program for trio, configuration_trio.py, and for threads, configuration_blocking.py. It uses the
servers in ZK_HOSTS, below a path of its own that it removes in the end; if that is not set, one in memory.
"""

import os
from contextlib import ExitStack
from uuid import uuid4

import anyio

import zk_anyio as zk
from zk_blocking.testing import open_server

APP = f"/configuration-example-{uuid4().hex[:8]}"
NAMES = ("ann", "bob")


async def member(hosts: str, name: str) -> None:
    """Join, add our name, and follow the configuration until everybody is in it."""
    async with zk.open_client(hosts) as client:
        # Ephemeral: it goes when this client goes, in whatever way that is.
        await client.create(f"{APP}/members/{name}", ephemeral=True)
        print(f"{name} joins, with session {client.session_id:#x}")
        async with client.watch(f"{APP}/configuration", snapshot=True) as changes:
            await add(client, name)
            # The stream has kept what has changed meanwhile; it begins with what was there.
            async for change in changes:
                data, stat = await client.get(change.path)
                print(f"{name} sees version {stat.version}: {names_in(data)}")
                if set(NAMES) <= set(names_in(data)):
                    break
    print(f"{name} leaves")


async def add(client: zk.Client, name: str) -> None:
    """Add our name to the configuration. Nobody else does so between our reading and our writing."""
    async with client.lock(f"{APP}/lock", data=name.encode()) as lock:
        print(f"{name} holds the lock, with token {lock.token}")
        data, _ = await client.get(f"{APP}/configuration")
        names = " ".join([*names_in(data), name])
        # The server refuses this if the lock is not ours any more, whatever we believe.
        await lock.guarded().set(f"{APP}/configuration", names.encode()).commit()


def names_in(data: bytes | None) -> list[str]:
    return (data or b"").decode().split()


async def main(hosts: str) -> None:
    async with zk.open_client(hosts) as client:
        await client.ensure_path(f"{APP}/configuration")
        await client.ensure_path(f"{APP}/members")
        async with anyio.create_task_group() as tasks:
            for name in NAMES:
                tasks.start_soon(member, hosts, name)
        print("members now:", await client.get_children(f"{APP}/members"))
        await client.delete(APP, recursive=True)


if __name__ == "__main__":
    with ExitStack() as stack:
        anyio.run(main, os.environ.get("ZK_HOSTS") or stack.enter_context(open_server()).hosts)
