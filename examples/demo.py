"""A client at work: every step says what it calls and what came back, and checks that it is what it should be.

It uses the servers in ZK_HOSTS, below a path of its own that it removes; if that is not set, it serves a ZooKeeper in
memory for itself, and then it also lets that server crash under a client. `scripts/demo` runs it.
"""

import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar
from uuid import uuid4

import trio

import zk_trio as zk
from zk_blocking.testing import InMemoryServer, open_server

P = ParamSpec("P")
T = TypeVar("T")

LIMIT = 60.0


class DemoError(Exception):
    """Something is not as the demo claims."""


# --- telling and checking


def step(number: int, title: str) -> None:
    print(f"\n{number}. {title}\n")


def say(text: str) -> None:
    print(f"   {text}")


def brief(value: object) -> str:
    """A value in the short form that fits on a line."""
    match value:
        case zk.Stat():
            owner = f", ephemeral_owner={value.ephemeral_owner:#x}" if value.ephemeral else ""
            return f"Stat(version={value.version}{owner}, ...)"
        case zk.Znode(data, stat):
            return f"Znode(data={data!r}, stat={brief(stat)})"
        case zk.WatchEvent(kind, path):
            return f"WatchEvent({kind.name}, {path!r})"
        case zk.Created(path):
            return f"Created({path!r})"
        case zk.ZooKeeperError():
            return f"{type(value).__name__}: {value}"
        case zk.SessionState():
            return value.value
        case list():
            return f"[{', '.join(map(brief, value))}]"
        case _:
            return repr(value)


