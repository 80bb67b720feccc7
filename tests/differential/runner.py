"""Runs a program on a server, and writes down all that its clients receive.

After each step every connection is asked for a ping, so that what the step caused has arrived before the next one.
A server handles all requests in one queue, and what a request causes is on its way before the request is answered.
"""

import struct
from dataclasses import dataclass, field

from tests.differential.mapping import HEADER, STAT, Answer, Mapper, Start, greeting, reply
from tests.differential.sides import Link, Side, SilentError
from tests.differential.steps import (
    AUTH_XID,
    PING_XID,
    SUPER_LOGIN,
    Burst,
    Bytes,
    Call,
    Drop,
    Expire,
    Greeting,
    Lapse,
    Op,
    Open,
    Program,
    Resume,
    Step,
    handshake,
    request,
)

CLOSED = Answer("closed")
SILENT = Answer("silent")
AUDIT = -1
"""The client that looks at the whole tree in the end."""
PING = Op("ping")


@dataclass(slots=True)
class Seen:
    """What the clients received in one step, by client."""

    answers: dict[int, list[Answer]] = field(default_factory=dict)
    unordered: bool = False

    def add(self, who: int, answer: Answer) -> None:
        """Note one."""
        self.answers.setdefault(who, []).append(answer)

    def sort(self) -> None:
        """Sort the notifications between two replies: when a session ends its nodes go in no order."""
        for who, answers in self.answers.items():
            done: list[Answer] = []
            events: list[Answer] = []
            for answer in [*answers, None]:
                if answer is not None and answer.event:
                    events.append(answer)
                    continue
                done += sorted(events, key=lambda event: event.raw)
                events.clear()
                if answer is not None:
                    done.append(answer)
            self.answers[who] = done


@dataclass(slots=True)
class Client:
    """One client of a program.

    Attributes:
        link: Its connection, if it has one.
        session_id: Its session, 0 if it has none.
        password: The session's.
        xid: The number of its last ordinary request on this connection.
    """

    link: Link | None = None
    session_id: int = 0
    password: bytes = bytes(16)
    xid: int = 0


def closes(op: Op, frame: bytes) -> bool:
    """Whether a server closes the connection behind this reply."""
    _, zxid, code = HEADER.unpack_from(frame)
    return op.opcode == -11 or (op.opcode == 100 and code == -115) or (zxid, code) == (-1, -6)


