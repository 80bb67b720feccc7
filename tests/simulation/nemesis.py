"""What goes wrong: at random, by name, and undone in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from zk_sansio.server import Server, ServerState

from .loop import Timer
from .network import DOWN, UP, Route

if TYPE_CHECKING:
    from .opening import Opened
    from .world import World

__all__ = ["Nemesis"]


class Nemesis:
    """Brings faults over a world.

    Args:
        world: the world.

    Attributes:
        counts: how many faults of each kind there were.
        ended: sessions that were ended by force: their clients could not know.
        moved: sessions that were moved away by force, and when: until it is back, its client could not know.
    """

    def __init__(self, world: World) -> None:
        self.counts: Counter[str] = Counter()
        self.ended: set[int] = set()
        self.moved: dict[int, float] = {}
        self._world = world
        self._timer: Timer | None = None
        self._undo: dict[int, Callable[[], object]] = {}
        self._number = 0
        self._kinds: list[Callable[[], str | None]] = [
            self.cut,
            self.cut_at_byte,
            self.cut_at_byte,
            self.cut_at_byte,
            self.cut_after_event,
            self.strand,
            self.strand,
            self.lose_replies,
            self.strike_holder,
            self.strike_holder,
            self.cut_all,
            self.black_hole,
            self.black_hole,
            self.black_hole_of_one,
            self.refuse,
            self.crash,
            self.isolate,
            self.lag,
            self.hold,
            self.change_leader,
            self.lose_quorum,
            self.expire,
            self.move,
            self.pause,
            self.pause,
            self.kill,
            self.slow,
        ]

    def excuses(self, opened: Opened) -> bool:
        """Whether a client could not know that its session is over."""
        session = opened.engine.session.session_id
        return session in self.ended or self.moved.get(session, -inf) >= opened.driver.made

    # --- when

    def rage(self, mean: float) -> None:
        """Let something go wrong every so many seconds."""
        self._world.loop.stop(self._timer)
        self._timer = self._world.loop.at(self._world.loop.now + self._pause(mean), self._strike, mean)

    def _pause(self, mean: float) -> float:
        return self._world.random.expovariate(1 / mean)

    def _strike(self, mean: float) -> None:
        random = self._world.random
        kind = random.choice(self._kinds)
        if random.random() < 0.3:
            favourites = {
                "locks": [self.strike_holder],
                "watches": [self.cut_after_event],
                "leftovers": [self.cut_at_byte, self.lose_replies],
            }
            kind = random.choice(favourites.get(self._world.fashion, [kind]))
        what = kind()
        if what is not None:
            self.counts[kind.__name__] += 1
            self._world.trace("nemesis", kind.__name__.replace("_", " "), what)
        self._world.cluster.settle()
        self.rage(mean)

    def heal(self) -> None:
        """Nothing goes wrong any more, and what went wrong is mended."""
        self._world.loop.stop(self._timer)
        while self._undo:
            self._mend(next(iter(self._undo)))
        self._world.cluster.settle()
        self._world.trace("nemesis", "heals")

    def _later(self, seconds: float, undo: Callable[[], object]) -> None:
        self._number += 1
        number = self._number
        self._undo[number] = undo
        self._world.loop.at(self._world.loop.now + seconds, self._mend, number)

    def _mend(self, number: int) -> None:
        undo = self._undo.pop(number, None)
        if undo is not None:
            undo()
            self._world.cluster.settle()

    def _while(self) -> float:
        """How long: shorter or longer than the sessions of the moment."""
        random = self._world.random
        return self._world.scale * random.choice((0.05, 0.3, 1.0, 2.0)) * random.random()

    def _outage(self) -> float:
        """How long servers are away: seldom for very long, since clients knock every few seconds all the time."""
        seconds = self._while()
        return seconds if self._world.random.random() < 0.05 else min(seconds, 200.0)

    # --- the network

    def _routes(self) -> list[Route]:
        return [route for route in self._world.network.routes.values() if not route.process.dead]

    def cut(self) -> str | None:
        links = [link for route in self._routes() for link in route.open]
        if not links:
            return None
        random = self._world.random
        link = random.choice(links)
        client, server = random.random() < 0.8, random.random() < 0.8
        link.cut(client=client, server=server)
        return f"link {link.number} of {link.who}, told: client {client}, server {server}"

    def cut_at_byte(self) -> str | None:
        """Lay a trap: a connection that breaks in the middle of what is sent next."""
        links = [link for route in self._routes() for link in route.open]
        if not links:
            return None
        random = self._world.random
        link = random.choice(links)
        direction = random.choice((UP, DOWN, DOWN))
        link.pipes[direction].trap = random.choice((20, 100, 500)) if random.random() < 0.3 else random.randrange(300)
        return f"link {link.number} of {link.who}, direction {direction}"

    def cut_after_event(self) -> str | None:
        """Lay a trap: connections that break between two notifications."""
        links = [link for route in self._routes() for link in route.open]
        for link in links:
            link.cut_after_event = True
        return f"{len(links)} links"

    def strike_holder(self) -> str | None:
        """Take the network away from somebody who holds a lock, perhaps until the session is over."""
        holders = self._world.holders
        if not holders:
            return None
        holder = self._world.random.choice(holders)
        timeout = holder.engine.session.timeout
        routes = [each for each in self._routes() if each.process is holder.process]
        return self._swallow(routes, timeout * self._world.random.choice((0.5, 1.5, 2.5)))

    def strand(self) -> str | None:
        """Leave clients nobody but a server that is behind."""
        followers = self._servers(ServerState.FOLLOWER)
        if not followers:
            return None
        server = self._world.random.choice(followers)
        cluster = self._world.cluster
        server.hold()
        wait = self._world.scale * self._world.random.random() * 0.3
        seconds = self._world.scale * self._world.random.random() * 0.5
        others = [each for each in self._routes() if each.host is not cluster.members[server.id - 1]]

        def away() -> None:
            for route in others:
                route.refused += 1
                for link in route.open:
                    link.cut()

        def back() -> None:
            for route in others:
                route.refused -= 1
            server.release(cluster.now())

        def undo() -> None:
            away()
            self._later(seconds, back)

        self._later(wait, undo)
        return f"server {server.id} is behind, in {wait:.3g} s the only one for {seconds:.3g} s"

    def lose_replies(self) -> str | None:
        """Lose the next reply of each connection, and leave clients a server that does not know of what was asked."""
        followers = self._servers(ServerState.FOLLOWER)
        if not followers:
            return None
        server = self._world.random.choice(followers)
        cluster = self._world.cluster
        server.hold()
        seconds = self._world.scale * self._world.random.random() * 0.5
        others = [each for each in self._routes() if each.host is not cluster.members[server.id - 1]]
        for route in others:
            route.refused += 1
            for link in route.open:
                link.pipes[DOWN].trap = 0

        def undo() -> None:
            for route in others:
                route.refused -= 1
            server.release(cluster.now())

        self._later(seconds, undo)
        return f"server {server.id} is behind, and the only one for {seconds:.3g} s"

    def cut_all(self) -> str | None:
        route = self._some_route()
        if route is None:
            return None
        for link in route.open:
            link.cut()
        return f"all links of {route.process.name} to one server"

    def _some_route(self) -> Route | None:
        routes = [route for route in self._routes() if route.open]
        return self._world.random.choice(routes) if routes else None

    def black_hole(self) -> str | None:
        route = self._some_route()
        return None if route is None else self._swallow([route])

    def black_hole_of_one(self) -> str | None:
        """All servers are out of reach of one client."""
        route = self._some_route()
        if route is None:
            return None
        return self._swallow([each for each in self._routes() if each.process is route.process])

    def _swallow(self, routes: list[Route], seconds: float | None = None) -> str:
        random = self._world.random
        directions = random.choice(((UP,), (DOWN,), (UP, DOWN), (UP, DOWN)))
        seconds = self._while() if seconds is None else seconds
        for route in routes:
            for direction in directions:
                route.block(direction)

        def undo() -> None:
            for route in routes:
                for direction in directions:
                    route.unblock(direction)

        self._later(seconds, undo)
        return f"{routes[0].process.name}, {len(routes)} routes, directions {directions}, {seconds:.3g} s"

    def refuse(self) -> str | None:
        routes = self._routes()
        if not routes:
            return None
        host = self._world.random.choice(routes).host
        chosen = [route for route in routes if route.host is host]
        seconds = self._outage()
        for route in chosen:
            route.refused += 1

        def undo() -> None:
            for route in chosen:
                route.refused -= 1

        self._later(seconds, undo)
        return f"{len(chosen)} routes, {seconds:.3g} s"

    def slow(self) -> str | None:
        route = self._some_route()
        if route is None:
            return None
        factor = 10 ** self._world.random.uniform(0.5, 2.5)
        seconds = self._while()
        route.slow *= factor

        def undo() -> None:
            route.slow = 1.0

        self._later(seconds, undo)
        return f"{route.process.name}: {factor:.3g} times for {seconds:.3g} s"

    # --- servers

    def _servers(self, *states: ServerState) -> list[Server]:
        return [each for each in self._world.cluster.ensemble.servers if not states or each.state in states]

    def crash(self) -> str | None:
        server = self._world.random.choice(self._servers())
        if server.state is ServerState.DOWN:
            return None
        cluster = self._world.cluster
        seconds = self._outage()
        server.stop(cluster.now())
        self._later(seconds, lambda: server.start(cluster.now()))
        return f"server {server.id}, {seconds:.3g} s"

    def _cut_off(self, servers: list[Server], seconds: float) -> str:
        cluster = self._world.cluster
        for server in servers:
            server.isolate(cluster.now())

        def undo() -> None:
            for server in servers:
                server.rejoin(cluster.now())

        self._later(seconds, undo)
        return f"servers {[server.id for server in servers]}, {seconds:.3g} s"

    def isolate(self) -> str | None:
        if len(self._servers()) == 1:
            return None
        return self._cut_off([self._world.random.choice(self._servers())], self._outage())

    def change_leader(self) -> str | None:
        leaders = self._servers(ServerState.LEADER)
        return self._cut_off(leaders, 0.01) if leaders else None

    def lose_quorum(self) -> str | None:
        servers = self._servers()
        if len(servers) == 1:
            return None
        return self._cut_off(self._world.random.sample(servers, len(servers) // 2 + 1), self._outage())

    def lag(self) -> str | None:
        servers = self._servers(ServerState.FOLLOWER)
        if not servers:
            return None
        server = self._world.random.choice(servers)
        server.lag = self._world.random.random() ** 3 * 5
        seconds = self._while()

        def undo() -> None:
            server.lag = 0.0

        self._later(seconds, undo)
        return f"server {server.id} by {server.lag:.3g} s for {seconds:.3g} s"

    def hold(self) -> str | None:
        servers = self._servers(ServerState.FOLLOWER)
        if not servers:
            return None
        server = self._world.random.choice(servers)
        cluster = self._world.cluster
        seconds = self._while()
        server.hold()
        self._later(seconds, lambda: server.release(cluster.now()))
        return f"server {server.id} for {seconds:.3g} s"

    # --- sessions

    def _sessions(self) -> list[int]:
        return list(self._world.cluster.ensemble.sessions)

    def expire(self) -> str | None:
        sessions = self._sessions()
        if not sessions:
            return None
        session = self._world.random.choice(sessions)
        self.ended.add(session)
        done = self._world.cluster.ensemble.expire(session, self._world.cluster.now())
        return f"session {session:#x}" if done else None

    def move(self) -> str | None:
        sessions = self._sessions()
        if not sessions:
            return None
        session = self._world.random.choice(sessions)
        server = self._world.random.choice(self._servers())
        # Nobody holds it any more, so what its client goes on sending does not keep it.
        self.moved[session] = self._world.loop.now
        self._world.cluster.ensemble.move(session, server, self._world.cluster.now())
        return f"session {session:#x} to server {server.id}"

    # --- clients

    def pause(self) -> str | None:
        alive = [each.process for each in self._world.clients if not each.process.dead]
        if not alive:
            return None
        process = self._world.random.choice(alive)
        seconds = self._while()
        process.paused_until = max(process.paused_until, self._world.loop.now + seconds)
        return f"{process.name} for {seconds:.3g} s"

    def kill(self) -> str | None:
        mortal = [each for each in self._world.clients if not each.process.dead and each.process.name[0] == "c"]
        if not mortal:
            return None
        client = self._world.random.choice(mortal)
        silent = self._world.random.random() < 0.5
        self._world.kill(client, silent=silent)
        return f"{client.name}, {'silently' if silent else 'and its sockets are closed'}"
