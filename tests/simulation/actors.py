"""Users: coroutines that call the client at random, note what they were told, and hold it against the truth."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, Any

from zk_sansio.client import RetryPolicy
from zk_sansio.errors import (
    LeaseLostError,
    NoNodeError,
    ProtocolError,
    ZooKeeperError,
)
from zk_sansio.recipes import Lock
from zk_sansio.session import SessionState
from zk_sansio.wire import Created, Stat, Znode

from .image import Image
from .ledger import Op
from .loop import Scope
from .opening import Opened
from .witness import shows

if TYPE_CHECKING:
    from .world import World

__all__ = ["User", "settings"]

NODES = [f"/sim/n/{letter}" for letter in "abcdef"]
LOCKS = ["1", "2"]


def settings(random: Random, timeout: float) -> dict[str, Any]:
    """What somebody may choose for a client."""
    chosen: dict[str, Any] = {
        "session_timeout": timeout,
        "open_timeout": random.choice((5.0, 30.0, None)),
        "close_grace": random.choice((0.0, 3.0)),
    }
    if random.random() < 0.3:
        chosen["retry"] = RetryPolicy(max_attempts=random.choice((1, 2, 5)))
    if random.random() < 0.2:
        chosen["while_suspended"] = "fail"
    if random.random() < 0.2:
        chosen["on_expiry"] = "raise"
    if random.random() < 0.1:
        chosen["expire_locally"] = True
    if random.random() < 0.2:
        chosen["read_only"] = True
    if random.random() < 0.2:
        chosen["auth"] = [("digest", "user:password")]
    if random.random() < 0.2:
        chosen |= {"max_in_flight": random.randint(1, 5)}
    if random.random() < 0.1:
        chosen |= {"high_water": 300, "low_water": 100}
    return chosen


class User:
    """Somebody who uses one client.

    Args:
        world: the world.
        me: the client.
    """

    def __init__(self, world: World, me: Opened) -> None:
        self.world = world
        self.me = me
        self.client = me.client
        self.random = world.random
        self.ledger = world.ledger
        self.history = world.history

    # --- doing something again and again

    async def busy(self, pause: float) -> None:
        """Do one thing after the other, until it is time to rest, or the client is at its end."""
        process = self.me.process
        while not self.world.resting and self.me.engine.error is None:
            await self.once()
            await process.sleep(pause * self.random.random() ** 2 * 2)

    async def once(self) -> None:
        """Do one thing, perhaps not to its end."""
        what = self.random.choices(_DEEDS, _WEIGHTS)[0]
        await self.attempt(lambda: what(self))

    async def attempt(self, deed: Callable[[], Awaitable[None]]) -> None:
        """Do it, cancelled at some wait or after some time, or not at all."""
        random = self.random
        steps = random.randint(1, 8) if random.random() < 0.12 else 0
        seconds = random.random() * 5 if random.random() < 0.12 else None
        try:
            with Scope(self.me.process, seconds, steps=steps):
                await deed()
        except ProtocolError as error:
            self.world.fail("crash", f"{self.me.name} was told {error!r}")
        except ZooKeeperError as error:
            self.world.trace(self.me.name, "was told", error)

    # --- writing

    async def _write(self, op: Op, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            result = await call()
        except BaseException as error:
            self.ledger.failed(op, error)
            raise
        return result

    def _full(self, path: str) -> str:
        return self.client.full_path(path)

    async def create(self) -> None:
        path = self.random.choice(NODES)
        op = self.ledger.begin(self.me.name, "create", path)
        with_stat = self.random.random() < 0.5
        if with_stat:
            made, stat = await self._write(op, lambda: self.client.create_with_stat(path, op.data))
            self.ledger.ok(op, path=made)
            if stat.czxid < op.applied[0][0]:
                self.world.fail("acknowledged", f"the {op} has a Stat that is older: {stat}")
        else:
            self.ledger.ok(op, path=await self._write(op, lambda: self.client.create(path, op.data)))

    async def create_below(self) -> None:
        """All modes, with names of their own."""
        random = self.random
        mode = random.choice(
            ("ephemeral", "sequential", "both", "protected", "both protected", "container", "ttl", "deep")
        )
        path = f"/sim/q/{random.choice('xyz')}"
        chosen: dict[str, Any] = {}
        op = self.ledger.begin(self.me.name, f"create ({mode})", path)
        if "both" in mode or mode == "ephemeral":
            chosen["ephemeral"] = True
        if "both" in mode or mode in ("sequential", "protected"):
            chosen["sequential"] = True
        if "protected" in mode:
            chosen["protected"] = True
        if mode == "container":
            chosen["container"] = True
        if mode == "ttl":
            chosen["ttl"] = random.choice((1.0, 100.0, 10_000.0))
        if mode == "deep":
            path = f"/sim/t/{random.choice('uvw')}/{random.choice('uvw')}"
            chosen["make_parents"] = True
        if not chosen.get("sequential") and mode != "deep":
            path = f"/sim/q/{mode[0]}-{op.data.decode().replace(':', '-')}"
        if mode == "both":
            op.lossy = True  # nobody knows its number
        op.path = path
        made = await self._write(op, lambda: self.client.create(path, op.data, **chosen))
        self.ledger.ok(op, path=made)
        if chosen.get("ephemeral") and random.random() < 0.6:
            op.status = "unknown"
            await self.client.delete(made)

    async def race(self) -> None:
        """Several may be after the same ephemeral."""
        op = self.ledger.begin(self.me.name, "create (race)", "/sim/q/leader")
        op.lossy = True
        self.ledger.ok(op, path=await self._write(op, lambda: self.client.create(op.path, op.data, ephemeral=True)))
        await self.me.process.sleep(self.random.random() * 3)
        await self.client.delete(op.path)

    async def set(self) -> None:
        path = self.random.choice(NODES)
        version = -1
        if self.random.random() < 0.5:
            version = (await self.client.get(path)).stat.version
        op = self.ledger.begin(self.me.name, f"set (version {version})", path)
        stat: Stat = await self._write(op, lambda: self.client.set(path, op.data, version=version))
        self.ledger.ok(op, zxid=stat.mzxid, path=path)
        if version != -1 and stat.version != version + 1:
            self.world.fail("acknowledged", f"the {op} made version {stat.version}")

    async def delete(self) -> None:
        path = self.random.choice(NODES)
        version = -1
        if self.random.random() < 0.5:
            version = (await self.client.get(path)).stat.version
        began = self.history.zxid
        try:
            await self.client.delete(path, version=version)
        except ZooKeeperError as error:
            if error.maybe_applied:
                self.ledger.delete_unknown(path)
            raise
        except BaseException:
            self.ledger.delete_unknown(path)
            raise
        self.ledger.deleted(self.me.name, self.me.witness.sessions, path, began)

    async def delete_tree(self) -> None:
        await self.client.delete(f"/sim/t/{self.random.choice('uvw')}", recursive=True)

    async def transact(self) -> None:
        random = self.random
        ops: list[Op] = []
        transaction = self.client.transaction()
        for _ in range(random.randint(1, 4)):
            kind = random.choice(("set", "create", "sequential", "check", "ephemeral"))
            path = random.choice(NODES)
            op = self.ledger.begin(self.me.name, f"{kind} in a transaction", path)
            match kind:
                case "set":
                    transaction.set(path, op.data)
                case "create":
                    transaction.create(path, op.data)
                case "sequential":
                    transaction.create("/sim/q/m-", op.data, sequential=True)
                case "ephemeral":
                    op.path = f"/sim/q/m-{op.data.decode().replace(':', '-')}"
                    transaction.create(op.path, op.data, ephemeral=True)
                case _:
                    transaction.check(path)
                    self.ledger.drop(op)
                    continue
            ops.append(op)
        try:
            results = [each for each in await transaction.commit() if each is not None]
        except BaseException as error:
            for op in ops:
                self.ledger.failed(op, error)
            raise
        for op, result in zip(ops, results, strict=True):
            if isinstance(result, Stat):
                self.ledger.ok(op, zxid=result.mzxid)
            else:
                self.ledger.ok(op, path=result.path)
        if len({op.applied[0][0] for op in ops if op.applied}) > 1:
            self.world.fail("acknowledged", f"a transaction is in the log in pieces: {[op.applied for op in ops]}")

    async def pipeline(self) -> None:
        random = self.random
        pipeline = self.client.pipeline()
        ops: list[Op | None] = []
        for _ in range(random.randint(1, 12)):
            path = random.choice(NODES)
            kind = random.choice(("get", "set", "create", "exists", "children"))
            op = None
            match kind:
                case "get":
                    pipeline.get(path)
                case "exists":
                    pipeline.exists(path)
                case "children":
                    pipeline.get_children("/sim/n")
                case "set":
                    op = self.ledger.begin(self.me.name, "set in a pipeline", path)
                    pipeline.set(path, op.data)
                case _:
                    op = self.ledger.begin(self.me.name, "create in a pipeline", "/sim/q/p-")
                    op.lossy = True
                    pipeline.create("/sim/q/p-", op.data, sequential=True, ephemeral=True)
            ops.append(op)
        try:
            results = await pipeline.run()
        except BaseException as error:
            for op in ops:
                if op is not None:
                    self.ledger.failed(op, error)
            raise
        for op, result in zip(ops, results, strict=True):
            if op is None:
                continue
            if isinstance(result, BaseException):
                self.ledger.failed(op, result)
            elif isinstance(result, Stat):
                self.ledger.ok(op, zxid=result.mzxid)
            elif isinstance(result, Created):
                self.ledger.ok(op, path=result.path)

    # --- reading

    def _floor(self) -> Callable[[], int]:
        """What this session has seen by now; 0 if it is another one afterwards."""
        session, floor = self.me.engine.session, self.me.witness.seen
        return lambda: floor if self.me.engine.session is session else 0

    def _check_read(self, path: str, result: Any, floor: int, check: str = "session order") -> None:
        for state in self.history.between(path, floor, self.history.zxid):
            if (result is None) if state is None else (result is not None and shows(result, state)):
                return
        self.world.fail(check, f"{self.me.name} has seen zxid {floor}, and then reads {path} as {result}")

    async def read(self) -> None:
        random = self.random
        path = random.choice(NODES)
        floor = self._floor()
        match random.choice(("get", "exists", "children")):
            case "get":
                try:
                    result: Any = await self.client.get(path)
                except NoNodeError:
                    result = None
                self._check_read(path, result, floor())
            case "exists":
                self._check_read(path, await self.client.exists(path), floor())
            case _:
                self._check_read("/sim/n", await self.client.get_children("/sim/n"), floor())

    async def read_many(self) -> None:
        """Several reads of one state."""
        paths = self.random.sample(NODES, 3)
        batch = self.client.multi_read()
        for path in paths:
            batch.get(path)
        floor = self._floor()
        results = [each if isinstance(each, Znode) else None for each in await batch.run()]
        first = floor()
        zxids = [first, *(each.zxid for each in self.history.events[self.history.after(first) :])]
        for zxid in reversed(zxids):
            states = [self.history.at(path, zxid) for path in paths]
            if all(
                (r is None) if s is None else (r is not None and shows(r, s))
                for r, s in zip(results, states, strict=True)
            ):
                return
        self.world.fail("read", f"{self.me.name}: there was no state in which {paths} are {results}")

    async def sync(self) -> None:
        session = self.me.engine.session
        before = self.history.zxid
        await self.client.sync()
        path = self.random.choice(NODES)
        found = await self.client.exists(path)
        if self.me.engine.session is session and session.state is SessionState.CONNECTED:
            self._check_read(path, found, before, "sync")

    async def wait(self) -> None:
        """Wait until a znode is there, or until it is gone."""
        path = self.random.choice(NODES)
        floor = self._floor()
        with Scope(self.me.process, self.random.random() * 30):
            if self.random.random() < 0.5:
                stat = await self.client.wait_for(path)
                good = any(s is not None and s.czxid == stat.czxid for s in self._states(path, floor()))
            else:
                await self.client.wait_until_gone(path)
                good = any(state is None for state in self._states(path, floor()))
            if not good:
                self.world.fail("wait", f"{self.me.name} waited for {path}, and it never was so")

    def _states(self, path: str, floor: int) -> Any:
        return self.history.between(path, floor, self.history.zxid)

    async def watch_once(self) -> None:
        random = self.random
        path = random.choice(NODES)
        make = random.choice((self.client.watch_data, self.client.watch_children, self.client.watch_exists))
        async with make(path if make != self.client.watch_children else random.choice((path, "/sim/n"))) as watch:
            with Scope(self.me.process, random.random() * 40):
                await watch.fired()
            if random.random() < 0.3:
                await self.me.process.sleep(random.random())

    async def watch_several(self) -> None:
        """Several one-shot watches at once, which one transaction may fire."""
        paths = self.random.sample(NODES, 3)
        async with AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(self.client.watch_exists(path)) for path in paths]
            with Scope(self.me.process, self.random.random() * 30):
                for watch in watches:
                    await watch.fired()

    async def set_several(self) -> None:
        """One transaction that changes several znodes."""
        paths = self.random.sample(NODES, 3)
        transaction = self.client.transaction()
        ops = []
        for path in paths:
            op = self.ledger.begin(self.me.name, "set in a transaction", path)
            ops.append(op)
            if self.history.now(path) is None:
                transaction.create(path, op.data)
            else:
                transaction.set(path, op.data)
        try:
            await transaction.commit()
        except BaseException as error:
            for op in ops:
                self.ledger.failed(op, error)
            raise
        for op in ops:
            self.ledger.ok(op)

    async def authenticate(self) -> None:
        await self.client.add_auth("digest", f"somebody:{self.random.randint(1, 3)}")
        await self.client.whoami()

    async def change_servers(self) -> None:
        """Use another list of servers for a while."""
        hosts = self.world.hosts.split(",")
        try:
            self.client.set_hosts(self.random.sample(hosts, self.random.randint(1, len(hosts))))
            await self.me.process.sleep(self.random.random() * 3)
        finally:
            self.client.set_hosts(hosts)

    async def find_out(self) -> None:
        """Ask for what is asked for rarely."""
        match self.random.randint(1, 3):
            case 1:
                await self.client.get_ephemerals()
            case 2:
                await self.client.count_descendants("/sim")
            case _:
                await self.client.get_acl("/sim/n")

    # --- locks

    async def lock(self) -> None:
        random = self.random
        which = random.choice(LOCKS)
        path, target = f"/sim/l/{which}", f"/sim/d/{which}"
        node = self.ledger.begin(self.me.name, "lock", path)
        lock = self.client.lock(path, data=node.data)
        try:
            if random.random() < 0.3:
                async with lock.try_acquire() as got:
                    if got is not None:
                        await self._hold(lock, path, target)
            else:
                with Scope(self.me.process, random.random() * 60):
                    async with lock:
                        await self._hold(lock, path, target)
        finally:
            node.status = "left"

    async def watch_all_the_time(self) -> None:
        """Wait for what somebody changes in one transaction, or change it."""
        process = self.me.process
        while not self.world.resting and self.me.engine.error is None:
            await self.attempt(self.set_several if self.random.random() < 0.3 else self.watch_several)
            await process.sleep(self.random.random() * 0.1 * self.world.scale)

    async def leave_things_behind(self) -> None:
        """Do that again and again."""
        while not self.world.resting and self.me.engine.error is None:
            await self.leave_something_behind()
            await self.me.process.sleep(self.random.random() * 0.1 * self.world.scale)

    async def leave_something_behind(self) -> None:
        """Ask for an ephemeral, and go away before it is known what became of it."""
        random = self.random
        with Scope(self.me.process, random.random() * random.choice((0.1, 1.0, 10.0))):
            await self.attempt(random.choice((self.create_ephemeral, self.lock)))

    async def create_ephemeral(self) -> None:
        """One that nobody else is after, or one with a tag."""
        op = self.ledger.begin(self.me.name, "create (ephemeral)", "/sim/q/x")
        tagged = self.random.random() < 0.5
        if not tagged:
            op.path = f"/sim/q/x-{op.data.decode().replace(':', '-')}"
        chosen: dict[str, Any] = {"ephemeral": True, "sequential": tagged, "protected": tagged}
        made = await self._write(op, lambda: self.client.create(op.path, op.data, **chosen))
        self.ledger.ok(op, path=made)

    async def contend(self) -> None:
        """Want one lock again and again, and keep it for long without asking the server anything."""
        process = self.me.process
        while not self.world.resting and self.me.engine.error is None:
            await self.attempt(self._keep)
            await process.sleep(self.random.random())

    async def _keep(self) -> None:
        node = self.ledger.begin(self.me.name, "lock", "/sim/l/1")
        lock = self.client.lock("/sim/l/1", data=node.data)
        try:
            async with lock:
                self.world.acquired("/sim/l/1", self.me, lock)
                try:
                    await self.me.process.sleep(self.random.random() * 3 * self.world.scale)
                finally:
                    self.world.released("/sim/l/1", lock)
        finally:
            node.status = "left"

    async def _hold(self, lock: Lock, path: str, target: str) -> None:
        world, random = self.world, self.random
        world.acquired(path, self.me, lock)
        try:
            for _ in range(random.randint(0, 4)):
                op = self.ledger.begin(self.me.name, "guarded set", target)
                op.node = self._full(lock.node)
                guarded = lock.guarded().set(target, op.data)
                try:
                    (stat,) = await self._write(op, guarded.commit)
                except LeaseLostError:
                    raise
                except ZooKeeperError as error:
                    world.trace(self.me.name, "was told", error)
                else:
                    assert isinstance(stat, Stat)
                    self.ledger.ok(op, zxid=stat.mzxid)
                await self.me.process.sleep(random.random() ** 3 * 8)
        finally:
            world.released(path, lock)

    # --- streams

    async def follow(self, path: str, *, recursive: bool, seconds: float | None, buffer: int) -> None:
        """Take changes as they come, perhaps slowly."""
        slow = self.random.choice((0.0, 0.0, 0.5))
        with Scope(self.me.process, seconds):
            async with self.client.watch(path, recursive=recursive, buffer=buffer) as changes:
                async for _ in changes:
                    if slow:
                        await self.me.process.sleep(slow * self.random.random())

    async def mirror(self, path: str, *, recursive: bool, seconds: float | None) -> None:
        """Keep an image of the tree by what a stream with a snapshot tells."""
        image = Image(path, recursive=recursive)
        with Scope(self.me.process, seconds):
            async with self.client.watch(path, recursive=recursive, snapshot=True, buffer=50) as changes:
                self.world.images[image] = self.me
                try:
                    async for change in changes:
                        fault = image.take(change, self.history.zxid, self.client.last_zxid)
                        if fault:
                            self.world.fail("convergence", f"{self.me.name}: {fault}")
                finally:
                    del self.world.images[image]

    async def states(self) -> None:
        async with self.client.states() as states:
            async for state in states:
                self.world.trace(self.me.name, "is", state.value)


_DEEDS: list[Callable[[User], Awaitable[None]]] = [
    User.create,
    User.create_below,
    User.race,
    User.set,
    User.delete,
    User.delete_tree,
    User.transact,
    User.pipeline,
    User.read,
    User.read_many,
    User.sync,
    User.wait,
    User.watch_once,
    User.watch_several,
    User.set_several,
    User.authenticate,
    User.find_out,
    User.change_servers,
    User.lock,
]
_WEIGHTS = [10, 12, 3, 14, 9, 1, 6, 5, 10, 2, 4, 4, 8, 6, 8, 1, 1, 1, 8]
