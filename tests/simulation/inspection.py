"""What is looked at when all is quiet: nothing is owed, and nothing is left over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zk_sansio.server import Server
from zk_sansio.wire import Delete

from .opening import Opened

if TYPE_CHECKING:
    from .world import World

__all__ = ["inspect", "nothing_left", "tidy"]


def inspect(world: World) -> None:
    world.ledger.settle()
    for opened in world.clients:
        opened.witness.settle()
        _idle_client(world, opened)
    _check_ephemerals(world)
    _check_servers(world)
    _check_images(world)


def nothing_left(world: World, opened: Opened) -> None:
    """What a client that is closed still has."""
    session = opened.engine.session
    if session.in_flight or session._book.own or opened.engine._room:
        world.fail("leak", f"{opened.name} is closed, with {session.in_flight} requests under way")
    if len(session._watches):
        world.fail("leak", f"{opened.name} is closed, with {len(session._watches)} watches")


def _idle_client(world: World, opened: Opened) -> None:
    engine, session = opened.engine, opened.engine.session
    left = {
        "requests in flight": session.in_flight,
        "bytes": session.queued_bytes,
        "own requests": len(session._book.own),
        "callers that wait for room": len(engine._room) + len(engine._turn),
        "suspected orphans": len(session._orphans._suspects),
        "watches being set": sum(session._watches._arming.values()),
        "races": len(engine._races),
    }
    for what, count in left.items():
        if count:
            world.fail("leak", f"{opened.name} has {count} {what} left")


def _check_ephemerals(world: World) -> None:
    sessions = world.cluster.ensemble.sessions
    ours = {opened.engine.session.session_id for opened in world.clients}
    for session, paths in world.history.owned.items():
        if session not in sessions:
            world.fail("leak", f"session {session:#x} has ended, and left {list(paths)}")
        # The ephemerals of a session that its client was made to give up go when its time is over.
        for path in paths if session in ours else ():
            world.checked["orphan"] += 1
            state = world.history.now(path)
            assert state is not None
            op = world.ledger.ops.get(state.data or b"")
            if op is not None and op.status in ("cancelled", "left") and not op.lossy:
                world.fail("orphan", f"{path} was left behind by the {op}, which was {op.status}")


def _check_servers(world: World) -> None:
    for server in world.cluster.ensemble.servers:
        _check_tree(world, server)
        _check_watches(world, server)


def _check_tree(world: World, server: Server) -> None:
    nodes = server.tree.nodes
    for path in world.history.paths:
        if path == "/" or path.startswith("/zookeeper"):
            continue  # what the servers were born with
        state, node = world.history.now(path), nodes.get(path)
        assert state is not None
        if node is None or node.data != state.data or not state.fits(node.stat):
            found = None if node is None else node.stat
            world.fail("server", f"server {server.id} has {path} as {found}, the log says {state}")
    if len(nodes) != len(list(world.history.paths)):
        world.fail("server", f"server {server.id} has {sorted(nodes)}")


def _check_watches(world: World, server: Server) -> None:
    links = {each.driver.link.connection: each for each in world.clients if each.driver.link is not None}
    for connection in server.connections:
        opened = links.get(connection)
        tables = server.watches._data, server.watches._child
        held = {path for table in tables for path in table.paths(connection)}
        link = world.cluster.links.get(connection)
        if opened is None:
            if link is not None and link.dead:
                continue  # the server cannot know that nobody is at the other end
            if connection.session_id in world.cluster.ensemble.sessions:
                world.fail("leak", f"server {server.id} has a connection of nobody, {connection.session_id:#x}")
            if held:
                world.fail("leak", f"server {server.id} has watches of nobody: {sorted(held)}")
            continue
        wanted = opened.witness.watched
        world.checked["watches held"] += len(wanted)
        if held - wanted:
            more = sorted(held - wanted)
            world.fail("leak", f"server {server.id} has watches of {opened.name} that nobody wants: {more}")
        if wanted - held:
            less = sorted(wanted - held)
            world.fail("watch", f"{opened.name} waits for {less}, but server {server.id} has no such watch")


def _check_images(world: World) -> None:
    for image, opened in world.images.items():
        world.checked["convergence"] += 1
        known = image.told.keys()
        if image.recursive:
            there = set(world.history.below(image.path))
        else:
            there = {image.path} if world.history.now(image.path) else set()
        if known != there:
            world.fail(
                "convergence",
                f"{opened.name} believes that below {image.path} there are {sorted(known - there)}, "
                f"and not {sorted(there - known)}",
            )
            return
        for path, told in image.told.items():
            state = world.history.now(path)
            assert state is not None
            if told < state.mzxid:
                world.fail("convergence", f"{opened.name} was not told of {path} at zxid {state.mzxid}")
            if not image.recursive and image.children < state.pzxid:
                world.fail("convergence", f"{opened.name} was not told of the children of {path}")


def tidy(world: World) -> None:
    """Nobody is under way: drop the past, and what has gathered."""
    ensemble, now = world.cluster.ensemble, world.cluster.now()
    for over in ("/sim/q", "/sim/t"):
        for path in sorted(world.history.below(over), key=lambda path: (-len(path), path)):
            state = world.history.now(path)
            if path != over and state is not None and not state.owner and not state.children:
                ensemble.execute(Delete(path, -1), now)
                world.cluster.settle()
    world.loop.run(world.loop.now + 10)
    for opened in world.clients:
        opened.witness.settle()
    world.check()
    world.history.forget()
    world.ledger.forget()
    for opened in world.clients:
        opened.witness.forget()
    for route in world.network.routes.values():
        route.prune()
    world.network.routes = {key: r for key, r in world.network.routes.items() if not r.process.dead or r.links}
    world.processes = [process for process in world.processes if process.tasks and not process.dead]
