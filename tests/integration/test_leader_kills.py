"""The leader is killed ten times under load: nothing that was acknowledged is lost, and no session ends."""

from collections import Counter
from typing import Any

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import brief, next_change, until
from tests.support.ensemble import AnyEnsemble
from tests.support.servers import AnyServer
from tests.support.waiting import blocking

pytestmark = [pytest.mark.trio, pytest.mark.slow, pytest.mark.server("processes that are killed")]

KILLS = 10
WRITERS = 5
PACE = 0.005


class Load:
    """Writers and readers on two clients, and what they were told."""

    def __init__(self, writing: zk.Client, reading: zk.Client) -> None:
        self.writing = writing
        self.reading = reading
        self.acknowledged: set[str] = set()
        self.unknown: set[str] = set()
        self.refused: set[str] = set()
        self.counted: Counter[int] = Counter()
        self.reads = 0
        self.stop = False

    async def progress(self) -> None:
        """Wait until some more has been written and read."""
        written, read = len(self.acknowledged) + 20, self.reads + 5
        await until(lambda: len(self.acknowledged) >= written and self.reads >= read)

    async def write(self, number: int) -> None:
        """A unique sequence of znodes; a write whose reply was lost may have happened."""
        n = 0
        while not self.stop:
            n += 1
            name = f"{number}-{n}"
            try:
                await self.writing.create(f"/load/{name}", b"x" * 100)
            except zk.ConnectionLossError as error:
                (self.unknown if error.maybe_applied else self.refused).add(name)
            else:
                self.acknowledged.add(name)
            await trio.sleep(PACE)

    async def protect(self) -> None:
        """With a tag no create is left in doubt."""
        n = 0
        while not self.stop:
            n += 1
            await self.writing.create(f"/protected/{n}-", protected=True, sequential=True)
            self.counted[0] = n
            await trio.sleep(PACE)

    async def count(self, number: int) -> None:
        """A counter that nobody else writes, set at the version that was read: no value is lost."""
        path = f"/counters/{number}"
        while not self.stop:
            data, stat = await self.writing.get(path)
            value = int(data or b"")
            assert value >= self.counted[number]
            try:
                await self.writing.set(path, b"%d" % (value + 1), version=stat.version)
            except zk.ConnectionLossError:
                continue  # it is read again
            self.counted[number] = value + 1
            await trio.sleep(PACE)

    async def read(self, number: int) -> None:
        """Reads never fail, and what they show never goes back."""
        newest = 0
        path = f"/counters/{number}"
        while not self.stop:
            mzxid = (await self.reading.get(path)).stat.mzxid
            assert mzxid >= newest
            newest = mzxid
            assert await self.reading.exists(path) is not None
            assert await self.reading.get_children("/counters")
            await self.reading.sync()
            assert not await self.reading.get_ephemerals()
            self.reads += 1
            await trio.sleep(PACE)


async def kill_the_leader(ensemble: AnyEnsemble[Any]) -> AnyServer:
    """Kill it, wait for the next one, and bring it back."""
    leader = await blocking(ensemble.wait_for_leader)
    await blocking(leader.kill)
    following: AnyServer = await blocking(ensemble.wait_for_leader, other_than=leader)
    await blocking(leader.start)
    return following


async def test_leader_is_killed_ten_times(ensemble: AnyEnsemble[Any]) -> None:
    async with (
        zk.open_client(ensemble.hosts, session_timeout=20) as client,
        zk.open_client(ensemble.hosts, session_timeout=20) as reader,
    ):
        load = Load(client, reader)
        for path in ("/load", "/protected", "/watched"):
            await client.create(path)
        for number in range(1, 4):
            await client.create(f"/counters/{number}", b"0", make_parents=True)
        sessions = client.session_id, reader.session_id
        ephemerals = {await client.create(f"/watched/e{n}", ephemeral=True) for n in range(5)}
        await reader.sync()
        async with (
            reader.watch("/watched/node") as persistent,
            reader.watch("/watched", recursive=True) as recursive,
            reader.watch_data("/watched/e0") as data,
            reader.watch_children("/watched/e0") as untouched,
            reader.watch_exists("/watched/node") as missing,
        ):
            async with trio.open_nursery() as nursery:
                for number in range(WRITERS):
                    nursery.start_soon(load.write, number)
                nursery.start_soon(load.protect)
                for number in range(1, 4):
                    nursery.start_soon(load.count, number)
                    nursery.start_soon(load.read, number)
                for _ in range(KILLS):
                    written, read = len(load.acknowledged) + 20, load.reads + 5
                    await until(lambda w=written, r=read: len(load.acknowledged) >= w and load.reads >= r)  # type: ignore[misc]
                    leader = await kill_the_leader(ensemble)
                    with leader.raw() as witness:
                        for path in ephemerals:
                            stat = witness.exists(path)
                            assert stat is not None
                            assert stat.ephemeral_owner == sessions[0]
                load.stop = True
            assert (client.session_id, reader.session_id) == sessions
            await client.create("/watched/node")
            await client.set("/watched/e0", b"x")
            assert brief(await missing.fired()) == ("CREATED", "/watched/node")
            assert brief(await data.fired()) == ("DATA_CHANGED", "/watched/e0")
            for changes in (persistent, recursive):
                gaps = 0
                while (change := brief(await next_change(changes))) == ("GAP", "reconnected"):
                    gaps += 1
                assert gaps >= KILLS
                assert change == ("CREATED", "/watched/node")
            assert untouched.seen == []
            assert not load.refused  # what was not sent is made again
        for server in ensemble:
            async with zk.open_client(server.hosts) as member:
                await member.sync()
                there = set(await member.get_children("/load"))
                assert load.acknowledged <= there <= load.acknowledged | load.unknown
                assert len(await member.get_children("/protected")) == load.counted[0]
                for number in range(1, 4):
                    assert int((await member.get(f"/counters/{number}")).data or b"") >= load.counted[number]
        assert set(await client.get_ephemerals()) == ephemerals
