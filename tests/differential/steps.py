"""The language of programs: what clients do, as plain data that prints as Python and can be run on any server.

Requests are encoded here by hand, because `zk_sansio.wire` refuses to write what is wrong, and half of what these
programs send is. What it does write is compared with this (`test_language.py`).

A path that begins with ``~`` is below the program's own root.
"""

import struct
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, TypeAlias

from tests.support.settings import SUPER
from zk_sansio.acl import digest_id

Acl: TypeAlias = tuple[int, str | None, str | None]

LAYOUTS: Final[dict[str, tuple[int, str]]] = {
    "create": (1, "sbAi"),
    "delete": (2, "si"),
    "exists": (3, "sz"),
    "getData": (4, "sz"),
    "setData": (5, "sbi"),
    "getACL": (6, "s"),
    "setACL": (7, "sAi"),
    "getChildren": (8, "sz"),
    "sync": (9, "s"),
    "ping": (11, ""),
    "getChildren2": (12, "sz"),
    "check": (13, "si"),
    "multi": (14, "M"),
    "create2": (15, "sbAi"),
    "reconfig": (16, "sssl"),
    "checkWatches": (17, "si"),
    "removeWatches": (18, "si"),
    "createContainer": (19, "sbAi"),
    "createTTL": (21, "sbAil"),
    "multiRead": (22, "M"),
    "auth": (100, "isb"),
    "setWatches": (101, "ZSSS"),
    "sasl": (102, "b"),
    "getEphemerals": (103, "s"),
    "getAllChildrenNumber": (104, "s"),
    "setWatches2": (105, "ZSSSSS"),
    "addWatch": (106, "si"),
    "whoAmI": (107, ""),
    "closeSession": (-11, ""),
}
"""Opcode and fields: s string, b buffer, i int, l long, z boolean, A ACL, S strings, M operations, Z a zxid."""

PING_XID: Final = -2
AUTH_XID: Final = -4

OPEN: Final[tuple[Acl, ...]] = ((31, "world", "anyone"),)
READ: Final[tuple[Acl, ...]] = ((1, "world", "anyone"),)
AUTH: Final[tuple[Acl, ...]] = ((31, "auth", ""),)
BOB: Final = digest_id("bob", "secret").id
ALICE: Final = digest_id("alice", "pw").id
SUPER_LOGIN: Final = ":".join(SUPER).encode()


class Op:
    """One request; `Op("raw", opcode, body)` is one of any opcode and any body."""

    __slots__ = ("args", "name")

    def __init__(self, name: str, *args: Any) -> None:
        self.name = name
        self.args = args

    def __repr__(self) -> str:
        return f"Op({', '.join(map(repr, (self.name, *self.args)))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Op) and (self.name, self.args) == (other.name, other.args)

    def __hash__(self) -> int:
        return hash((self.name, repr(self.args)))

    @property
    def opcode(self) -> int:
        """The request's type on the wire."""
        return int(self.args[0]) if self.name == "raw" else LAYOUTS[self.name][0]

    @property
    def path(self) -> str | None:
        """The path, if that is the first field."""
        if self.name == "raw":
            return "" if self.args[1][:4] == bytes(4) else None
        return self.args[0] if LAYOUTS[self.name][1].startswith("s") else None

    def body(self, root: str, zxid: int) -> bytes:
        """The record; *zxid* is what relative zxids are counted from."""
        if self.name == "raw":
            return bytes(self.args[1])
        writer = Writer(root, zxid)
        for kind, value in zip(LAYOUTS[self.name][1], self.args, strict=True):
            writer.put(kind, value)
        return b"".join(writer.parts)


class Writer:
    """Writes fields by their letters (see `LAYOUTS`)."""

    def __init__(self, root: str, zxid: int) -> None:
        self.parts: list[bytes] = []
        self._root = root
        self._zxid = zxid

    def put(self, kind: str, value: Any) -> None:
        """Write one field; None is null, and for a zxid it is 0."""
        match kind:
            case "s":
                self._buffer(None if value is None else self._text(value))
            case "b":
                self._buffer(value)
            case "i":
                self._pack(">i", value)
            case "l":
                self._pack(">q", value)
            case "z":
                self._pack(">b", value)
            case "Z":
                self._pack(">q", 0 if value is None else self._zxid + value)
            case "S":
                self._count(value)
                for item in value or ():
                    self.put("s", item)
            case "A":
                self._count(value)
                for perms, scheme, name in value or ():
                    self._pack(">i", perms)
                    self.put("s", scheme)
                    self.put("s", name)
            case "M":
                for op in value:
                    self._pack(">ibi", op.opcode, 0, -1)
                    self.parts.append(op.body(self._root, self._zxid))
                self._pack(">ibi", -1, 1, -1)
            case _:
                raise ValueError(f"{kind} is not the letter of a field")

    def _text(self, value: str) -> bytes:
        text = self._root + value[1:] if value.startswith("~") else value
        return text.encode("utf-8", "surrogatepass")

    def _count(self, value: Sequence[Any] | None) -> None:
        self._pack(">i", -1 if value is None else len(value))

    def _buffer(self, raw: bytes | None) -> None:
        self._pack(">i", -1 if raw is None else len(raw))
        self.parts.append(raw or b"")

    def _pack(self, layout: str, *values: int) -> None:
        self.parts.append(struct.pack(layout, *values))


