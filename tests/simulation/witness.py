"""Looks on while one client is woken, reply by reply and event by event, and holds each against the truth."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from zk_sansio.client import ChangeStream, Engine, Gap, OneShotWatch
from zk_sansio.client._streams import _OneShotSubscriber, _StreamSubscriber
from zk_sansio.errors import NoNodeError, ServerError
from zk_sansio.paths import parent
from zk_sansio.session import Call, Session, Waitable, WatchEvent, WatchKind
from zk_sansio.wire import Children, EventType, Exists, GetChildren, GetChildren2, GetData, Stat, Znode

from .driver import SimDriver
from .history import Happened, History
from .ledger import Fail
from .network import Link
from .trace import Trace

_CHILDREN = (EventType.CREATED, EventType.DELETED)


class Witness:
    """One client's replies and events.

    Args:
        name: the client's, for messages.
        history: the truth.
        fail: where to say that something is wrong.
        trace: what happens.
        checked: counts what was looked at.
        floor: the zxid that its session has seen before.
    """

    def __init__(
        self, name: str, history: History, fail: Fail, trace: Trace, checked: Counter[str], floor: int = 0
    ) -> None:
        self.name = name
        self.floor = floor
        self.engine: Engine | None = None
        self.driver: SimDriver | None = None
        self.sessions: set[int] = set()
        self._trace = trace
        self._checked = checked
        self._history = history
        self._fail = fail
        self._session: Session | None = None
        self._session_id = 0
        self._streams: dict[ChangeStream[Any], _Following] = {}
        self._watches: dict[OneShotWatch[Any], _Waiting] = {}

    @property
    def seen(self) -> int:
        """What the session in use has seen, by its replies so far."""
        return self.floor if self.engine is not None and self.engine.session is self._session else 0

    def woken(self, waitable: Waitable) -> None:
        """Somebody is woken."""
        if isinstance(waitable, Call):
            self._answered(waitable)
        elif isinstance(waitable, ChangeStream):
            self._pushed(waitable)
        elif isinstance(waitable, OneShotWatch):
            self._fired(waitable)

    # --- replies

    def _answered(self, call: Call[Any]) -> None:
        engine, driver = self.engine, self.driver
        assert engine is not None
        assert driver is not None
        session, link = engine.session, driver.link
        if session is not self._session:
            if self._session is not None:
                self.floor = 0
            self._session = session
            self._session_id = session.session_id
        if session.session_id != self._session_id:
            # Only a session of a read-only server, of which no other knows, is followed by another one in silence.
            if self._session_id in self._history.sessions:
                self._fail("resume", f"{self.name}: session {self._session_id:#x} became {session.session_id:#x}")
            self._session_id = session.session_id
        self.sessions.add(session.session_id)
        error = call.error
        if link is None or call.xid <= 0 or not (error is None or isinstance(error, ServerError)):
            return
        answer = link.replies.pop(call.xid, None)
        if answer is None:
            self._fail("read", f"{self.name}: {call!r} was answered, but the server sent no such reply")
            return
        zxid, code = answer
        if code != (0 if error is None else error.code):
            self._fail("read", f"{self.name}: {call!r} got {error!r}, but the server's code was {code}")
        if zxid < self.floor:
            self._fail("session order", f"{self.name}: {call!r} was answered at zxid {zxid}, behind {self.floor}")
        self.floor = max(self.floor, zxid)
        self._compare(call, zxid)
        self._hold_up(zxid, link)
        if call.watcher is not None:
            self._arm(call, zxid, link)

    def _compare(self, call: Call[Any], zxid: int) -> None:
        request = call.request
        if not isinstance(request, (GetData, Exists, GetChildren, GetChildren2)):
            return
        self._checked["read"] += 1
        state = self._history.at(request.path, zxid)
        if call.error is not None:
            good = not isinstance(call.error, NoNodeError) or state is None
        elif state is None:
            good = False
        else:
            good = shows(call.result, state)
        if not good:
            found = call.error or call.result
            self._fail("read", f"{self.name}: {call!r} gave {found!r} at zxid {zxid}, where the tree has {state}")

    def _hold_up(self, zxid: int, link: Link) -> None:
        """A reply shows a state: everything up to it has been told."""
        for stream, following in self._streams.items():
            if following.start is None or following.link is not link or not stream._subscriber.armed:
                continue
            self._checked["order"] += 1
            missing = following.missing(zxid)
            if missing is not None:
                self._fail(
                    "order",
                    f"{self.name}: a reply shows zxid {zxid}, but the stream of {following.path} lacks {missing}",
                )
        for watch, waiting in self._watches.items():
            if waiting.event is None and watch._subscriber.armed:
                due = waiting.due(zxid, link)
                if due is not None:
                    self._fail("order", f"{self.name}: a reply shows zxid {zxid}, but {waiting} has not heard of {due}")

    # --- watches

    def _arm(self, call: Call[Any], zxid: int, link: Link) -> None:
        subscriber = call.watcher
        if isinstance(subscriber, _StreamSubscriber):
            if call.error is None:
                recursive = subscriber.kind is WatchKind.RECURSIVE
                following = _Following(self._history, subscriber.path, recursive=recursive)
                following.begin(zxid, link)
                self._streams[subscriber.stream] = following
        elif isinstance(subscriber, _OneShotSubscriber) and (call.error is None or isinstance(call.request, Exists)):
            self._watches[subscriber.watch] = _Waiting(self._history, subscriber, zxid, link)

    def _pushed(self, stream: ChangeStream[Any]) -> None:
        following = self._streams.get(stream)
        if following is None:
            return
        if not stream._buffer:
            if not stream._open:
                del self._streams[stream]
            return
        if stream._error is not None:
            del self._streams[stream]
            return
        driver = self.driver
        assert driver is not None
        change = stream._buffer[-1]
        self._trace(self.name, "hears", following.path, change)
        link = driver.link
        if isinstance(change, Gap):
            self._checked[f"gap: {change.reason}"] += 1
            if change.reason != "overflow" or following.link is not link:
                assert link is not None
                following.begin(link.armed, link)
            elif following.take(None) is None:
                self._fail("watch", f"{self.name}: the stream of {following.path} overflows, but nothing has happened")
            return
        change = change._replace(path=stream._chroot.to_server(change.path))
        self._checked["watch"] += 1
        expected = following.take(change)
        if expected is None or not _same(change, expected):
            self._fail("watch", f"{self.name}: the stream of {following.path} tells {change}, but next is {expected}")

    def _fired(self, watch: OneShotWatch[Any]) -> None:
        waiting = self._watches.get(watch)
        event = watch._event
        if waiting is None or event is None:
            return
        event = event._replace(path=watch._chroot.to_server(event.path))
        self._trace(self.name, "hears once", waiting.path, event)
        if waiting.event is not None:
            self._fail("one-shot", f"{self.name}: {waiting} has fired twice: {waiting.event} and {event}")
        waiting.event = event
        self._checked["one-shot"] += 1
        driver = self.driver
        assert driver is not None
        if event.type is not EventType.NONE and not waiting.justifies(event, driver.link):
            self._fail("one-shot", f"{self.name}: {waiting} fired with {event}, but nothing like it has happened")

    # --- the times of quiet

    def settle(self) -> None:
        """All is quiet: nothing is owed to anybody."""
        history = self._history
        for stream, following in list(self._streams.items()):
            if not stream._open or stream._error is not None:
                del self._streams[stream]
                continue
            if not stream._subscriber.armed:
                self._fail("watch", f"{self.name}: the stream of {following.path} is open, but waits for nothing")
            missing = following.missing(history.zxid)
            if missing is not None:
                self._fail("watch", f"{self.name}: the stream of {following.path} was never told of {missing}")
        for watch, waiting in list(self._watches.items()):
            if waiting.event is not None or watch._error is not None:
                del self._watches[watch]
            elif watch._subscriber.armed:
                assert self.driver is not None
                due = waiting.due(history.zxid, self.driver.link)
                if due is not None:
                    self._fail("one-shot", f"{self.name}: {waiting} was never told of {due}")
            elif watch.waiter is not None:
                self._fail("one-shot", f"{self.name}: somebody waits for {waiting}, which waits for nothing")
            else:
                del self._watches[watch]

    def forget(self) -> None:
        """The events so far are not there any more."""
        for following in self._streams.values():
            following.rewind()
        for waiting in self._watches.values():
            waiting.place = 0

    @property
    def watched(self) -> set[str]:
        """The paths that somebody watches."""
        return {each.path for each in self._streams.values()} | {each.path for each in self._watches.values()}


class _Following:
    """What one stream has still to tell."""

    def __init__(self, history: History, path: str, *, recursive: bool) -> None:
        self.path = path
        self.start: int | None = None
        self.link: Link | None = None
        self._history = history
        self._recursive = recursive
        self._prefix = path + "/" if path != "/" else "/"
        self._place = 0
        self._due: deque[Happened] = deque()

    def begin(self, zxid: int, link: Link) -> None:
        """It is armed, and tells what comes behind a zxid."""
        self.start = zxid
        self.link = link
        self._due.clear()
        self._place = self._history.after(zxid)

    def rewind(self) -> None:
        self._place = 0

    def _look(self, zxid: int) -> None:
        events = self._history.events
        while self._place < len(events) and events[self._place].zxid <= zxid:
            self._take(events[self._place])
            self._place += 1

    def _take(self, event: Happened) -> None:
        path = event.path
        if path == self.path or (self._recursive and path.startswith(self._prefix)):
            self._due.append(event)
        elif not self._recursive and event.type in _CHILDREN and path != "/" and parent(path) == self.path:
            self._due.append(Happened(event.zxid, EventType.CHILDREN_CHANGED, self.path))

    def missing(self, zxid: int) -> Happened | None:
        """The first thing up to a zxid that was not told."""
        self._look(zxid)
        return self._due[0] if self._due and self._due[0].zxid <= zxid else None

    def take(self, change: WatchEvent | None) -> Happened | None:
        """What is to be told next. The order of what one zxid did is the server's own affair."""
        self._look(self._history.zxid)
        if not self._due:
            return None
        for place, event in enumerate(self._due):
            if event.zxid != self._due[0].zxid:
                break
            if change is not None and event.type is change.type and event.path == change.path:
                del self._due[place]
                return event
        return self._due.popleft()


