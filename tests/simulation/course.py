"""The course of things: bursts of activity and faults, and long quiet stretches between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from traceback import format_exception

from zk_sansio.session import SessionState

from .inspection import inspect, tidy
from .people import LONGEST, reside, visit
from .violations import Violation
from .world import FASHIONS, World

__all__ = ["Outcome", "play", "run"]


@dataclass
class Outcome:
    """What became of one run.

    Attributes:
        seed: of the run.
        again: the command that repeats it.
        violation: what was found; None if nothing.
        hours: simulated.
        faults: by kind.
        writes: how many writes were asked for.
        events: how many steps of the event queue there were.
        checked: how often each checker had something to look at, by name.
        lines: the trace.
    """

    seed: int
    again: str
    violation: Violation | None
    hours: float
    faults: Counter[str]
    writes: int
    events: int
    checked: Counter[str]
    lines: list[str] = field(repr=False)


def play(world: World, days: int = 3) -> None:
    """Run: bursts of activity and faults, long quiet stretches between them.

    Raises:
        Violation: a promise was broken.
    """
    random = world.random
    residents = [world.process("r") for _ in range(random.randint(1, 2))]
    for process in residents:
        world.start(process, f"{process.name}-life", reside(world, process))
    for _ in range(days):
        _burst(world)
        _rest(world)
        _idle(world)
    world.ending = True
    _rest(world)
    _until(world, lambda: not world.clients, 4 * LONGEST, "the residents do not go")
    world.loop.run(world.loop.now + LONGEST * 1.3)
    inspect(world)
    if world.cluster.ensemble.sessions:
        world.fail("leak", f"sessions are left: {list(world.cluster.ensemble.sessions)}")
    world.check()


def _burst(world: World) -> None:
    random = world.random
    world.bursting, world.resting = True, False
    low = 2 * world.cluster.ensemble.options.tick
    world.scale = low * 10 ** random.random()
    duration = world.scale * random.choice((2, 4, 8))
    world.nemesis.rage(random.choice((0.5, 2.0, 5.0)) * world.scale / 10)
    world.fashion = world.always or random.choice(("anything", *FASHIONS))
    for _ in range(random.randint(1, 4)):
        process = world.process("c")
        timeout = min(max(world.scale * random.uniform(0.5, 1.5), low), 20 * low)
        life = world.start(process, f"{process.name}-life", visit(world, process, timeout, duration))
        world.lives.append(life)
    world.loop.run(world.loop.now + duration)
    world.bursting = False


def _rest(world: World) -> None:
    """Let everything come to an end, and look at what is left."""
    world.resting = True
    world.nemesis.heal()
    # Who is paused cannot be woken: what it has missed is on its way.
    world.loop.run(max([process.paused_until for process in world.processes if not process.dead], default=0.0))
    _until(world, lambda: not world.lives, 4 * LONGEST, "somebody does not come to an end")
    _until(world, lambda: _connected(world), 4 * LONGEST, "somebody does not get connected")
    # The sessions of those who did not close them run out.
    # Whoever does not know yet that its connection is gone finds out by its next ping.
    world.loop.run(world.loop.now + max(30 * world.scale + 100, LONGEST * 0.4))
    _until(world, lambda: _connected(world), 4 * LONGEST, "somebody does not stay connected")
    world.loop.run(world.loop.now + 60)
    inspect(world)
    world.check()
    tidy(world)


def _idle(world: World) -> None:
    """Hours in which little happens."""
    random = world.random
    world.resting = False
    world.scale = LONGEST
    hours = random.uniform(2, 12)
    world.nemesis.rage(3600 * random.choice((0.5, 2.0)))
    world.loop.run(world.loop.now + hours * 3600)


def _connected(world: World) -> bool:
    return all(each.engine.session.state is SessionState.CONNECTED for each in world.clients)


def _until(world: World, done: Callable[[], bool], seconds: float, what: str) -> None:
    end = world.loop.now + seconds
    while not done():
        if world.loop.now >= end:
            tasks = [
                f"{task.name}: {task.where()}"
                for process in world.processes
                for task in process.tasks
                if not process.dead
            ]
            states = {each.name: each.engine.session.state.value for each in world.clients}
            world.fail("liveness", f"{what}: {tasks}, {states}")
            world.check()
        world.loop.run(min(world.loop.now + 5.0, end))


def run(seed: int, *, days: int = 3, whole: bool = False, fashion: str | None = None) -> Outcome:
    """Play one world to its end, or until a promise is broken."""
    world = World(seed, whole=whole, fashion=fashion)
    violation: Violation | None = None
    try:
        play(world, days)
    except Violation as found:
        violation = found
    except Exception as error:
        violation = Violation("crash", f"{type(error).__name__}: {error}")
        for line in "".join(format_exception(error)).splitlines():
            world.trace("crash", line)
    lines = world.trace.lines() if violation or whole else []
    hours = world.loop.now / 3600
    try:
        world.end()
    except Exception as error:
        violation = violation or Violation("crash", f"{type(error).__name__}: {error}")
    again = f"scripts/simulate --seed {seed} --days {days}" + (f" --fashion {fashion}" if fashion else "")
    return Outcome(
        seed, again, violation, hours, world.nemesis.counts, world.ledger.asked, world.loop.events, world.checked, lines
    )
