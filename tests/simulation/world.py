"""One world: servers, clients and a network, from one seed, and what is known of it from outside."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from traceback import format_exception
from typing import Any

from zk_sansio.errors import ZooKeeperError
from zk_sansio.recipes import Lock
from zk_sansio.server import PROFILES, Ensemble, Entry, ServerOptions
from zk_sansio.session import SessionState
from zk_sansio.wire import Create

from .actors import NODES
from .cluster import Cluster
from .history import History
from .image import Image
from .inspection import nothing_left
from .ledger import Ledger
from .loop import Loop, Process, Task
from .nemesis import Nemesis
from .network import Network, Route, Weather
from .opening import Opened
from .people import LONGEST
from .trace import Trace
from .violations import Violation

__all__ = ["FASHIONS", "World"]

FASHIONS = ("anything", "locks", "watches", "leftovers")
"""What everybody may do more than anything else."""

ADDRESSES = [f"10.0.0.{number}" for number in range(1, 6)]


class _Held:
    def __init__(self, opened: Opened, lock: Lock) -> None:
        self.opened = opened
        self.lock = lock


class World:
    """Everything there is.

    Args:
        seed: where everything comes from.
        whole: whether the whole trace is kept.
        fashion: what everybody does more than anything else; None for what the seed says.

    Attributes:
        scale: about how long the sessions of the moment are.
        patience: the most seconds that clients let requests gather.
        always: the fashion that was asked for.
        bursting: whether much is going on.
        ending: whether everybody is to go.
        lives: those who come and go, and have not come to their end.
        resting: whether nobody is to begin anything.
        fashion: what everybody does more than anything else, one of `FASHIONS`.
        images: what listeners believe, and by whose client.
    """

    def __init__(self, seed: int, *, whole: bool = False, fashion: str | None = None) -> None:
        random = self.random = Random(seed)
        self.loop = Loop(random)
        self.trace = Trace(self.loop, whole=whole)
        size = random.choice((1, 3, 3, 5))
        profile = PROFILES[random.choice(("3.8", "3.9"))]
        if random.random() < 0.05:
            profile = replace(profile, resumes=False)  # as servers of others do
        self.resumes = profile.resumes
        self.drift = random.choice((0.0, 0.0, 0.01, 0.1))
        options = ServerOptions(
            profile=profile,
            tick=random.choice((1.0, 2.0)),
            max_session_timeout=LONGEST,
            read_only_mode=random.random() < 0.5,
            election_time=random.choice((0.0, 0.2, 2.0)),
        )
        ensemble = Ensemble(size, options, random=random, now=0.0)
        self.history = History(ensemble.servers[0].tree.nodes.items())
        self.checked: Counter[str] = Counter()
        self.ledger = Ledger(self.history, self.fail, self.checked)
        self.history.ended = self._ended
        self.cluster = Cluster(self.loop, self.trace, ensemble, self._rate(), self._committed)
        self.network = Network(self.loop, self.trace, Weather(random))
        self.nemesis = Nemesis(self)
        self.names: dict[str, list[str]] = {}
        self.hosts = ",".join(ADDRESSES[:size])
        if random.random() < 0.3:
            self.names = {f"zk{number}": [address] for number, address in enumerate(ADDRESSES[:size], 1)}
            self.hosts = ",".join(self.names)
        self.scale = 10.0
        self.patience = random.choice((0.0, 0.0, 0.001, 0.05))
        self.resting = False
        self.fashion = "anything"
        self.always = fashion
        self.bursting = False
        self.ending = False
        self.clients: list[Opened] = []
        self.images: dict[Image, Opened] = {}
        self.processes: list[Process] = []
        self._holders: dict[str, list[_Held]] = {}
        self.lives: list[Task] = []
        self._number = 0
        self._set_up()

    def _rate(self) -> float:
        return 1 + self.drift * (2 * self.random.random() - 1)

    def _set_up(self) -> None:
        for path in ("/sim", "/sim/n", "/sim/q", "/sim/t", "/sim/l", "/sim/d", "/sim/d/1", "/sim/d/2", *NODES[:3]):
            self.cluster.ensemble.execute(Create(path, b""), 0.0)
        self.cluster.settle()

    # --- what others tell

    def fail(self, check: str, message: str) -> None:
        """A promise was broken."""
        if self.loop.failure is None:
            self.trace("checker", check, message)
            self.loop.failure = Violation(check, message)

    def _committed(self, entry: Entry) -> None:
        self.trace("log", f"{entry.zxid}", entry.change, f"by {entry.session_id:#x}")
        self.history.commit(entry)

    def opened(self, opened: Opened) -> None:
        """A client is being opened."""
        self.clients.append(opened)

    def closed(self, opened: Opened) -> None:
        """Its scope is left: nothing of it may be left."""
        if opened in self.clients:
            self.clients.remove(opened)
        if not opened.process.dead:
            self.loop.at(self.loop.now + 60.0, self._look_back, opened)
            nothing_left(self, opened)

    def _look_back(self, opened: Opened) -> None:
        process = opened.process
        if process.dead:
            return
        if self.loop.now < process.paused_until + 60.0:
            self.loop.at(process.paused_until + 60.0, self._look_back, opened)
            return
        for task in process.tasks:
            if task.name.startswith(opened.name + "."):
                self.fail("outcome", f"{task.name} still waits, a minute after its client was closed: {task.where()}")

    def routes(self, process: Process) -> dict[str, Route]:
        """The way from a process to each server."""
        return {
            address: self.network.route(process, number, member)
            for number, (address, member) in enumerate(zip(ADDRESSES, self.cluster.members, strict=False))
        }

    def kill(self, opened: Opened, *, silent: bool) -> None:
        """A process dies, with all its clients."""
        process = opened.process
        process.kill()
        for each in list(self.clients):
            if each.process is process:
                each.driver.vanish(silent=silent)
                self.clients.remove(each)
        for image in [image for image, each in self.images.items() if each.process is process]:
            del self.images[image]
        for holders in self._holders.values():
            holders[:] = [held for held in holders if held.opened.process is not process]
        for task in list(process.tasks):
            if task in self.lives:
                self.lives.remove(task)
            task.drop()
        process.tasks.clear()

    # --- locks

    def acquired(self, path: str, opened: Opened, lock: Lock) -> None:
        """Somebody believes to hold a lock."""
        self.checked["exclusion"] += 1
        holders = self._holders.setdefault(path, [])
        for other in holders:
            self.checked["exclusion of another"] += 1
            if other.lock.lost or self.nemesis.excuses(other.opened) or self._rushed(other.opened):
                continue
            self.fail("exclusion", f"{opened.name} has the lock {path}, which {other.opened.name} has too")
        holders.append(_Held(opened, lock))

    @property
    def holders(self) -> list[Opened]:
        """The clients of those who believe to hold a lock, and whose processes run."""
        return [held.opened for holders in self._holders.values() for held in holders if not held.opened.process.paused]

    def _slack(self, opened: Opened) -> float:
        """By how much the servers' clock is ahead of a client's after one session timeout, and no more."""
        timeout = opened.engine.session.timeout
        return max(0.0, timeout / opened.process.rate - timeout / self.cluster.rate) + 0.01

    def _rushed(self, opened: Opened) -> bool:
        """Whether the servers may have ended a session before its client can know, as their clock is faster."""
        deadline = opened.engine.session.deadline
        if deadline is None:
            return False
        return 0 <= opened.process.true_time(deadline) - self.loop.now <= self._slack(opened)

    def released(self, path: str, lock: Lock) -> None:
        """Somebody does not believe it any more."""
        self._holders[path] = [held for held in self._holders.get(path, []) if held.lock is not lock]

    # --- sessions

    def _ended(self, zxid: int, session_id: int) -> None:
        """A session has ended on the servers: its client must have presumed so."""
        for opened in self.clients:
            session = opened.engine.session
            if session.session_id == session_id and not session.state.over and not opened.closing:
                # Clocks that do not agree excuse a client, by as much as they differ and no more.
                self.loop.at(self.loop.now + self._slack(opened), self._presumed, opened, session)

    def _presumed(self, opened: Opened, session: Any) -> None:
        process = opened.process
        if process.dead or opened.closing or opened.engine.session is not session:
            return
        if process.paused:
            self.loop.at(process.paused_until + 0.01, self._presumed, opened, session)
            return
        self.checked["presumed lost"] += 1
        # Who was never connected believes nothing: so a ticket's session that ends before it was resumed.
        believes = session.state in (SessionState.CONNECTED, SessionState.READ_ONLY, SessionState.SUSPENDED)
        if believes and not self.nemesis.excuses(opened):
            self.fail(
                "presumed lost",
                f"the servers have ended session {session.session_id:#x} of {opened.name}, "
                f"which is {session.state.value}",
            )

    # --- processes and what they run

    def process(self, kind: str) -> Process:
        self._number += 1
        random = self.random
        process = Process(
            self.loop,
            f"{kind}{self._number}",
            rate=self._rate(),
            offset=random.choice((0.0, 1e6 * random.random())),
            lag=random.choice((0.0, 0.0, 0.02)),
        )
        self.processes.append(process)
        return process

    def _task_ended(self, task: Task) -> None:
        if task in self.lives:
            self.lives.remove(task)
        error = task.error
        if error is None or task.process.dead:
            return
        if isinstance(error, ZooKeeperError):
            self.trace(task.name, "ended with", error)
        elif isinstance(error, Violation):
            self.loop.failure = error
        else:
            self.crash(f"{task.name} ended with {error!r}", error)

    def crash(self, message: str, error: BaseException) -> None:
        for line in "".join(format_exception(error)).splitlines():
            self.trace("crash", line)
        self.fail("crash", message)

    def start(self, process: Process, name: str, body: Any) -> Task:
        """Run something in a process."""
        return process.start(body, name, self._task_ended)

    def check(self) -> None:
        """Raise what was found."""
        if self.loop.failure is not None:
            raise self.loop.failure

    def end(self) -> None:
        """Take everything apart, wherever it stands."""
        for process in self.processes:
            process.dead = True
            for task in list(process.tasks):
                task.drop()
