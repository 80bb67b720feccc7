"""Who lives in a world: those who come and go, and those who stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zk_sansio.errors import ConnectError, SessionExpiredError
from zk_sansio.session import SessionTicket

from .actors import NODES, User, settings
from .loop import Process
from .opening import Opened, open_client

if TYPE_CHECKING:
    from .world import World

__all__ = ["LONGEST", "reside", "visit"]

LONGEST = 2400.0
"""Seconds: the session timeout of those who stay for the whole run."""


async def visit(world: World, process: Process, session_timeout: float, duration: float) -> None:
    """Open a client, use it for a while, close it; perhaps resume its session."""
    random = world.random
    chosen = settings(random, session_timeout)
    keep = random.random() < 0.25
    ticket: SessionTicket | None = None
    for _ in range(3):
        made: list[str] = []
        try:
            async with open_client(world, process, **chosen, keep_session=keep, ticket=ticket) as opened:
                if ticket is not None:
                    _check_resumed(world, opened, ticket)
                await _use(world, opened, duration * random.random())
                ticket = opened.client.ticket if keep else None
        except SessionExpiredError:
            ended = ticket is None or ticket.session_id not in world.cluster.ensemble.sessions
            if not ended and ticket is not None and world.resumes and "expire_locally" not in chosen:
                world.fail("resume", f"{process.name} was told that session {ticket.session_id:#x} is over")
            ticket = None
        except ConnectError as error:
            world.trace(process.name, "was told", error)
            ticket = None
        if ticket is None and random.random() < 0.5:
            return
        del made
        await process.sleep(random.random() * 2)
        if world.resting:
            return


def _check_resumed(world: World, opened: Opened, ticket: SessionTicket) -> None:
    world.checked["resume"] += 1
    if opened.client.session_id != ticket.session_id:
        world.fail("resume", f"{opened.name} resumed {ticket.session_id:#x} and got {opened.client.session_id:#x}")


async def _use(world: World, opened: Opened, seconds: float) -> None:
    user = User(world, opened)
    random = world.random
    process = opened.process
    name = opened.name
    for number in range(random.randint(1, 3)):
        world.start(process, f"{name}.busy{number}", user.busy(random.choice((0.1, 1.0, 5.0))))
    if world.fashion == "locks":
        world.start(process, f"{name}.contends", user.contend())
    elif world.fashion == "watches":
        world.start(process, f"{name}.watches", user.watch_all_the_time())
    elif world.fashion == "leftovers":
        world.start(process, f"{name}.leaves", user.leave_things_behind())
    _listen(world, user, resident=False)
    waited = 0.0
    while waited < seconds and not world.resting and opened.engine.error is None:
        await process.sleep(1.0)
        waited += 1.0


def _listen(world: World, user: User, *, resident: bool) -> None:
    """Start listeners. Each hears of the end of its client; nobody else ends it."""
    random = world.random
    process, name = user.me.process, user.me.name
    for number in range(random.randint(0, 3) + resident):
        recursive = random.random() < 0.6
        path = random.choice(("/sim/n", "/sim/n", "/sim/t", "/sim/q", NODES[0]))
        seconds = None if resident or random.random() < 0.5 else random.random() * 60
        if random.random() < 0.5:
            body = user.mirror(path, recursive=recursive, seconds=seconds)
        else:
            buffer = random.choice((2, 10, 10_000))
            body = user.follow(path, recursive=recursive, seconds=seconds, buffer=buffer)
        world.start(process, f"{name}.listens{number}", body)
    if random.random() < 0.3:
        world.start(process, f"{name}.states", user.states())


async def reside(world: World, process: Process) -> None:
    """Stay for the whole run, with a long session, and do something now and then."""
    random = world.random
    chosen = settings(random, LONGEST * random.choice((0.25, 0.5, 1.0)))
    chosen |= {"open_timeout": None, "on_expiry": "renew"}
    async with open_client(world, process, **chosen) as opened:
        user = User(world, opened)
        _listen(world, user, resident=True)
        while not world.ending:
            leaving = world.bursting and world.fashion == "leftovers"
            pause = 0.5 if leaving else 3.0 if world.bursting else 900.0
            await process.sleep(pause * random.random() * 2)
            if not world.resting:
                await (user.leave_something_behind() if leaving else user.once())
