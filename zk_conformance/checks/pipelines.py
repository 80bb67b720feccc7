"""Pipelines: many requests together, each with its own outcome, in their order."""

from __future__ import annotations

import zk_sansio as zk

from .._port import Harness, World
from .._run import check
from .._tools import raises


@check
async def check_pipeline(harness: Harness, world: World) -> None:
    """Requests of every kind are carried out in their order."""
    root = world.root
    async with harness.open_client(world.hosts) as client:
        pipeline = client.pipeline()
        created = pipeline.create(f"{root}/a", b"1")
        missing = pipeline.get(f"{root}/b")
        numbered = pipeline.create(f"{root}/n", ephemeral=True, sequential=True)
        changed = pipeline.set(f"{root}/a", b"2", version=0)
        read = pipeline.get(f"{root}/a")
        names = pipeline.get_children(root)
        found = pipeline.exists(f"{root}/a")
        pipeline.sync()
        gone = pipeline.delete(f"{root}/a", version=1)
        children = pipeline.get_children_with_stat(root)
        assert len(pipeline) == 10
        assert not any(pending.done for pending in (created, missing, read))
        with raises(zk.LocalProtocolError):
            assert created.value
        outcomes = await pipeline.run()
        assert len(outcomes) == 10
        assert created.done
        assert created.value.path == f"{root}/a"
        assert isinstance(missing.error, zk.NoNodeError)
        assert outcomes[1] is missing.error
        with raises(zk.NoNodeError) as caught:
            assert missing.value
        assert caught.value.path == f"{root}/b"
        assert numbered.value.path == f"{root}/n0000000001"
        assert (changed.value.version, read.value.data, found.value) == (1, b"2", changed.value)
        assert sorted(names.value) == ["a", "n0000000001"]
        assert gone.error is None
        assert children.value.names == ["n0000000001"]
        # It is empty again, and may be used for more.
        assert len(pipeline) == 0
        assert await pipeline.run() == []
        again = pipeline.exists(root)
        await pipeline.run()
        assert again.value == world.exists(root)


@check
async def check_pipeline_in_parts(harness: Harness, world: World) -> None:
    """More than may be in flight, or queued, goes out in parts; the order stays."""
    async with harness.open_client(world.hosts, max_in_flight=20, high_water=4_000, low_water=1_000) as client:
        pipeline = client.pipeline()
        for n in range(200):
            pipeline.create(f"{world.root}/n", bytes(n), sequential=True)
        outcomes = await pipeline.run()
        assert [made.path for made in outcomes] == [f"{world.root}/n{n:010}" for n in range(200)]
        found = await client.get_many(made.path for made in outcomes)
        assert [each.stat.data_length for each in found if isinstance(each, zk.Znode)] == list(range(200))


@check
async def check_pipeline_refused(harness: Harness, world: World) -> None:
    """An argument that no server accepts is raised; the client works on."""
    async with harness.open_client(world.hosts, max_request=1_000) as client:
        pipeline = client.pipeline()
        pipeline.create(f"{world.root}/a", bytes(2_000))
        with raises(zk.RequestTooLargeError) as caught:
            await pipeline.run()
        assert caught.value.path == f"{world.root}/a"
        assert await client.exists(f"{world.root}/a") is None