class _Short:
    """Prints only the fields that are not as usual."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            if field.default is not MISSING
            else repr(getattr(self, field.name))
            for field in fields(self)  # type: ignore[arg-type]
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, slots=True, repr=False)
class Call(_Short):
    """One request of a client, and its reply.

    Attributes:
        who: The client. One that has no connection resumes its session first, or opens one.
        op: The request.
        xid: Its xid; None for the next number.
        cut: So many bytes are missing at the end of the record.
        extra: Bytes behind the record.
        split: The frame is sent in two pieces, of which the first has so many bytes.
    """

    who: int
    op: Op
    xid: int | None = None
    cut: int = 0
    extra: bytes = b""
    split: int = 0


@dataclass(frozen=True, slots=True)
class Burst:
    """Several requests of a client, sent at once."""

    who: int
    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Open(_Short):
    """A client opens a new session; what it had is dropped, the old session lives on.

    Attributes:
        who: The client.
        timeout_ms: The session timeout to ask for; the server's minimum is never short here.
        last_zxid: The newest zxid that it claims to have seen, relative to the program's start; None for 0.
        read_only: Whether a read-only server would do; None leaves that byte out, as clients before 3.4 do.
        password: What a new session sends in its place.
        version: The version of the protocol.
        extra: Bytes behind the record.
        then: Requests that are sent with the handshake, without waiting for its answer.
    """

    who: int
    timeout_ms: int = 60_000
    last_zxid: int | None = None
    read_only: bool | None = False
    password: bytes | None = bytes(16)
    version: int = 0
    extra: bytes = b""
    then: tuple[Op, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Resume(_Short):
    """A client takes over a session on a new connection; its own connection is dropped.

    Attributes:
        who: The client.
        owner: Whose session it is; its own, or that of another client, which is cut off then.
        timeout_ms: The session timeout to ask for.
        last_zxid: As in `Open`.
        password: In place of the right one.
    """

    who: int
    owner: int
    timeout_ms: int = 60_000
    last_zxid: int | None = None
    password: bytes | None = b"right"


@dataclass(frozen=True, slots=True)
class Drop:
    """A client's connection is lost; its session lives on."""

    who: int


@dataclass(frozen=True, slots=True)
class Expire:
    """A client's session ends behind its back."""

    who: int


@dataclass(frozen=True, slots=True)
class Lapse:
    """A client resumes its session with the shortest timeout, and keeps silent until the server ends it."""

    who: int


@dataclass(frozen=True, slots=True)
class Bytes:
    """A client sends these bytes, which are no request; the server is expected to close."""

    who: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Greeting:
    """Somebody connects, sends these bytes in place of a handshake, and reads to the end."""

    data: bytes


Step: TypeAlias = Call | Burst | Open | Resume | Drop | Expire | Lapse | Bytes | Greeting
Program: TypeAlias = Sequence[Step]


def frame(payload: bytes) -> bytes:
    """Put the length in front."""
    return struct.pack(">i", len(payload)) + payload


def request(op: Op, xid: int, root: str, zxid: int, *, cut: int = 0, extra: bytes = b"") -> bytes:
    """The whole frame of a request."""
    body = op.body(root, zxid)
    return frame(struct.pack(">ii", xid, op.opcode) + body[: max(len(body) - cut, 0)] + extra)


def handshake(
    zxid: int = 0,
    timeout_ms: int = 60_000,
    session_id: int = 0,
    password: bytes | None = bytes(16),
    read_only: bool | None = False,
    *,
    version: int = 0,
    extra: bytes = b"",
) -> bytes:
    """The whole first frame."""
    writer = Writer("", 0)
    for kind, value in zip("ililb", (version, zxid, timeout_ms, session_id, password), strict=True):
        writer.put(kind, value)
    if read_only is not None:
        writer.put("z", read_only)
    return frame(b"".join([*writer.parts, extra]))


def show(program: Program) -> str:
    """Print a program as Python that can be kept."""
    lines = "".join(f"    {step!r},\n" for step in program)
    return f"PROGRAM = [\n{lines}]"