class _Waiting:
    """One one-shot watch."""

    def __init__(self, history: History, subscriber: _OneShotSubscriber, zxid: int, link: Link) -> None:
        self.path = subscriber.path
        self.kind = subscriber.kind
        self.start = zxid
        self.link: Link | None = link
        self.place = history.after(zxid)
        self.event: WatchEvent | None = None
        self._history = history

    def __str__(self) -> str:
        return f"the one-shot {self.kind.value} watch of {self.path} since zxid {self.start}"

    def _matches(self, event: Happened) -> EventType | None:
        if event.path == self.path:
            if self.kind is WatchKind.CHILD:
                return event.type if event.type is EventType.DELETED else None
            return event.type
        if self.kind is WatchKind.CHILD and event.type in _CHILDREN and event.path != "/":
            return EventType.CHILDREN_CHANGED if parent(event.path) == self.path else None
        return None

    def _first(self, zxid: int) -> tuple[EventType, Happened] | None:
        events = self._history.events
        while self.place < len(events) and events[self.place].zxid <= zxid:
            found = self._matches(events[self.place])
            if found is not None:
                return found, events[self.place]
            self.place += 1
        return None

    def due(self, zxid: int, link: Link | None) -> Happened | None:
        """What it should have told by now."""
        if link is not None and link is not self.link:
            self.link = link
            if self.kind is WatchKind.EXIST and self._history.at(self.path, link.armed) is None:
                # What was created and deleted while nobody looked is invisible.
                self.start = link.armed
                self.place = self._history.after(self.start)
        found = self._first(zxid)
        return found[1] if found else None

    def justifies(self, event: WatchEvent, link: Link | None) -> bool:
        """Whether something has happened that it may tell of so."""
        found = self._first(self._history.zxid)
        if found is None:
            return False
        # On another connection the server compares, and tells only that there is a difference.
        return link is not self.link or event.type is found[0]


def _same(change: WatchEvent, happened: Happened) -> bool:
    return change.type is happened.type and change.path == happened.path and change.zxid in (None, happened.zxid)


def shows(result: Any, state: Any) -> bool:
    """Whether the result of a read describes a state."""
    match result:
        case Znode(data, stat):
            return data == state.data and bool(state.fits(stat))
        case Stat():
            return bool(state.fits(result))
        case Children(names, stat):
            return frozenset(names) == state.children and bool(state.fits(stat))
        case list():
            return frozenset(result) == state.children and len(result) == len(state.children)
    return True