class Janitor:
    """A super user with a session of its own: makes and removes the programs' roots, looks at the tree.

    Usable for many programs on one server.
    """

    def __init__(self, side: Side) -> None:
        self._side = side
        self._link: Link | None = None
        self.session_id = 0
        self.password = b""

    def prepare(self, root: str) -> Start:
        """Look at the server's root, and make that of the program."""
        if self._link is None:
            self._connect()
        self._call(PING)
        frame = self._call(Op("exists", "/", 0))
        _, zxid, _ = HEADER.unpack_from(frame)
        values = STAT.unpack_from(frame, HEADER.size)
        count = self._call(Op("getAllChildrenNumber", "/"))
        (descendants,) = struct.unpack_from(">i", count, HEADER.size)
        start = Start(zxid, values[5], values[9], descendants)
        self._call(Op("create", root, b"", ((31, "world", "anyone"),), 0))
        return start

    def audit(self, root: str, mapper: Mapper, seen: Seen) -> None:
        """Write down all that is below the root."""
        paths = [root]
        while paths:
            path = paths.pop(0)
            for name in ("getData", "getACL"):
                op = Op(name, path, 0) if name == "getData" else Op(name, path)
                answer = reply(b"\0\0\0\0" + self._call(op)[4:], op, mapper)
                seen.add(AUDIT, Answer(f"{op!r}: {answer.text}", answer.raw))
            paths += [f"{path}/{name}" for name in sorted(self.children(path))]

    def children(self, path: str) -> list[str]:
        """List a node's children."""
        frame = self._call(Op("getChildren", path, 0))
        if HEADER.unpack_from(frame)[2]:
            return []
        (count,) = struct.unpack_from(">i", frame, HEADER.size)
        names = []
        at = HEADER.size + 4
        for _ in range(count):
            (size,) = struct.unpack_from(">i", frame, at)
            names.append(frame[at + 4 : at + 4 + size].decode("utf-8", "surrogatepass"))
            at += 4 + size
        return names

    def remove(self, path: str) -> None:
        """Remove a node and all below it."""
        for name in self.children(path):
            self.remove(f"{path}/{name}")
        self._call(Op("delete", path, -1))

    def end(self, session_id: int, password: bytes) -> None:
        """End a session."""
        link = self._side.connect()
        try:
            link.send([handshake(session_id=session_id, password=password)])
            frame = link.next()
            if frame is not None and struct.unpack_from(">ii", frame)[1] > 0:
                link.send([request(Op("closeSession"), 1, "", 0)])
                while link.next() is not None:
                    pass
        finally:
            link.close()

    def close(self) -> None:
        """Leave."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _connect(self) -> None:
        self._link = self._side.connect()
        self._link.send([handshake()])
        frame = self._link.next()
        if frame is None:
            raise SilentError
        self.session_id = struct.unpack_from(">iiq", frame)[2]
        self.password = frame[20:36]
        self._call(Op("auth", 0, "digest", SUPER_LOGIN))

    def _call(self, op: Op) -> bytes:
        assert self._link is not None
        self._link.send([request(op, 1, "", 0)])
        frame = self._link.next()
        if frame is None:
            raise SilentError
        return frame


class Run:
    """One program on one server.

    Args:
        side: The server.
        janitor: Its janitor.
        root: The program's root.
        answers_check: Whether a check outside of a multi is always answered.

    Attributes:
        seen: What was received, step by step; the last is the tree in the end.
    """

    def __init__(self, side: Side, janitor: Janitor, root: str, *, answers_check: bool = True) -> None:
        self._side = side
        self._answers_check = answers_check
        self._janitor = janitor
        self._root = root
        self._start = janitor.prepare(root)
        self._mapper = Mapper(self._start, root)
        self._mapper.session(janitor.session_id)
        self._clients: dict[int, Client] = {}
        self._sessions: dict[int, bytes] = {}
        self._now = Seen()
        self.seen: list[Seen] = []

    def run(self, program: Program) -> None:
        """Run the program, and look at the tree; it ends early when the server is silent."""
        try:
            for step in program:
                self._now = Seen()
                self.seen.append(self._now)
                self._do(step)
                self._settle(self._clients)
                if self._now.unordered:
                    self._now.sort()
            self._now = Seen()
            self.seen.append(self._now)
            self._janitor.audit(self._root, self._mapper, self._now)
            self._now.add(AUDIT, Answer(f"times grow with zxids: {self._mapper.times_in_order}"))
        except SilentError:
            self._now.add(AUDIT, SILENT)

    def clean(self) -> None:
        """End the program's sessions, and remove its nodes."""
        for client in self._clients.values():
            if client.link is not None:
                client.link.close()
        for session_id, password in self._sessions.items():
            self._janitor.end(session_id, password)
        self._janitor.remove(self._root)

    # --- steps

    def _do(self, step: Step) -> None:
        client = self._clients.setdefault(step.who, Client()) if not isinstance(step, Greeting) else Client()
        match step:
            case Call():
                self._call(client, step)
            case Burst(who, ops):
                self._burst(who, client, ops)
            case Open(who):
                first = handshake(
                    self._zxid(step.last_zxid),
                    step.timeout_ms,
                    0,
                    step.password,
                    step.read_only,
                    version=step.version,
                    extra=step.extra,
                )
                self._connect(who, client, first, step.then)
            case Resume(who, owner):
                ticket = self._clients.get(owner, Client())
                secret = ticket.password if step.password == b"right" else step.password
                zxid = self._zxid(step.last_zxid)
                self._connect(who, client, handshake(zxid, step.timeout_ms, ticket.session_id, secret))
            case Drop():
                self._drop(client)
            case Expire():
                self._now.unordered = True
                if client.session_id:
                    self._janitor.end(client.session_id, client.password)
            case Lapse(who):
                self._lapse(who, client)
            case Bytes(who, data):
                self._ready(who, client)
                if client.link is not None:
                    client.link.send([data])
                    self._read(who, client, [])
            case Greeting(data):
                self._greet(data)

    def _call(self, client: Client, step: Call) -> None:
        self._ready(step.who, client)
        if client.link is None:
            return
        op = step.op
        self._now.unordered = op.opcode == -11
        xid = self._next_xid(client, op) if step.xid is None else step.xid
        data = request(op, xid, self._root, self._start.zxid, cut=step.cut, extra=step.extra)
        cut = step.split % len(data)
        client.link.send([data[:cut], data[cut:]] if cut else [data])
        if (op.name == "check" and not self._answers_check) or (xid == -1 and op.opcode != PING.opcode):
            # Before 3.9.3 a check outside of a multi is not answered when it is right. A reply with xid -1 looks like
            # a notification: it is the last thing before the next ping's.
            self._settle({step.who: client}, op if xid == -1 else None)
        else:
            self._read(step.who, client, [op])

    def _burst(self, who: int, client: Client, ops: tuple[Op, ...]) -> None:
        self._ready(who, client)
        if client.link is not None:
            client.link.send([self._requests(client, ops)])
            self._read(who, client, list(ops))

    def _next_xid(self, client: Client, op: Op) -> int:
        if op.name in ("ping", "auth"):
            return PING_XID if op.name == "ping" else AUTH_XID
        client.xid += 1
        return client.xid

    def _zxid(self, relative: int | None) -> int:
        return 0 if relative is None else self._start.zxid + relative

    def _connect(self, who: int, client: Client, first: bytes, then: tuple[Op, ...] = ()) -> None:
        self._drop(client)
        client.link = self._side.connect()
        client.xid = 0
        client.link.send([first + self._requests(client, then)])
        frame = client.link.next()
        if frame is None:
            self._closed(who, client)
            return
        answer, session_id, password = greeting(frame, self._mapper)
        self._now.add(who, answer)
        if session_id:
            client.session_id, client.password = session_id, password
            self._sessions[session_id] = password
            if then:
                self._read(who, client, list(then))
        else:
            self._read(who, client, [])

    def _requests(self, client: Client, ops: tuple[Op, ...]) -> bytes:
        frames = [request(op, self._next_xid(client, op), self._root, self._start.zxid) for op in ops]
        return b"".join(frames)

    def _ready(self, who: int, client: Client) -> None:
        """Make sure that a client has a connection: it resumes what it had, or opens a session."""
        if client.link is None and client.session_id:
            self._connect(who, client, handshake(session_id=client.session_id, password=client.password))
        if client.link is None:
            self._connect(who, client, handshake())

    def _lapse(self, who: int, client: Client) -> None:
        self._now.unordered = True
        if client.session_id:
            self._connect(who, client, handshake(0, 0, client.session_id, client.password))
            if client.link is not None:
                self._read(who, client, [])
                # Every ten seconds a real server closes idle connections, which may be before the session ends.
                self._side.pause(0.2)

    def _greet(self, data: bytes) -> None:
        link = self._side.connect()
        link.send([data])
        self._now.add(AUDIT, Answer("text", link.rest()))
        link.close()

    # --- reading

    def _read(self, who: int, client: Client, expected: list[Op]) -> None:
        """Read until these are answered; with none, until the server closes."""
        assert client.link is not None
        waiting = list(expected)
        while waiting or not expected:
            frame = client.link.next()
            if frame is None:
                self._closed(who, client)
                return
            op = None if frame[:4] == b"\xff\xff\xff\xff" or not waiting else waiting.pop(0)
            self._now.add(who, reply(frame, op, self._mapper))
            if op is not None and closes(op, frame):
                # Behind this reply the server closes; a ping that comes before that may be answered, or may not.
                expected = waiting = []

    def _settle(self, clients: dict[int, Client], op: Op | None = None) -> None:
        """Ask connections for a ping, and read up to its answer; the last before that is the answer to *op*."""
        live = [(who, client, client.link) for who, client in clients.items() if client.link is not None]
        ping = request(PING, PING_XID, "", 0)
        for _, _, link in live:
            link.send([ping])
        for who, client, link in live:
            frames = []
            while (frame := link.next()) is not None:
                frames.append(frame)
                if len(frame) == HEADER.size and HEADER.unpack(frame)[0] == PING_XID:
                    break
            answered = len(frames) - (1 if frame is None else 2)
            for place, each in enumerate(frames):
                self._now.add(who, reply(each, op if place == answered else None, self._mapper))
            if frame is None:
                self._closed(who, client)

    def _closed(self, who: int, client: Client) -> None:
        assert client.link is not None
        if rest := client.link.rest():
            self._now.add(who, Answer(f"half a frame {rest.hex()}", rest))
        self._now.add(who, CLOSED)
        self._drop(client)

    def _drop(self, client: Client) -> None:
        if client.link is not None:
            client.link.close()
            client.link = None