async def show(who: str, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a call, and show it and what came back."""
    given = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
    say(f"await {who}.{call.__name__}({given})")
    result = await call(*args, **kwargs)
    say(f"  -> {brief(result)}")
    return result


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise DemoError(f"{what}: this should be {brief(wanted)}, and is {brief(found)}")


# --- the steps


async def reading_and_writing(client: zk.Client) -> None:
    step(2, "Create, read and write a znode")
    await show("client", client.create, "/greeting", b"hello")
    data, stat = await show("client", client.get, "/greeting")
    expect("the data", data, b"hello")
    say("A write may ask for the version that was read, so that nobody's change is overwritten:")
    stat = await show("client", client.set, "/greeting", b"good morning", version=stat.version)
    expect("the new version", stat.version, 1)
    say("The same again asks for a version that the znode no longer has:")
    try:
        await show("client", client.set, "/greeting", b"good evening", version=0)
    except zk.BadVersionError as error:
        say(f"  -> {brief(error)}")
    else:
        raise DemoError("a set with an old version succeeded")


async def watching(client: zk.Client, hosts: str) -> None:
    step(3, "Watch a tree: every change, in its order")
    await client.create("/fruit")
    async with zk.open_client(hosts) as other, client.watch("/fruit", recursive=True) as changes:
        say("async with client.watch('/fruit', recursive=True) as changes: ...")
        say("Meanwhile another client is at work:")
        await show("other", other.create, "/fruit/apple", b"red")
        await show("other", other.set, "/fruit/apple", b"green")
        await show("other", other.create, "/fruit/pear")
        await show("other", other.delete, "/fruit/apple")
        say("What the stream delivers:")
        seen = []
        for _ in range(4):
            change = await anext(changes)
            say(f"  -> {brief(change)}")
            assert isinstance(change, zk.WatchEvent)
            seen.append((change.type.name, change.path))
    wanted = [
        ("CREATED", "/fruit/apple"),
        ("DATA_CHANGED", "/fruit/apple"),
        ("CREATED", "/fruit/pear"),
        ("DELETED", "/fruit/apple"),
    ]
    expect("the changes", seen, wanted)


async def transactions(client: zk.Client) -> None:
    step(4, "All or nothing")
    await client.create("/accounts")
    say("await client.transaction().create('/accounts/ann', b'10').create('/accounts/bob', b'0').commit()")
    results = await client.transaction().create("/accounts/ann", b"10").create("/accounts/bob", b"0").commit()
    say(f"  -> {brief(results)}")
    say("And one whose last operation cannot work:")
    say("await client.transaction().set('/accounts/ann', b'0').set('/accounts/carl', b'10').commit()")
    try:
        await client.transaction().set("/accounts/ann", b"0").set("/accounts/carl", b"10").commit()
    except zk.TransactionError as error:
        say(f"  -> {brief(error)}")
        expect("the operation that failed", error.index, 1)
    else:
        raise DemoError("a transaction with a znode that does not exist succeeded")
    say("So the first one was not applied either:")
    data, _ = await show("client", client.get, "/accounts/ann")
    expect("the data", data, b"10")


async def ephemerals(client: zk.Client, hosts: str) -> None:
    step(5, "An ephemeral znode goes away with its session")
    async with zk.open_client(hosts) as other:
        await show("other", other.create, "/worker", b"at work", ephemeral=True)
        stat = await show("client", client.exists, "/worker")
        expect("the owner", stat and stat.ephemeral_owner, other.session_id)
        say("Now the other client leaves its scope, which closes its session:")
    await show("client", client.wait_until_gone, "/worker")
    expect("what is left", await show("client", client.exists, "/worker"), None)


async def surviving(client: zk.Client, server: InMemoryServer) -> None:
    step(6, "The server crashes, and comes back; the session survives")
    session_id = client.session_id
    await show("client", client.create, "/lamp", b"lit", ephemeral=True)
    async with client.watch("/greeting") as changes, client.states() as states, trio.open_nursery() as nursery:
        say("async with client.watch('/greeting') as changes, client.states() as states: ...")
        await reach(states, zk.SessionState.CONNECTED)
        say("The server crashes: its connections are cut, and new ones refused.")
        server.stop()
        await reach(states, zk.SessionState.SUSPENDED)
        say("A call that is made now waits for a connection; then it is sent:")
        say("nursery.start_soon(client.set, '/greeting', b'still here')")
        nursery.start_soon(client.set, "/greeting", b"still here")
        say("The server is started again, with the same data.")
        server.start()
        await reach(states, zk.SessionState.CONNECTED)
        say("It is the same session, so its ephemeral is still there:")
        stat = await show("client", client.exists, "/lamp")
        expect("the session", client.session_id, session_id)
        expect("the owner", stat and stat.ephemeral_owner, session_id)
        say("The watch says first that it may have missed something, and goes on:")
        expect("the first change", await following(changes), zk.Gap("reconnected"))
        change = await following(changes)
        expect("the next change", isinstance(change, zk.WatchEvent) and change.type, zk.EventType.DATA_CHANGED)


async def following(changes: zk.ChangeStream[zk.Change]) -> zk.Change:
    say("await anext(changes)")
    change = await anext(changes)
    say(f"  -> {brief(change)}")
    return change


async def reach(states: zk.StateStream, wanted: zk.SessionState) -> None:
    """Show states of the session until it is the one wanted."""
    async for state in states:
        say(f"  -> {state}")
        if state is wanted:
            return


async def the_end(keeper: zk.Client, path: str, client: zk.Client) -> None:
    step(7, "The end of the scope is the end of the session")
    say(repr(client))
    expect("the client's state", client.state, zk.SessionState.CLOSED)
    try:
        await show("client", client.get, "/greeting")
    except zk.ClosedError as error:
        say(f"  -> {brief(error)}")
    else:
        raise DemoError("a closed client can still be used")
    left = [where async for where, stat in keeper.walk(path) if stat.ephemeral]
    expect("ephemerals of sessions that were closed", left, [])
    say("No ephemeral is left of any session.")


# --- the whole


@asynccontextmanager
async def playground(hosts: str) -> AsyncIterator[tuple[zk.Client, str]]:
    """A path of our own, removed in the end, and a client that sees the whole tree."""
    path = f"/zk-sansio-demo-{uuid4().hex[:8]}"
    async with zk.open_client(hosts) as keeper:
        await keeper.create(path)
        try:
            yield keeper, path
        finally:
            with trio.move_on_after(10, shield=True):
                await keeper.delete(path, recursive=True)


async def demo(given: str, server: InMemoryServer | None) -> None:
    with trio.fail_after(LIMIT):
        async with playground(given) as (keeper, path):
            hosts = given.rstrip("/") + path
            step(1, "Open a session")
            say(f"async with zk.open_client({hosts!r}) as client: ...")
            async with zk.open_client(hosts) as client:
                say(f"  -> {client!r}")
                say(f"Every path is below {path}. The session timeout is {client.session_timeout:.3g} s.")
                await reading_and_writing(client)
                await watching(client, hosts)
                await transactions(client)
                await ephemerals(client, hosts)
                if server is not None:
                    await surviving(client, server)
                else:
                    step(6, "Left out: a crash of the server")
                    say("The servers in ZK_HOSTS are not the demo's to stop. Without ZK_HOSTS it has its own.")
            await the_end(keeper, path, client)
    print(f"\nThe path {path} is removed.")


def main() -> int:
    """Run the demo; return the exit code."""
    began = time.monotonic()
    problem, code = None, 1
    try:
        if hosts := os.environ.get("ZK_HOSTS"):
            print(f"Using the servers in ZK_HOSTS: {hosts}")
            trio.run(demo, hosts, None)
        else:
            with open_server() as server:
                print(f"Using a ZooKeeper of its own, in memory, at {server.hosts}, as ZK_HOSTS is not set.")
                trio.run(demo, server.hosts, server)
            print("The server in memory is gone, and everything with it.")
    except* DemoError as group:
        problem = f"Not as it should be: {group.exceptions[0]}"
    except* zk.ZooKeeperError as group:
        problem = f"{type(group.exceptions[0]).__name__}: {group.exceptions[0]}"
    except* trio.TooSlowError:
        problem = f"The demo was not done within {LIMIT:.0f} s."
    except* KeyboardInterrupt:
        problem, code = "Interrupted.", 130
    if problem is not None:
        print(f"\n{problem}\n\nThe demo did not come to its end.", file=sys.stderr)
        return code
    print(f"\nEvery step did what it should. That took {time.monotonic() - began:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
