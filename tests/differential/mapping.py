"""Replies with what differs between any two runs taken out: zxids, times, session ids and passwords.

A reply is walked field by field; every byte of it ends up in the result, mapped or as it is.

- A zxid counts from the program's start, so each write has to use up as many of them on every server.
- A time is that of its transaction: it has to be the same wherever that transaction's zxid stands, and times grow
  with zxids.
- A session is the number in the order of their first appearance, on every server; its password has to stay the same.
- What has no order is sorted: names of children, paths of ephemeral nodes, identities of a connection, which a real
  server keeps in a hash set. So the entries of an ACL that an ``auth`` was replaced by have none either: neighbours of
  the scheme digest with the same permissions.
"""

import struct
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from tests.differential.steps import Op

STAT: Final = struct.Struct(">qqqqiiiqiiq")
HEADER: Final = struct.Struct(">iqi")
OLD: Final = -7_000_000
"""Stands for any zxid and any time from before the program, other than 0 and -1."""

REPLIES: Final[dict[int, str]] = {
    1: "s",
    3: "T",
    4: "bT",
    5: "T",
    6: "aT",
    7: "T",
    8: "n",
    9: "s",
    12: "nT",
    14: "R",
    15: "sT",
    16: "bT",
    19: "sT",
    21: "sT",
    22: "R",
    102: "b",
    103: "n",
    104: "D",
    106: "i",
    107: "w",
}
"""Fields by opcode: as in `steps.LAYOUTS`, and T a Stat, a an ACL, n names, w identities, R results, D a count."""
WITH_ERROR: Final = {22: "R", 102: "b"}
"""Opcodes whose reply may have a body though it has an error."""
RESULTS: Final = {1: "s", 2: "", 4: "bT", 5: "T", 8: "n", 13: "", 15: "sT", -1: "i"}
EVENTS: Final = {1: "created", 2: "deleted", 3: "changed", 4: "children"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Something that a client received.

    Attributes:
        text: What it is, to be read.
        raw: All its bytes, with what is mapped in its place.
        event: Whether it is a notification.
    """

    text: str
    raw: bytes = b""
    event: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True)
class Start:
    """The state of a server before a program: what its root looks like."""

    zxid: int
    root_cversion: int
    root_children: int
    root_descendants: int


class Mapper:
    """What a run has met so far."""

    def __init__(self, start: Start, root: str) -> None:
        self.start = start
        self.root = root
        self.sessions: dict[int, int] = {}
        self.passwords: dict[int, bytes] = {}
        self.times: dict[int, int] = {}

    def zxid(self, value: int) -> int:
        """Count from the program's start."""
        if value <= 0:
            return value
        return value - self.start.zxid if value > self.start.zxid else OLD

    def time(self, zxid: int, value: int) -> int:
        """0 if that is the time of that transaction."""
        if zxid <= self.start.zxid:
            return OLD if value else 0
        return 0 if self.times.setdefault(zxid, value) == value else 1

    def session(self, value: int) -> int:
        """Number sessions in the order of their appearance."""
        if not value:
            return 0
        return self.sessions.setdefault(value, len(self.sessions) + 1)

    def password(self, session_id: int, value: bytes | None) -> bytes:
        """The same text for the password that the session had before."""
        if not session_id or value is None or len(value) != 16:
            return repr(value).encode()
        return b"its own" if self.passwords.setdefault(session_id, value) == value else b"another"

    @property
    def times_in_order(self) -> bool:
        """Whether later transactions have later times."""
        found = [time for _, time in sorted(self.times.items())]
        return found == sorted(found)


class _Short(Exception):
    """The frame has no room for the next field."""


class _Walk:
    """Reads a frame, and writes it again with what is mapped, and as text."""

    def __init__(self, frame: bytes, mapper: Mapper, op: Op | None) -> None:
        self.frame = frame
        self.at = 0
        self.raw: list[bytes] = []
        self.text: list[str] = []
        self._mapper = mapper
        self._path = op.path if op else None
        self._inner = op.args[0] if op and op.name == "multiRead" else ()

    def take(self, layout: str) -> int:
        """Read a number."""
        size = struct.calcsize(layout)
        if self.at + size > len(self.frame):
            raise _Short
        (value,) = struct.unpack_from(layout, self.frame, self.at)
        self.at += size
        return int(value)

    def number(self, layout: str) -> int:
        """Copy a number."""
        value = self.take(layout)
        self.raw.append(struct.pack(layout, value))
        return value

    def buffer(self) -> bytes | None:
        """Read a buffer or a string."""
        size = self.take(">i")
        if size < 0:
            return None if size == -1 else b"?%d" % size
        if self.at + size > len(self.frame):
            raise _Short
        value = self.frame[self.at : self.at + size]
        self.at += size
        return value

    def put(self, value: bytes | None) -> None:
        """Write a buffer."""
        self.raw.append(struct.pack(">i", -1 if value is None else len(value)) + (value or b""))

    def zxid(self) -> int:
        """Map a zxid."""
        value = self._mapper.zxid(self.take(">q"))
        self.raw.append(struct.pack(">q", value))
        return value

    def fields(self, letters: str) -> None:
        """Map fields by their letters."""
        for letter in letters:
            getattr(self, f"_{letter}")()

    def _i(self) -> None:
        self.text.append(str(self.number(">i")))

    def _s(self) -> None:
        value = self.buffer()
        self.put(value)
        self.text.append(self.show(value))

    def _b(self) -> None:
        value = self.buffer()
        self.put(value)
        self.text.append(repr(value))

    def _n(self) -> None:
        names = sorted(self._vector())
        self.text.append("[" + ", ".join(self.show(name) for name in names) + "]")

    def _vector(self) -> list[bytes]:
        count = self.number(">i")
        names = [self.buffer() or b"" for _ in range(count)]
        names.sort()
        for name in names:
            self.put(name)
        return names

    def _w(self) -> None:
        count = self.number(">i")
        pairs = sorted(((self.buffer(), self.buffer()) for _ in range(count)), key=repr)
        for pair in pairs:
            for part in pair:
                self.put(part)
        self.text.append(repr(pairs))

    def _a(self) -> None:
        count = self.number(">i")
        entries: list[tuple[int, bytes | None, bytes | None]] = []
        for _ in range(count):
            entries.append((self.take(">i"), self.buffer(), self.buffer()))
        entries = [
            entry
            for (_, scheme), run in groupby(entries, key=lambda entry: entry[:2])
            for entry in (sorted(run, key=repr) if scheme == b"digest" else run)
        ]
        for perms, scheme, name in entries:
            self.raw.append(struct.pack(">i", perms))
            self.put(scheme)
            self.put(name)
        self.text.append(repr(entries))

    def _D(self) -> None:  # noqa: N802 - the letter of a field
        value = self.take(">i") - (self._mapper.start.root_descendants if self._at_top else 0)
        self.raw.append(struct.pack(">i", value))
        self.text.append(str(value))

    @property
    def _at_top(self) -> bool:
        return self._path in ("", "/")

    def _T(self) -> None:  # noqa: N802 - the letter of a field
        if self.at + STAT.size > len(self.frame):
            raise _Short
        values = list(STAT.unpack_from(self.frame, self.at))
        self.at += STAT.size
        czxid, mzxid, ctime, mtime, _, _, _, owner, _, _, pzxid = values
        mapper = self._mapper
        values[0], values[1], values[10] = map(mapper.zxid, (czxid, mzxid, pzxid))
        values[2] = mapper.time(czxid, ctime)
        values[3] = mapper.time(mzxid, mtime)
        values[7] = mapper.session(owner)
        if self._at_top:
            values[5] -= mapper.start.root_cversion
            values[9] -= mapper.start.root_children
        self.raw.append(STAT.pack(*values))
        names = ("c", "m", "ctime", "mtime", "v", "cv", "av", "owner", "len", "kids", "p")
        shown = [f"{name}={value}" for name, value in zip(names, values, strict=True) if value]
        self.text.append(f"<{' '.join(shown)}>")

    def _R(self) -> None:  # noqa: N802 - the letter of a field
        paths = [op.path for op in self._inner]
        while True:
            kind, done, code = self.number(">i"), self.number(">b"), self.number(">i")
            if done:
                self.text.append(f"end({kind},{code})")
                return
            self.text.append(f"{kind}:{code}")
            if kind not in RESULTS:
                raise _Short
            self._path = paths.pop(0) if paths else None
            self.fields(RESULTS[kind])

    def show(self, value: bytes | None) -> str:
        """Print a string, with the root as ``~``."""
        if value is None:
            return "null"
        text = value.decode("utf-8", "backslashreplace")
        root = self._mapper.root
        return "~" + text[len(root) :] if text.startswith(root) else text or "''"

    def answer(self, *, event: bool = False) -> Answer:
        """All of it, with what is left of the frame."""
        if rest := self.frame[self.at :]:
            self.raw.append(rest)
            self.text.append(f"+{rest.hex()}")
        return Answer(" ".join(self.text), b"".join(self.raw), event)


def reply(frame: bytes, op: Op | None, mapper: Mapper) -> Answer:
    """Map a reply, or a notification where *op* is None."""
    walk = _Walk(frame, mapper, op)
    try:
        xid = walk.number(">i")
        zxid = walk.zxid()
        code = walk.number(">i")
        walk.text.append(f"xid={xid} zxid={zxid} err={code}")
        if op is None and xid == -1:
            kind = walk.number(">i")
            state = walk.number(">i")
            path = walk.buffer()
            walk.put(path)
            walk.text = [f"event {EVENTS.get(kind, kind)} {walk.show(path)} (state={state} zxid={zxid} err={code})"]
            return walk.answer(event=True)
        if op is not None:
            walk.fields((WITH_ERROR if code else REPLIES).get(op.opcode, "") if walk.at < len(frame) else "")
    except _Short:
        walk.text.append("?")
    return walk.answer()


def greeting(frame: bytes, mapper: Mapper) -> tuple[Answer, int, bytes]:
    """Map the reply to a handshake; also tell the session's id and password, 0 if there is none."""
    walk = _Walk(frame, mapper, None)
    session_id, password = 0, b""
    try:
        version = walk.number(">i")
        timeout = walk.number(">i")
        session_id = walk.take(">q")
        session = mapper.session(session_id)
        walk.raw.append(struct.pack(">q", session))
        password = walk.buffer() or b""
        shown = mapper.password(session_id, password)
        walk.put(shown)
        walk.text.append(f"session {session} version={version} timeout={timeout} password={shown.decode()}")
        session_id = session_id if timeout > 0 else 0
    except _Short:
        walk.text.append("?")
    return walk.answer(), session_id, password
