"""Checkers that cannot fail would prove nothing: each is shown what it has to object to."""

from __future__ import annotations

from collections import Counter
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from zk_sansio.acl import OPEN
from zk_sansio.client import ChangeStream, Gap, OneShotWatch
from zk_sansio.client._streams import _OneShotSubscriber
from zk_sansio.errors import BadVersionError, ConnectionLossError, ErrorCode, LeaseLostError, NoNodeError
from zk_sansio.paths import Chroot
from zk_sansio.server import DataSet, Entry, Made, Node, Removed, SessionClosed, SessionOpened, Several
from zk_sansio.session import Call, SessionState, WatchEvent, WatchKind
from zk_sansio.wire import AddWatch, AddWatchMode, EventType, Exists, GetChildren, GetData, Request, Stat, Znode

from .actors import User
from .course import _until
from .history import History, State
from .image import Image
from .inspection import _check_ephemerals, _check_watches, _idle_client, inspect
from .ledger import Ledger
from .loop import Loop
from .trace import Trace
from .violations import Violation
from .witness import Witness
from .world import World

MINE, OTHERS = 7, 8


class Bench:
    """A truth, and those who compare with it."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.checked: Counter[str] = Counter()
        self.history = History([("/", Node(b"", OPEN))])
        self.ledger = Ledger(self.history, self.fail, self.checked)
        self.witness = Witness("c", self.history, self.fail, Trace(Loop(Random(1))), self.checked)
        self.link: Any = SimpleNamespace(replies={}, armed=0)
        session: Any = SimpleNamespace(session_id=MINE)
        engine: Any = SimpleNamespace(session=session, runtime=SimpleNamespace())
        self.engine = self.witness.engine = engine
        driver: Any = SimpleNamespace(link=self.link)
        self.witness.driver = driver

    def fail(self, check: str, message: str) -> None:
        self.found.append(check)

    def commit(self, *changes: Any, session: int = MINE) -> int:
        zxid = self.history.zxid + 1
        change = changes[0] if len(changes) == 1 else Several(changes, (0,) * len(changes))
        self.history.commit(Entry(zxid, 0, session, change))
        return zxid

    def make(self, path: str, data: bytes = b"", owner: int = 0) -> int:
        return self.commit(Made(path, data, tuple(OPEN), owner, None, 1))

    def stat(self, path: str) -> Stat:
        state = self.history.now(path)
        assert state is not None
        return stat_of(state)

    def answer(self, request: Request[Any], result: Any, zxid: int, *, xid: int = 5, watcher: Any = None) -> None:
        """The client is told of a reply."""
        call: Call[Any] = Call(request, xid, b"", watcher)
        code = 0
        if isinstance(result, Exception):
            call.fail(result)  # type: ignore[arg-type]
            code = result.code  # type: ignore[attr-defined]
        else:
            call.result, call.done = result, True
        self.link.replies[xid] = zxid, code
        self.witness.woken(call)

    # --- streams

    def stream(self, path: str, zxid: int, *, recursive: bool = True, buffer: int = 100) -> ChangeStream[Any]:
        stream: ChangeStream[Any] = ChangeStream(
            self.engine,
            Chroot(""),
            path,
            recursive=recursive,
            buffer=buffer,
            snapshot=None,
            register=lambda _: None,  # type: ignore[arg-type,return-value]
        )
        stream._open = True
        stream._subscriber.armed = True
        self.engine.runtime.wake = self.witness.woken
        self.answer(AddWatch(path, AddWatchMode.PERSISTENT_RECURSIVE), None, zxid, watcher=stream._subscriber)
        return stream

    def watch(self, request: Any, kind: WatchKind, result: Any, zxid: int) -> OneShotWatch[Any]:
        watch: OneShotWatch[Any] = OneShotWatch(
            self.engine,
            Chroot(""),
            request,
            request.path,
            kind,
            lambda *_: None,  # type: ignore[arg-type]
        )
        watch._subscriber.armed = True
        self.engine.runtime.wake = self.witness.woken
        self.answer(request, result, zxid, watcher=watch._subscriber)
        return watch


def stat_of(state: State) -> Stat:
    size = len(state.data or b"")
    return Stat(
        state.czxid,
        state.mzxid,
        0,
        0,
        state.version,
        state.cversion,
        state.aversion,
        state.owner,
        size,
        len(state.children),
        state.pzxid,
    )


@pytest.fixture
def bench() -> Bench:
    return Bench()


NO_NODE = NoNodeError(ErrorCode.NO_NODE, "/a")


class TestHistory:
    def test_every_state_is_kept(self, bench: Bench) -> None:
        made = bench.make("/a", b"1")
        changed = bench.commit(DataSet("/a", b"2", 1))
        gone = bench.commit(Removed("/a"))
        assert bench.history.at("/a", made - 1) is None
        assert bench.history.at("/a", made).data == b"1"  # type: ignore[union-attr]
        assert bench.history.at("/a", changed).data == b"2"  # type: ignore[union-attr]
        assert bench.history.at("/a", gone) is None
        assert [state and state.data for state in bench.history.between("/a", made, gone)] == [b"1", b"2", None]

    def test_a_session_takes_its_ephemerals_along(self, bench: Bench) -> None:
        bench.commit(SessionOpened(1000))
        bench.make("/e", owner=MINE)
        assert bench.history.owned == {MINE: {"/e": None}}
        bench.commit(SessionClosed())
        assert bench.history.owned == {}
        assert bench.history.now("/e") is None

    def test_the_past_can_be_dropped(self, bench: Bench) -> None:
        bench.make("/a", b"1")
        bench.history.forget()
        assert bench.history.events == []
        assert bench.history.at("/a", 0).data == b"1"  # type: ignore[union-attr]


class TestWrites:
    def test_all_is_well(self, bench: Bench) -> None:
        op = bench.ledger.begin("c", "create", "/a")
        zxid = bench.make("/a", op.data)
        bench.ledger.ok(op, zxid=zxid, path="/a")
        bench.ledger.settle()
        assert bench.found == []

    def test_acknowledged_and_not_there(self, bench: Bench) -> None:
        bench.ledger.ok(bench.ledger.begin("c", "create", "/a"))
        assert bench.found == ["acknowledged"]

    def test_acknowledged_with_another_zxid(self, bench: Bench) -> None:
        op = bench.ledger.begin("c", "create", "/a")
        bench.ledger.ok(op, zxid=bench.make("/a", op.data) + 1)
        assert bench.found == ["acknowledged"]

    def test_acknowledged_with_another_path(self, bench: Bench) -> None:
        op = bench.ledger.begin("c", "create", "/a")
        bench.make("/a", op.data)
        bench.ledger.ok(op, path="/b")
        assert bench.found == ["acknowledged"]

    def test_twice(self, bench: Bench) -> None:
        bench.make("/a")
        op = bench.ledger.begin("c", "set", "/a")
        bench.commit(DataSet("/a", op.data, 1))
        bench.commit(DataSet("/a", op.data, 2))
        assert bench.found == ["twice"]

    def test_made_anew_by_another_session(self, bench: Bench) -> None:
        op = bench.ledger.begin("c", "create", "/a")
        bench.make("/a", op.data)
        bench.commit(Removed("/a"))
        zxid = bench.commit(Made("/b", op.data, tuple(OPEN), 0, None, 2), session=OTHERS)
        bench.ledger.ok(op, zxid=zxid, path="/b")
        assert bench.found == []

    def test_made_anew_by_the_same_session(self, bench: Bench) -> None:
        op = bench.ledger.begin("c", "create", "/a")
        bench.make("/a", op.data)
        bench.commit(Removed("/a"))
        bench.make("/a", op.data)
        assert bench.found == ["twice"]

    def test_refused_but_there(self, bench: Bench) -> None:
        op = bench.ledger.begin("c", "create", "/a")
        bench.make("/a", op.data)
        bench.ledger.failed(op, BadVersionError(ErrorCode.BAD_VERSION, "/a"))
        assert bench.found == ["refused"]

    def test_refused_and_there_later(self, bench: Bench) -> None:
        op = bench.ledger.begin("c", "create", "/a")
        bench.ledger.failed(op, ConnectionLossError("lost", "/a", maybe_applied=False))
        bench.ledger.forget()
        assert bench.found == []
        bench.make("/a", op.data)
        assert bench.found == ["refused"]

    @pytest.mark.parametrize("error", [ConnectionLossError("lost", "/a", maybe_applied=True), KeyboardInterrupt()])
    def test_unknown_may_be_there_once(self, bench: Bench, error: BaseException) -> None:
        op = bench.ledger.begin("c", "create", "/a")
        bench.ledger.failed(op, error)
        bench.make("/a", op.data)
        assert bench.found == []

    def test_a_lease_that_is_lost_has_written_nothing(self, bench: Bench) -> None:
        op = bench.ledger.begin("c", "guarded set", "/a")
        bench.make("/a", op.data)
        bench.ledger.failed(op, LeaseLostError("/l", "lost"))
        assert bench.found == ["refused"]

    def test_no_outcome(self, bench: Bench) -> None:
        bench.ledger.begin("c", "create", "/a")
        bench.ledger.settle()
        assert bench.found == ["outcome"]

    def test_a_delete_that_is_not_there(self, bench: Bench) -> None:
        began = bench.make("/a")
        bench.ledger.deleted("c", {MINE}, "/a", began)
        assert bench.found == ["acknowledged"]

    def test_a_delete_is_taken_for_one(self, bench: Bench) -> None:
        began = bench.make("/a")
        bench.commit(Removed("/a"))
        bench.ledger.deleted("c", {MINE}, "/a", began)
        assert bench.found == []
        bench.ledger.deleted("c", {MINE}, "/a", began)
        assert bench.found == ["acknowledged"]

    def test_a_delete_of_somebody_else(self, bench: Bench) -> None:
        began = bench.make("/a")
        bench.commit(Removed("/a"), session=OTHERS)
        bench.ledger.deleted("c", {MINE}, "/a", began)
        assert bench.found == ["acknowledged"]

    def test_a_delete_that_nobody_owns_up_to(self, bench: Bench) -> None:
        for path in ("/sim", "/sim/n", "/sim/n/a"):
            bench.make(path)
        bench.commit(Removed("/sim/n/a"))
        bench.ledger.settle()
        assert bench.found == ["refused"]

    def test_a_delete_of_unknown_outcome(self, bench: Bench) -> None:
        for path in ("/sim", "/sim/n", "/sim/n/a"):
            bench.make(path)
        bench.commit(Removed("/sim/n/a"))
        bench.ledger.delete_unknown("/sim/n/a")
        bench.ledger.settle()
        assert bench.found == []

    def test_fencing(self, bench: Bench) -> None:
        for path in ("/l", "/l/x-lock-0000000001", "/l/y-lock-0000000002", "/d"):
            bench.make(path)
        first = bench.ledger.begin("c", "guarded set", "/d")
        first.node = "/l/x-lock-0000000001"
        bench.commit(DataSet("/d", first.data, 1))
        assert bench.found == []
        second = bench.ledger.begin("c", "guarded set", "/d")
        second.node = "/l/y-lock-0000000002"
        bench.commit(DataSet("/d", second.data, 2))
        assert bench.found == ["fencing"]


class TestReads:
    def test_all_is_well(self, bench: Bench) -> None:
        zxid = bench.make("/a", b"1")
        bench.answer(GetData("/a"), Znode(b"1", bench.stat("/a")), zxid)
        bench.answer(Exists("/b"), NO_NODE, zxid)
        bench.answer(GetChildren("/"), ["a"], zxid)
        assert bench.found == []

    @pytest.mark.parametrize("data", [b"2", None])
    def test_other_data(self, bench: Bench, data: bytes | None) -> None:
        zxid = bench.make("/a", b"1")
        bench.answer(GetData("/a"), Znode(data, bench.stat("/a")), zxid)
        assert bench.found == ["read"]

    @pytest.mark.parametrize("field", [f for f in Stat._fields if f not in ("ctime", "mtime")])
    def test_another_stat(self, bench: Bench, field: str) -> None:
        zxid = bench.make("/a", b"1")
        stat = bench.stat("/a")
        bench.answer(Exists("/a"), stat._replace(**{field: getattr(stat, field) + 1}), zxid)
        assert bench.found == ["read"]

    def test_not_there(self, bench: Bench) -> None:
        bench.answer(Exists("/a"), NO_NODE, bench.make("/a"))
        assert bench.found == ["read"]

    def test_other_children(self, bench: Bench) -> None:
        bench.answer(GetChildren("/"), [], bench.make("/a"))
        assert bench.found == ["read"]

    def test_a_reply_that_was_never_sent(self, bench: Bench) -> None:
        call: Call[Any] = Call(Exists("/a"), 9, b"")
        call.result, call.done = None, True
        bench.witness.woken(call)
        assert bench.found == ["read"]

    def test_back_in_time(self, bench: Bench) -> None:
        first = bench.make("/a")
        second = bench.make("/b")
        bench.answer(Exists("/b"), bench.stat("/b"), second)
        bench.answer(Exists("/b"), NO_NODE, first)
        assert bench.found == ["session order"]

    def test_another_session_in_silence(self, bench: Bench) -> None:
        bench.commit(SessionOpened(1000))
        zxid = bench.history.zxid
        bench.answer(Exists("/a"), NO_NODE, zxid)
        bench.engine.session.session_id = OTHERS
        bench.answer(Exists("/a"), NO_NODE, zxid)
        assert bench.found == ["resume"]


class TestStreams:
    def test_all_is_well(self, bench: Bench) -> None:
        stream = bench.stream("/a", bench.history.zxid)
        bench.make("/a")
        bench.make("/a/b")
        zxid = bench.commit(Removed("/a/b"))
        for event, path in ((EventType.CREATED, "/a"), (EventType.CREATED, "/a/b"), (EventType.DELETED, "/a/b")):
            stream._push(WatchEvent(event, path, None))
        bench.answer(Exists("/x"), NO_NODE, zxid)
        bench.witness.settle()
        assert bench.found == []

    def test_children_of_a_plain_stream(self, bench: Bench) -> None:
        bench.make("/a")
        stream = bench.stream("/a", bench.history.zxid, recursive=False)
        bench.make("/a/b")
        bench.commit(DataSet("/a/b", b"", 1))
        stream._push(WatchEvent(EventType.CHILDREN_CHANGED, "/a", bench.history.zxid - 1))
        bench.witness.settle()
        assert bench.found == []

    def test_one_is_missing(self, bench: Bench) -> None:
        stream = bench.stream("/a", bench.history.zxid)
        bench.make("/a")
        bench.make("/a/b")
        stream._push(WatchEvent(EventType.CREATED, "/a/b", None))
        assert bench.found == ["watch"]

    def test_the_last_is_missing(self, bench: Bench) -> None:
        bench.stream("/a", bench.history.zxid)
        bench.make("/a")
        bench.witness.settle()
        assert bench.found == ["watch"]

    def test_twice(self, bench: Bench) -> None:
        stream = bench.stream("/a", bench.history.zxid)
        bench.make("/a")
        for _ in range(2):
            stream._push(WatchEvent(EventType.CREATED, "/a", None))
        assert bench.found == ["watch"]

    def test_another_zxid(self, bench: Bench) -> None:
        stream = bench.stream("/a", bench.history.zxid)
        stream._push(WatchEvent(EventType.CREATED, "/a", bench.make("/a") + 1))
        assert bench.found == ["watch"]

    def test_a_reply_before_the_event(self, bench: Bench) -> None:
        bench.stream("/a", bench.history.zxid)
        zxid = bench.make("/a")
        bench.answer(Exists("/a"), bench.stat("/a"), zxid)
        assert bench.found == ["order"]

    def test_a_gap_excuses(self, bench: Bench) -> None:
        stream = bench.stream("/a", bench.history.zxid)
        bench.link.armed = bench.make("/a")
        stream._push(Gap("reconnected"))
        bench.witness.settle()
        assert bench.found == []
        bench.commit(Removed("/a"))
        bench.witness.settle()
        assert bench.found == ["watch"]

    def test_an_overflow_excuses(self, bench: Bench) -> None:
        stream = bench.stream("/a", bench.history.zxid, buffer=1)
        bench.make("/a")
        stream._push(WatchEvent(EventType.CREATED, "/a", None))
        bench.commit(Removed("/a"))
        stream._push(WatchEvent(EventType.DELETED, "/a", None))
        assert list(stream._buffer) == [Gap("overflow")]
        bench.witness.settle()
        assert bench.found == []

    def test_open_and_forgotten(self, bench: Bench) -> None:
        stream = bench.stream("/a", bench.history.zxid)
        stream._subscriber.armed = False
        bench.witness.settle()
        assert bench.found == ["watch"]


class TestOneShots:
    def once(self, bench: Bench) -> OneShotWatch[Any]:
        zxid = bench.make("/a")
        return bench.watch(Exists("/a"), WatchKind.DATA, bench.stat("/a"), zxid)

    def fire(self, watch: OneShotWatch[Any], event: EventType, path: str = "/a") -> None:
        watch._fire(WatchEvent(event, path, None))

    def test_all_is_well(self, bench: Bench) -> None:
        watch = self.once(bench)
        bench.commit(DataSet("/a", b"", 1))
        self.fire(watch, EventType.DATA_CHANGED)
        bench.witness.settle()
        assert bench.found == []

    def test_twice(self, bench: Bench) -> None:
        watch = self.once(bench)
        bench.commit(DataSet("/a", b"", 1))
        self.fire(watch, EventType.DATA_CHANGED)
        self.fire(watch, EventType.DATA_CHANGED)
        assert bench.found == ["one-shot"]

    def test_for_nothing(self, bench: Bench) -> None:
        self.fire(self.once(bench), EventType.DATA_CHANGED)
        assert bench.found == ["one-shot"]

    def test_for_something_else(self, bench: Bench) -> None:
        watch = self.once(bench)
        bench.commit(Removed("/a"))
        self.fire(watch, EventType.DATA_CHANGED)
        assert bench.found == ["one-shot"]

    def test_never(self, bench: Bench) -> None:
        self.once(bench)
        bench.commit(DataSet("/a", b"", 1))
        bench.witness.settle()
        assert bench.found == ["one-shot"]

    def test_a_reply_before_it(self, bench: Bench) -> None:
        self.once(bench)
        zxid = bench.commit(DataSet("/a", b"", 1))
        bench.answer(Exists("/a"), bench.stat("/a"), zxid)
        assert bench.found == ["order"]

    def test_somebody_waits_for_nothing(self, bench: Bench) -> None:
        watch = self.once(bench)
        watch._subscriber.armed = False
        watch.waiter = "somebody"
        bench.witness.settle()
        assert bench.found == ["one-shot"]

    def test_children(self, bench: Bench) -> None:
        zxid = bench.make("/a")
        watch = bench.watch(GetChildren("/a"), WatchKind.CHILD, [], zxid)
        bench.make("/a/b")
        assert isinstance(watch._subscriber, _OneShotSubscriber)
        bench.witness.settle()
        assert bench.found == ["one-shot"]

    def test_what_came_and_went_while_nobody_looked(self, bench: Bench) -> None:
        watch = bench.watch(Exists("/a"), WatchKind.EXIST, NO_NODE, bench.history.zxid)
        bench.make("/a")
        zxid = bench.commit(Removed("/a"))
        bench.witness.driver.link = SimpleNamespace(replies={}, armed=zxid)  # type: ignore[union-attr]
        bench.witness.settle()
        assert bench.found == []
        bench.make("/a")
        bench.witness.settle()
        assert bench.found == ["one-shot"]
        assert watch._subscriber.armed


class TestImage:
    @pytest.mark.parametrize(
        "events, wrong",
        [
            ([EventType.CREATED, EventType.DATA_CHANGED, EventType.DELETED, EventType.CREATED], False),
            ([EventType.CREATED, EventType.CREATED], True),
            ([EventType.DELETED], True),
            ([EventType.DATA_CHANGED], True),
            ([EventType.NONE], True),
        ],
    )
    def test_changes_make_sense(self, events: list[EventType], wrong: bool) -> None:
        image = Image("/a", recursive=True)
        faults = [image.take(WatchEvent(event, "/a", None), 1, 1) for event in events]
        assert bool(faults[-1]) is wrong
        assert not any(faults[:-1])

    def test_there_are_no_gaps(self) -> None:
        assert Image("/a", recursive=True).take(Gap("reconnected"), 1, 1)


class Somebody:
    """As much of an open client as those need who look at it from outside."""

    def __init__(self, world: World, state: SessionState = SessionState.CONNECTED) -> None:
        session = world.cluster.ensemble.sessions.make(10_000, 0.0, 1)
        self.name = "s"
        self.process = world.process("s")
        self.closing = False
        self.session = SimpleNamespace(session_id=session.session_id, state=state, timeout=10.0, deadline=None)
        self.engine = SimpleNamespace(session=self.session, error=None)
        self.driver = SimpleNamespace(made=0.0, link=None)


class TestWorld:
    @pytest.fixture
    def world(self) -> World:
        return World(1)

    def found(self, world: World) -> str | None:
        failure = world.loop.failure
        return failure.check if isinstance(failure, Violation) else None

    def test_all_is_well(self, world: World) -> None:
        inspect(world)
        world.check()

    def test_a_server_has_other_data(self, world: World) -> None:
        world.cluster.ensemble.servers[0].tree.nodes["/sim"].data = b"other"
        inspect(world)
        assert self.found(world) == "server"

    def test_a_server_has_another_znode(self, world: World) -> None:
        world.cluster.ensemble.servers[0].tree.nodes["/more"] = Node(b"", OPEN)
        inspect(world)
        assert self.found(world) == "server"

    def test_a_server_lacks_a_znode(self, world: World) -> None:
        del world.cluster.ensemble.servers[0].tree.nodes["/sim/n/a"]
        inspect(world)
        assert self.found(world) == "server"

    @pytest.mark.parametrize("told", [{}, {"/sim/d": 0, "/sim/d/1": 0, "/sim/d/2": 0}, {"/sim/d": 2**62, "/more": 0}])
    def test_an_image_that_is_wrong(self, world: World, told: dict[str, int]) -> None:
        image = Image("/sim/d", recursive=True)
        image.told = told
        somebody: Any = Somebody(world)
        world.images[image] = somebody
        inspect(world)
        assert self.found(world) == "convergence"

    def test_children_that_nobody_told_of(self, world: World) -> None:
        image = Image("/sim/d", recursive=False)
        image.told = {"/sim/d": 2**62}
        somebody: Any = Somebody(world)
        world.images[image] = somebody
        inspect(world)
        assert self.found(world) == "convergence"

    def ephemeral(self, world: World, session: int, data: bytes = b"") -> None:
        create = Made("/sim/q/e", data, tuple(OPEN), session, None, 1)
        world.history.commit(Entry(world.history.zxid + 1, 0, session, create))

    def test_an_ephemeral_of_nobody(self, world: World) -> None:
        self.ephemeral(world, 4711)
        _check_ephemerals(world)
        assert self.found(world) == "leak"

    @pytest.mark.parametrize("status, wrong", [("ok", False), ("unknown", False), ("cancelled", True), ("left", True)])
    def test_an_orphan(self, world: World, status: str, wrong: bool) -> None:
        somebody: Any = Somebody(world)
        world.clients.append(somebody)
        op = world.ledger.begin("s", "create", "/sim/q/e")
        op.status = status
        self.ephemeral(world, somebody.session.session_id, op.data)
        _check_ephemerals(world)
        assert self.found(world) == ("orphan" if wrong else None)

    def test_a_watch_of_nobody(self, world: World) -> None:
        connection = world.cluster.ensemble.servers[0].accept(0.0)
        assert connection is not None
        connection.watches.watch_children("/sim", connection)
        inspect(world)
        assert self.found(world) == "leak"

    @pytest.mark.parametrize("held", [{"/sim"}, {"/sim", "/sim/n"}, set()])
    def test_watches_of_somebody(self, world: World, held: set[str]) -> None:
        server = world.cluster.ensemble.servers[0]
        connection = server.accept(0.0)
        assert connection is not None
        for path in sorted(held):
            connection.watches.watch_data(path, connection)
        somebody: Any = Somebody(world)
        somebody.driver.link = SimpleNamespace(connection=connection)
        somebody.witness = SimpleNamespace(watched={"/sim"})
        world.clients.append(somebody)
        _check_watches(world, server)
        assert self.found(world) == {1: None, 2: "leak", 0: "watch"}[len(held)]

    @pytest.mark.parametrize(
        "field, value", [("in_flight", 1), ("queued_bytes", 1), ("_book", SimpleNamespace(own={1: 2}, waiting=[]))]
    )
    def test_a_client_that_is_not_idle(self, world: World, field: str, value: Any) -> None:
        somebody: Any = Somebody(world)
        vars(somebody.session).update(
            in_flight=0,
            queued_bytes=0,
            _book=SimpleNamespace(own={}),
            _orphans=SimpleNamespace(_suspects=[]),
            _watches=SimpleNamespace(_arming={}),
        )
        vars(somebody.engine).update(_room=[], _turn=[], _races={})
        _idle_client(world, somebody)
        assert self.found(world) is None
        setattr(somebody.session, field, value)
        _idle_client(world, somebody)
        assert self.found(world) == "leak"

    def test_somebody_never_comes_to_an_end(self, world: World) -> None:
        with pytest.raises(Violation, match="liveness"):
            _until(world, lambda: False, 100.0, "it never is")

    @pytest.mark.parametrize("state", [SessionState.CONNECTED, SessionState.SUSPENDED, SessionState.PRESUMED_LOST])
    def test_presumed_lost(self, world: World, state: SessionState) -> None:
        somebody: Any = Somebody(world, state)
        world.clients.append(somebody)
        world._ended(1, somebody.session.session_id)
        if state is SessionState.PRESUMED_LOST:
            world.loop.run(1.0)
            assert self.found(world) is None
        else:
            with pytest.raises(Violation, match="presumed lost"):
                world.loop.run(1.0)

    def test_a_session_that_was_ended_by_force_excuses(self, world: World) -> None:
        somebody: Any = Somebody(world)
        world.clients.append(somebody)
        world.nemesis.ended.add(somebody.session.session_id)
        world._ended(1, somebody.session.session_id)
        world.loop.run(1.0)
        assert self.found(world) is None

    def test_two_holders(self, world: World) -> None:
        first, second = Somebody(world), Somebody(world)
        holder: Any = SimpleNamespace(lost=False)
        other: Any = SimpleNamespace(lost=False)
        world.acquired("/l", first, holder)  # type: ignore[arg-type]
        assert self.found(world) is None
        holder.lost = True
        world.acquired("/l", second, other)  # type: ignore[arg-type]
        assert self.found(world) is None
        world.acquired("/l", first, holder)  # type: ignore[arg-type]
        assert self.found(world) == "exclusion"

    def test_holders_that_follow_each_other(self, world: World) -> None:
        somebody: Any = Somebody(world)
        for _ in range(2):
            lock: Any = SimpleNamespace(lost=False)
            world.acquired("/l", somebody, lock)
            world.released("/l", lock)
        assert self.found(world) is None

    def test_a_call_that_never_ends(self, world: World) -> None:
        somebody: Any = Somebody(world)

        async def wait() -> None:
            await somebody.process.sleep(1e9)

        world.start(somebody.process, "s.waits", wait())
        world.loop.at(100.0, world._look_back, somebody)
        with pytest.raises(Violation, match="outcome"):
            world.loop.run(1000.0)
        world.end()

    def test_something_raises_what_it_should_not(self, world: World) -> None:
        async def fall() -> None:
            raise KeyError("what")

        world.start(world.process("s"), "s.falls", fall())
        with pytest.raises(Violation, match="crash"):
            world.loop.run(1.0)

    @pytest.mark.parametrize("check", ["session order", "sync"])
    def test_an_old_read(self, world: World, check: str) -> None:
        somebody: Any = Somebody(world)
        somebody.client = None
        user = User(world, somebody)
        user._check_read("/sim/more", None, 0, check)
        assert self.found(world) is None
        user._check_read("/sim", None, world.history.zxid, check)
        assert self.found(world) == check
