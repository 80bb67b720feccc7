"""Lost requests and lost replies, at every request of every kind of write.

An independent client sees what became of it.

Whatever is lost, an effect happens at most once, success means that it happened, and an error that promises that
nothing was applied tells the truth.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import reach, until
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient, expire
from tests.support.servers import HOST, AnyServer

pytestmark = pytest.mark.trio

Operation = Callable[[zk.Client, str], Awaitable[Any]]
Effects = Callable[[RawClient, str], int]


class Kind(NamedTuple):
    """A kind of write.

    Attributes:
        run: makes it, at a path whose znode exists, at version 0 and without children.
        effects: how often it has had its effect.
        sure: whether it succeeds whatever reply is lost; else its outcome may be unknown.
        sure_unless_applied: whether it succeeds whatever request is lost on its way to the server.
    """

    run: Operation
    effects: Effects
    sure: bool = False
    sure_unless_applied: bool = False


def descendants(witness: RawClient, path: str) -> int:
    return sum(1 + descendants(witness, f"{path}/{name}") for name in witness.children(path))


def children(witness: RawClient, path: str) -> int:
    return len(witness.children(path))


def changes(witness: RawClient, path: str) -> int:
    stat = witness.exists(path)
    assert stat is not None
    return stat.version


def acl_changes(witness: RawClient, path: str) -> int:
    stat = witness.exists(path)
    assert stat is not None
    return stat.aversion


def gone(witness: RawClient, path: str) -> int:
    return witness.exists(path) is None


def whole_transactions(witness: RawClient, path: str) -> int:
    found = changes(witness, path), children(witness, path)
    assert found in ((0, 0), (1, 2))
    return found[0]


def no_effect(witness: RawClient, path: str) -> int:
    return 1


async def deep(client: zk.Client, path: str, **options: Any) -> None:
    await client.create(f"{path}/a/b/n", make_parents=True, **options)


async def tree(client: zk.Client, path: str) -> None:
    for name in ("a", "a/b", "a/c", "d"):
        await client.using(retry=zk.RetryPolicy(repeat_unknown=True)).ensure_path(f"{path}/{name}")
    await client.delete(path, recursive=True)


async def set_what_was_read(client: zk.Client, path: str) -> None:
    await client.set(path, b"new", version=(await client.get(path)).stat.version)


async def delete_what_was_read(client: zk.Client, path: str) -> None:
    await client.delete(path, version=(await client.get(path)).stat.version)


async def identified(client: zk.Client, path: str) -> None:
    await client.add_auth("digest", "bob:secret")
    assert zk.Id("digest", "bob") in await client.whoami()


async def read(client: zk.Client, path: str) -> None:
    assert (await client.get(path)).stat.version == 0
    assert await client.exists(path) is not None
    assert await client.get_children(path) == []
    assert (await client.get_children_with_stat(path)).names == []
    assert (await client.get_acl(path)).acl
    assert await client.count_descendants(path) == 0
    assert await client.get_ephemerals(path) == []
    assert await client.whoami()
    assert [found async for found, _ in client.walk(path)] == [path]
    (znode,) = await client.multi_read().get(path).run()
    assert isinstance(znode, zk.Znode)
    assert not await client.check_watches(path)
    await client.sync()
    await client.get_config()


async def watched(client: zk.Client, path: str) -> None:
    async with client.watch(path), client.watch_data(path), client.watch_children(path):
        async with client.watch_exists(f"{path}/none"), client.watch(path, recursive=True):
            pass


KINDS = {
    "create": Kind(lambda c, p: c.create(f"{p}/n"), children),
    "create with stat": Kind(lambda c, p: c.create_with_stat(f"{p}/n"), children),
    "container": Kind(lambda c, p: c.create(f"{p}/n", container=True), children),
    "TTL": Kind(lambda c, p: c.create(f"{p}/n", ttl=100), children),
    "sequential": Kind(lambda c, p: c.create(f"{p}/n", sequential=True), children),
    "ephemeral sequential": Kind(lambda c, p: c.create(f"{p}/n", sequential=True, ephemeral=True), children),
    "ephemeral": Kind(lambda c, p: c.create(f"{p}/n", ephemeral=True), children, True, True),
    "ephemeral with stat": Kind(lambda c, p: c.create_with_stat(f"{p}/n", ephemeral=True), children, True, True),
    "protected": Kind(lambda c, p: c.create(f"{p}/n", protected=True), children, True, True),
    "protected container": Kind(lambda c, p: c.create(f"{p}/n", protected=True, container=True), children, True, True),
    "protected sequential": Kind(
        lambda c, p: c.create_with_stat(f"{p}/n", protected=True, sequential=True), children, True, True
    ),
    "protected ephemeral sequential": Kind(
        lambda c, p: c.create(f"{p}/n", protected=True, sequential=True, ephemeral=True), children, True, True
    ),
    "missing parents": Kind(deep, lambda w, p: descendants(w, p) == 3),
    "missing parents, protected": Kind(
        lambda c, p: deep(c, p, protected=True), lambda w, p: max(0, descendants(w, p) - 2), True, True
    ),
    "ensured path": Kind(lambda c, p: c.ensure_path(f"{p}/a/b"), lambda w, p: descendants(w, p) == 2, True, True),
    "set": Kind(lambda c, p: c.set(p, b"new"), changes),
    "set at a version": Kind(set_what_was_read, changes, False, True),
    "set ACL": Kind(lambda c, p: c.set_acl(p, zk.OPEN), acl_changes),
    "delete": Kind(lambda c, p: c.delete(p), gone),
    "delete at a version": Kind(delete_what_was_read, gone, False, True),
    "recursive delete": Kind(tree, gone, True, True),
    "transaction": Kind(
        lambda c, p: c.transaction().create(f"{p}/a").create(f"{p}/b").set(p, b"").commit(), whole_transactions
    ),
    "credentials": Kind(identified, no_effect, True, True),
    "reads": Kind(read, no_effect, True, True),
    "watches": Kind(watched, no_effect, True, True),
}


async def attempt(client: zk.Client, kind: Kind, path: str) -> zk.ConnectionLossError | None:
    """Make a write; return the error that leaves its outcome open."""
    try:
        await kind.run(client, path)
    except zk.ConnectionLossError as error:
        return error
    return None


async def meanwhile(
    proxy: ChaosProxy, run: Callable[[], Awaitable[Any]], then: Callable[[], object] = lambda: None
) -> Any:
    """Run something that a trap interrupts; do *then* before its client can connect again."""
    result: list[Any] = []
    sprung = proxy.cuts

    async def keep() -> None:
        try:
            result.append(await run())
        except zk.ZooKeeperError as error:
            result.append(error)

    proxy.refuse()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        await until(lambda: proxy.cuts > sprung or result)
        then()
        proxy.listen_again()
    return result[0]


def check(kind: Kind, error: zk.ConnectionLossError | None, effects: int) -> None:
    if error is None:
        assert effects == 1
    else:
        assert effects in (0, 1)
        assert error.maybe_applied is True


async def requests_of(kind: Kind, server: AnyServer, path: str) -> int:
    """How many requests it takes when nothing is lost."""
    with ChaosProxy(server.port) as proxy:
        async with zk.open_client(proxy.hosts) as client:
            assert await attempt(client, kind, path) is None
            return proxy.requests


@pytest.mark.parametrize("lost", ["request", "reply"])
@pytest.mark.parametrize("name", KINDS)
async def test_lost_at_every_request(server: AnyServer, root: str, witness: RawClient, name: str, lost: str) -> None:
    kind = KINDS[name]
    needed = await requests_of(kind, server, witness.create(f"{root}/undisturbed"))
    assert needed >= 1

    async def lose(k: int) -> None:
        path = witness.create(f"{root}/{k}")
        with ChaosProxy(server.port) as proxy:
            async with zk.open_client(proxy.hosts) as client:
                (proxy.cut_before_reply if lost == "reply" else proxy.cut_before_request)(k)
                error = await attempt(client, kind, path)
                check(kind, error, kind.effects(witness, path))
                if kind.sure if lost == "reply" else kind.sure_unless_applied:
                    assert error is None
                assert await client.exists(root) is not None
                await until(lambda: proxy.cuts == 1)  # the removal of a watch is not waited for

    async with trio.open_nursery() as nursery:
        for k in range(1, needed + 1):
            nursery.start_soon(lose, k)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.sure])
async def test_losing_again_while_finding_out(server: AnyServer, root: str, witness: RawClient, name: str) -> None:
    """A reply is lost, and on the next connection another one. Only if it is of the same request, that is the end."""
    kind = KINDS[name]
    needed = min(4, await requests_of(kind, server, witness.create(f"{root}/undisturbed")))

    async def lose(k: int, j: int) -> None:
        path = witness.create(f"{root}/{k}-{j}")
        with ChaosProxy(server.port) as proxy:
            async with zk.open_client(proxy.hosts) as client:
                proxy.cut_before_reply(k)
                error = await meanwhile(proxy, lambda: attempt(client, kind, path), lambda: proxy.cut_before_reply(j))
                check(kind, error, kind.effects(witness, path))
                assert error is None or "twice" in error.__notes__[0]

    async with trio.open_nursery() as nursery:
        for k in range(1, needed + 1):
            for j in range(1, 5):
                nursery.start_soon(lose, k, j)


def nothing(witness: RawClient, path: str) -> None:
    pass


def set_other(witness: RawClient, path: str) -> None:
    witness.set(path, b"theirs")


def set_same(witness: RawClient, path: str) -> None:
    witness.set(path, b"ours")


def remove(witness: RawClient, path: str) -> None:
    witness.delete(path)


def replace(witness: RawClient, path: str) -> None:
    witness.delete(path)
    witness.create(path)


@pytest.mark.parametrize(
    "lost, rival, expected, version",
    [
        ("request", nothing, zk.Stat, 1),
        ("request", set_other, zk.BadVersionError, 1),
        ("request", set_same, zk.ConnectionLossError, 1),
        ("reply", nothing, zk.ConnectionLossError, 1),
        ("reply", set_other, zk.ConnectionLossError, 2),
        ("reply", replace, zk.ConnectionLossError, 0),
    ],
)
async def test_versioned_set_is_decided(
    proxy: ChaosProxy,
    root: str,
    witness: RawClient,
    lost: str,
    rival: Callable[[RawClient, str], None],
    expected: type[object],
    version: int,
) -> None:
    """It is found out what became of it, where a znode can tell; *version* is that of the znode in the end."""
    path = witness.create(f"{root}/a", b"old")
    async with zk.open_client(proxy.hosts) as client:
        await client.exists(path)
        (proxy.cut_before_reply if lost == "reply" else proxy.cut_before_request)(op=5)
        outcome = await meanwhile(proxy, lambda: client.set(path, b"ours", version=0), lambda: rival(witness, path))
        assert isinstance(outcome, expected)
        if isinstance(outcome, zk.ZooKeeperError):
            assert outcome.path == path
            assert outcome.maybe_applied is isinstance(outcome, zk.ConnectionLossError)
        assert changes(witness, path) == version


@pytest.mark.parametrize(
    "rival, expected, left",
    [(nothing, type(None), 0), (set_other, zk.BadVersionError, 1), (remove, zk.ConnectionLossError, 0)],
)
async def test_versioned_delete_is_decided(
    proxy: ChaosProxy,
    root: str,
    witness: RawClient,
    rival: Callable[[RawClient, str], None],
    expected: type[object],
    left: int,
) -> None:
    path = witness.create(f"{root}/a")
    async with zk.open_client(proxy.hosts) as client:
        await client.exists(path)
        proxy.cut_before_request(op=2)
        outcome = await meanwhile(proxy, lambda: client.delete(path, version=0), lambda: rival(witness, path))
        assert isinstance(outcome, expected)
        assert children(witness, root) == left


async def test_ephemeral_of_somebody_else_is_not_taken_for_ours(
    proxy: ChaosProxy, root: str, witness: RawClient
) -> None:
    async with zk.open_client(proxy.hosts) as client:
        proxy.cut_before_request(op=1)
        outcome = await meanwhile(
            proxy,
            lambda: client.create(f"{root}/e", ephemeral=True),
            lambda: witness.create(f"{root}/e", flags=1),
        )
        assert isinstance(outcome, zk.NodeExistsError)
        # One that was ours before the call is not what the call has made.
        await client.create(f"{root}/mine", ephemeral=True)
        proxy.cut_before_request(op=1)
        outcome = await meanwhile(proxy, lambda: client.create(f"{root}/mine", ephemeral=True))
        assert isinstance(outcome, zk.NodeExistsError)


@pytest.mark.parametrize("protected", [False, True])
async def test_session_expires_behind_a_lost_reply(
    proxy: ChaosProxy, server: AnyServer, root: str, witness: RawClient, protected: bool
) -> None:
    """The ephemeral that was made is gone with its session, and the caller is told so."""
    async with zk.open_client(proxy.hosts) as client:
        ticket = client.ticket
        assert ticket is not None
        proxy.cut_before_reply(op=1)
        error = await meanwhile(
            proxy,
            lambda: client.create(f"{root}/e", ephemeral=True, protected=protected),
            lambda: expire(HOST, server.port, (ticket.session_id, ticket.password)),
        )
        assert isinstance(error, zk.SessionExpiredError)
        assert error.maybe_applied is True
        assert error.path == f"{root}/e"
        assert witness.children(root) == []
        path = await client.create(f"{root}/e", ephemeral=True, protected=protected)
        stat = witness.exists(path)
        assert stat is not None
        assert stat.ephemeral_owner == client.session_id != ticket.session_id


async def test_policy(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    async with zk.open_client(proxy.hosts) as client:
        once = client.using(retry=zk.RetryPolicy(max_attempts=1))
        proxy.cut_before_reply(op=4)
        with pytest.raises(zk.ConnectionLossError):
            await once.get(root)
        proxy.cut_before_reply(op=1)
        with pytest.raises(zk.ConnectionLossError) as caught:
            await once.create(f"{root}/a", ephemeral=True)
        assert caught.value.maybe_applied is True
        assert caught.value.path == f"{root}/a"
        assert caught.value.server == proxy.hosts
        always = client.using(retry=zk.RetryPolicy(repeat_unknown=True))
        proxy.cut_before_reply(op=5)
        assert (await always.set(root, b"x")).version == 2  # made twice, as was asked for
        proxy.cut_before_reply(op=1)
        with pytest.raises(zk.NodeExistsError):
            await always.create(f"{root}/b")
        assert "b" in witness.children(root)


async def test_request_that_closes_the_connection_twice_is_given_up(proxy: ChaosProxy, root: str) -> None:
    async with zk.open_client(proxy.hosts) as client:
        for _ in range(3):
            proxy.cut_before_reply(op=4)
        with pytest.raises(zk.ConnectionLossError) as caught:
            await client.get(root)
        assert "twice" in caught.value.__notes__[0]
        assert proxy.cuts == 2
        proxy.heal()
        await client.get(root)


async def test_pipeline(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    """What is behind the lost write is not made again; reads are."""
    async with zk.open_client(proxy.hosts) as client:
        proxy.cut_before_reply(3)
        pipeline = client.pipeline()
        for n in range(5):
            pipeline.create(f"{root}/{n}")
        early = pipeline.get_children(root)
        outcomes = await pipeline.run()
        first, second, *lost = outcomes[:5]
        assert (first.path, second.path) == (f"{root}/0", f"{root}/1")
        for error in lost:
            assert isinstance(error, zk.ConnectionLossError)
            assert error.maybe_applied is True
        assert witness.children(root) == ["0", "1", "2"]
        assert sorted(early.value) == ["0", "1", "2"]


async def test_everything_at_once(server: AnyServer, root: str, witness: RawClient) -> None:
    """Many calls of all kinds in flight, and the connection is cut again and again."""
    with ChaosProxy(server.port) as proxy:
        async with zk.open_client(proxy.hosts) as client:
            session = client.session_id
            for n in range(40):
                witness.create(f"{root}/{n}")
            errors: dict[int, zk.ConnectionLossError | None] = {}
            kinds = [kind for name, kind in KINDS.items() if name != "credentials"]

            async def work(n: int) -> None:
                errors[n] = await attempt(client, kinds[n % len(kinds)], f"{root}/{n}")

            def over(cuts: int) -> bool:
                return proxy.cuts > cuts or len(errors) == 40

            async def disturb() -> None:
                for n in range(5):
                    (proxy.cut_before_reply if n % 2 else proxy.cut_after_request)(reset=n % 3 == 0)
                    await until(partial(over, n))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(disturb)
                for n in range(40):
                    nursery.start_soon(work, n)
            proxy.heal()
            await reach(client, zk.SessionState.CONNECTED)
            await client.sync()
            for n, error in errors.items():
                check(kinds[n % len(kinds)], error, kinds[n % len(kinds)].effects(witness, f"{root}/{n}"))
            assert client.session_id == session
