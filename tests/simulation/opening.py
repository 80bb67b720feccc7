"""The way in: what an adapter's ``open_client`` does, over the simulated runtime and network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from zk_sansio.client import ClientSettings, Engine, prepare
from zk_sansio.recipes import Client

from .driver import SimDriver
from .loop import Process, Scope
from .runtime import SimRuntime
from .witness import Witness

if TYPE_CHECKING:
    from .world import World

__all__ = ["Opened", "open_client"]


class Opened:
    """A client that is open.

    Attributes:
        name: for messages; a process may open one client after the other.
        closing: whether its scope is being left.
    """

    def __init__(self, process: Process, client: Client, engine: Engine, driver: SimDriver, witness: Witness) -> None:
        self.name = witness.name
        self.process = process
        self.client = client
        self.engine = engine
        self.driver = driver
        self.witness = witness
        self.closing = False


@asynccontextmanager
async def open_client(world: World, process: Process, **settings: Any) -> AsyncIterator[Opened]:
    """Connect to the world's servers, for as long as the scope lasts."""
    chosen: ClientSettings = settings  # type: ignore[assignment]
    ticket = chosen.get("ticket")
    witness = Witness(
        process.next_name(), world.history, world.fail, world.trace, world.checked, ticket.last_zxid if ticket else 0
    )
    runtime = SimRuntime(process, witness)
    setup = prepare(world.hosts, runtime, world.random, chosen)
    engine = setup.engine
    client = Client(engine, setup.chroot, setup.retry, setup.while_suspended)
    body = Scope(process)

    def ended() -> None:
        if engine.ended_by is not None and not opened.closing:
            body.cancel()

    driver = SimDriver(
        process, engine, runtime, world.network, world.routes(process), world.names, world.trace, world.patience, ended
    )
    witness.engine, witness.driver = engine, driver
    opened = Opened(process, client, engine, driver, witness)
    world.opened(opened)
    driver.nudge()
    try:
        with body:
            try:
                await _wait_open(process, engine, setup.open_timeout)
                yield opened
            finally:
                opened.closing = True
                with Scope(process, setup.close_grace, shield=True):
                    await client.aclose(grace=setup.close_grace, keep_session=setup.keep_session)
                driver.end(keep_session=setup.keep_session)
    finally:
        world.closed(opened)
    if engine.ended_by is not None:
        raise engine.ended_by


async def _wait_open(process: Process, engine: Engine, seconds: float | None) -> None:
    with Scope(process, seconds) as scope:
        await engine.wait_until_serving()
    if scope.cancelled_caught and seconds is not None:
        raise engine.unreachable(seconds)
