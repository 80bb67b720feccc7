"""Makes programs: everything a client can send, right and wrong, over so few paths that it collides."""

from collections.abc import Sequence
from random import Random
from typing import Any, Final, Protocol, TypeVar

from tests.differential.steps import (
    ALICE,
    AUTH,
    BOB,
    OPEN,
    READ,
    SUPER_LOGIN,
    Acl,
    Burst,
    Bytes,
    Call,
    Drop,
    Expire,
    Greeting,
    Lapse,
    Op,
    Open,
    Resume,
    Step,
)

T = TypeVar("T")


class Pick(Protocol):
    """A source of choices: a random generator, or hypothesis."""

    def number(self, low: int, high: int) -> int:
        """A number between these, both included."""


class RandomPick:
    """Choices of a random generator."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def number(self, low: int, high: int) -> int:
        """A number between these, both included."""
        return self._random.randint(low, high)


HOT: Final = ("~/a", "~/a", "~/b", "~/a/x", "~/e")
NODES: Final = ("~/a", "~/b", "~/a/x", "~/a/y", "~/b/z", "~/a/x/1", "~/e")
NUMBERED: Final = (
    "~/a/s-0000000000",
    "~/a/s-0000000001",
    "~/a/s-0000000002",
    "~/s-0000000001",
    "~/s-0000000002",
    "~/a/0000000000",
    "~/e0000000000",
)
PREFIXES: Final = ("~/s-", "~/a/s-", "~/a/", "~/b/z/s-", "~/e", "~/nope/s-", "~/")
BAD: Final = (
    None,
    "a",
    "//",
    "//x",
    "~/",
    "~/a/",
    "~//a",
    "~/a//x",
    "~/.",
    "~/a/.",
    "~/a/./b",
    "~/a/../b",
    "~/..",
    "~/...",
    "~/.a",
    "~/a\0b",
    "~/\x01",
    "~/\x7f",
    "~/\x9f",
    "~/\xa0",
    "~/\ud800",
    "~/\ue000",
    "~/\uf900",
    "~/\ufffd",
    "~/\uffff",
    "~/\U0001f600",
    "~/a\0/x",
    "~/ ",
    "~/é",
    "~/日本",
    " ~",
    "a/b",
    "~x/a",
)
TOP: Final = ("", "/")
RESERVED: Final = ("/zookeeper", "/zookeeper/config", "/zookeeper/quota", "/zookeeper/nope", "/zookeeper/config/x")
DATA: Final = (None, b"", b"x", b"hello", b"\0\xff", b"d" * 40)
ACLS: Final[tuple[tuple[Acl, ...] | None, ...]] = (
    AUTH,
    READ,
    None,
    (),
    ((31, "digest", BOB),),
    ((31, "digest", ALICE),),
    ((1, "world", "anyone"), (31, "digest", BOB)),
    ((31, "digest", BOB), (31, "digest", BOB), (1, "world", "anyone")),
    ((31, "digest", BOB), (3, "digest", ALICE)),
    ((16, "auth", "x"), (1, "world", "anyone")),
    ((31, "auth", None),),
    ((31, "ip", "127.0.0.1"),),
    ((31, "ip", "127.0.0.0/8"),),
    ((31, "ip", "10.0.0.0/8"), (1, "world", "anyone")),
    ((31, "ip", "127.0.0.1/33"),),
    ((31, "ip", "127.0.0.1/32"),),
    ((31, "ip", "127.0.0.1/0"),),
    ((31, "ip", "127.0.0.1/-1"),),
    ((31, "ip", "127.0.0.1/x"),),
    ((31, "ip", "127.0.0.1/8/8"),),
    ((31, "ip", "300.0.0.1"),),
    ((31, "ip", "1.2.3"),),
    ((31, "ip", "localhost"),),
    ((31, "ip", "::1"),),
    ((31, "ip", ""),),
    ((31, "super", ""),),
    ((31, "super", "super"),),
    ((31, "sasl", "bob"),),
    ((31, "x509", "CN=bob"),),
    ((31, "nope", "x"),),
    ((31, "", ""),),
    ((31, "world", "nobody"),),
    ((31, "world", ""),),
    ((31, "world", None),),
    ((31, None, "anyone"),),
    ((31, None, None),),
    ((31, "digest", "bob"),),
    ((31, "digest", "bob:"),),
    ((31, "digest", ":x"),),
    ((31, "digest", "bob:x:y"),),
    ((31, "digest", "bé:\U0001f600"),),
    ((31, "digest", ""),),
    ((31, "digest", None),),
    ((0, "world", "anyone"),),
    ((64, "world", "anyone"),),
    ((-1, "world", "anyone"),),
    ((31, "world", "anyone"), (31, "nope", "x")),
    ((31, "world", "anyone"), (31, "world", "anyone")),
    *(((perms, "world", "anyone"),) for perms in (2, 4, 8, 16)),
)
STRICT: Final[tuple[tuple[Acl, ...], ...]] = (
    READ,
    ((31, "digest", BOB),),
    ((1, "world", "anyone"), (31, "digest", BOB)),
    ((16, "world", "anyone"), (15, "digest", ALICE)),
    ((31, "ip", "127.0.0.1"),),
    AUTH,
    ((31, "auth", ""), (1, "world", "anyone")),
    *(((perms, "world", "anyone"),) for perms in (17, 31 ^ 1, 31 ^ 2, 31 ^ 4, 31 ^ 8, 31 ^ 16)),
)
"""What is right, and locks somebody out."""
CREDENTIALS: Final = (
    ("digest", b"bob:secret"),
    ("digest", b"bob:secret"),
    ("digest", b"alice:pw"),
    ("digest", b"alice:pw"),
    ("digest", SUPER_LOGIN),
    ("digest", b"super:wrong"),
    ("digest", b"bob:wrong"),
    ("digest", b"nocolon"),
    ("digest", b"a:b:c"),
    ("digest", b":"),
    ("digest", b":x"),
    ("digest", b"x:"),
    ("digest", b""),
    ("digest", None),
    ("digest", "bé:ü".encode()),
    ("digest", b"\xff\xfe:\x80"),
    ("ip", b"10.0.0.1"),
    ("ip", None),
    ("world", b"anyone"),
    ("auth", b""),
    ("sasl", b"bob"),
    ("super", b"x"),
    ("x509", b"x"),
    ("nope", b"x"),
    ("", b""),
    (None, b"x"),
)
VERSIONS: Final = (-1, -1, -1, 0, 0, 1, 2, 3, -2, 2**31 - 1, -(2**31))
FLAGS: Final = (0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 9, -1)
TTLS: Final = (1000, 60_000, 1, 2**40 - 1, 2**40, 0, -1, -(2**63))
XIDS: Final = (0, -2, -3, -4, -8, 1, 77, 2**31 - 1, -(2**31))
SEQUENTIAL: Final = (2, 3, 6)
CREATES: Final = ("create", "create", "create2", "create2", "createContainer", "createTTL")
WATCHED: Final = ("exists", "getData", "getChildren", "getChildren2")
JUNK: Final = (
    b"\0\x10\0\0",  # one byte too many for a frame
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\0",
    b"\0\0\0\x07\0\0\0\x01\0\0\0",
    b"\0\0\0\x01\x01",
    b"srvr",
)
GREETINGS: Final = (
    b"ruok",
    b"isro",
    b"RUOK",
    b"nope",
    b"\0\0\0\0",
    b"\0\0\0\x08\0\0\0\0\0\0\0\0",
    b"\0\x10\0\0",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x1c" + bytes(24) + b"\0\0\0\x10",
)
RECONFIGS: Final = (
    (None, None, None, -1),
    ("server.2=127.0.0.1:1:2;3", None, None, -1),
    (None, "1", None, -1),
    (None, None, "server.1=127.0.0.1:1:2:participant;3", 7),
    ("nonsense", None, None, 0),
)
OPCODES: Final = (0, 10, 23, 99, 102, 108, 110, 999, -1, -2, -10, -12, 2**31 - 1, -(2**31))


THEMES: Final = ("", "", "rights", "watches", "multis")
FEW: Final = ("~/a", "~/a", "~/a/x", "~/b")
"""What programs with a theme are mostly about."""


class Generator:
    """Makes steps by the choices of *pick*.

    Args:
        pick: Chooses.
        theme: What most steps are about, one of `THEMES`; the first is nothing in particular.
        clients: How many clients there are.
    """

    def __init__(self, pick: Pick, theme: str = "", clients: int = 4) -> None:
        self._pick = pick
        self._theme = theme
        self._clients = clients

    def one(self, values: Sequence[T]) -> T:
        """Any of these."""
        return values[self._pick.number(0, len(values) - 1)]

    def chance(self, percent: int) -> bool:
        """Yes, so often."""
        return self._pick.number(1, 100) > 100 - percent

    def step(self) -> Step:
        """Any step."""
        who = self.who()
        if self._theme and self.chance(65):
            return Call(who, self._themed())
        kind = self._pick.number(1, 1000)
        if kind <= 880:
            return Call(who, self.op())
        if kind <= 910:
            return self._odd(who)
        if kind <= 935:
            return Burst(who, self._together(2, 5))
        if kind <= 950:
            return Drop(who)
        if kind <= 967:
            return self._resume(who)
        if kind <= 977:
            return self._open(who)
        if kind <= 988:
            return Expire(who)
        if kind <= 990:
            return Lapse(who)
        if kind <= 996:
            return Bytes(who, self.one(JUNK))
        return Greeting(self.one(GREETINGS))

    def who(self) -> int:
        """Some client; the first ones more often."""
        return min(self._pick.number(0, self._clients - 1), self._pick.number(0, self._clients - 1))

    def _together(self, low: int, high: int) -> tuple[Op, ...]:
        """Requests that are sent at once."""
        ops = [self._plain() for _ in range(self._pick.number(low, high))]
        # Behind a setACL a real server checks the writes that it has got meanwhile against the old ACL, or the new one.
        last = [op for op in ops if op.name == "setACL"][:1]
        return (*(op for op in ops if op.name != "setACL"), *last)

    def _odd(self, who: int) -> Step:
        kind = self._pick.number(0, 4)
        if kind == 0:
            # What closes the connection is known by its reply, which cannot be told from an event with xid -1.
            return Call(who, self.op(), xid=self.one(XIDS)) if self.chance(80) else Call(who, self._plain(), xid=-1)
        if kind == 1:
            return Call(who, self.op(), cut=self._pick.number(1, 24))
        if kind == 2:
            return Call(who, self.op(), extra=bytes(self._pick.number(1, 9)))
        if kind == 3:
            return Call(who, self.op(), split=self._pick.number(1, 60))
        return Call(who, self._malformed())

    def _malformed(self) -> Op:
        kind = self._pick.number(0, 5)
        opcode = self.one(range(1, 23))
        length = self.one((-1, -2, -(2**31), 2**31 - 1, 1000, 0, 1)) & 0xFFFFFFFF
        size = length.to_bytes(4, "big")
        if kind == 0:
            return Op("raw", self.one(OPCODES), b"")
        if kind == 1:
            return Op("raw", self.one((101, 105)), bytes(8) + size)
        if kind == 2:
            return Op(
                "raw", self.one((14, 22)), self.one((b"", bytes(9), b"\0\0\0\x63\0" + size, b"\0\0\0\x01\x01" + size))
            )
        if kind == 3:
            return Op("raw", self.one((100, 102)), bytes(self._pick.number(0, 12)) + size)
        return Op("raw", 5 if opcode in (10, 20) else opcode, size + b"x/")

    def _resume(self, who: int) -> Step:
        last = self.one((None, None, 0, 1, 3, 10, 10**6))
        timeout = self.one((60_000, 60_000, 60_000, 30_000, 10**6))
        password = self.one((b"right",) * 12 + (bytes(16), b"", None, b"x" * 16, b"x" * 15))
        return Resume(who, who if self.chance(70) else self.who(), timeout, last, password)

    def _open(self, who: int) -> Step:
        if self.chance(40):
            return Open(who, then=self._together(1, 3))
        return Open(
            who,
            self.one((60_000, 60_000, 60_000, 30_000, 2**31 - 1)),
            self.one((None, None, 0, 1, 10**6)),
            self.one((False, False, True, None)),
            self.one((bytes(16), bytes(16), b"", None, b"pass", bytes(32))),
            self.one((0, 0, 0, -1, 7)),
            self.one((b"", b"", b"", b"\0", b"more")),
        )

    # --- operations

    def _themed(self) -> Op:
        path = self.one(FEW)
        if self._theme == "multis":
            return self._good_multi()
        if self._theme == "watches":
            return self.one(
                (
                    Op(self.one(WATCHED), path, 1),
                    Op(self.one(WATCHED), path, 1),
                    Op("addWatch", path, self._pick.number(0, 1)),
                    Op(self.one(("checkWatches", "removeWatches")), path, self._pick.number(1, 5)),
                    Op("setData", path, self.one(DATA), -1),
                    Op("create", path, b"", OPEN, self._pick.number(0, 1)),
                    Op("delete", self.one(FEW), -1),
                    self._set_watches(),
                )
            )
        acl = self.one(STRICT) if self.chance(70) else OPEN
        return self.one(
            (
                Op("create", path, b"", acl, self._pick.number(0, 1)),
                Op("setACL", path, acl, -1),
                Op("auth", 0, *self.one(CREDENTIALS[:6])),
                Op(self.one(WATCHED), path, self._pick.number(0, 1)),
                Op(self.one(("getACL", "getAllChildrenNumber")), path),
                Op("setData", path, b"x", -1),
                Op("delete", path, -1),
                Op("create2", f"{path}/s-", b"", acl, 2),
                self._good_multi(),
            )
        )

    def _good_multi(self) -> Op:
        ops = []
        for _ in range(self._pick.number(1, 5)):
            kind = self._pick.number(0, 5)
            if kind <= 2:
                ops.append(self.good_create())
            else:
                path = self.one(FEW)
                ops.append(self.one((Op("setData", path, b"m", -1), Op("delete", path, -1), Op("check", path, -1))))
        return Op("multi", tuple(ops))

    def op(self) -> Op:
        """Any request."""
        kind = self._pick.number(1, 100)
        if kind <= 89:
            return self._plain()
        if kind <= 93:
            scheme, credential = self.one(CREDENTIALS)
            return Op("auth", self.one((0, 0, 0, 7)), scheme, credential)
        if kind <= 94:
            return Op("check", self.path(), self.version())
        if kind <= 95:
            return Op("reconfig", *self.one(RECONFIGS))
        if kind <= 96:
            return Op("sasl", self.one((b"", b"x", None)))
        if kind <= 97:
            return Op("closeSession")
        return self._set_watches()

    def _plain(self) -> Op:
        """A request that leaves the connection as it is, and is answered in its turn."""
        kind = self._pick.number(1, 100)
        if kind <= 28:
            return self._create()
        if kind <= 32:
            return Op("delete", self.path(), self.version())
        if kind <= 40:
            return self._set_data()
        if kind <= 58:
            return Op(self.one(WATCHED), self.watchable(), self.one((0, 1, 1, 1, 2)))
        if kind <= 68:
            return self._add_watch()
        if kind <= 73:
            types = (1, 1, 2, 2, 3, 3, 4, 5) if self.chance(90) else (0, 6, -1)
            return Op(self.one(("checkWatches", "removeWatches")), self.watchable(), self.one(types))
        if kind <= 77:
            return self._multi()
        if kind <= 79:
            return self._multi_read()
        if kind <= 82:
            return self._set_acl()
        if kind <= 86:
            return Op("getACL", self.path())
        if kind <= 88:
            return Op("sync", self.path())
        if kind <= 91:
            return Op("getEphemerals", self.one((None, "", "/", " ", "~", "~/e", "~/a/", "nope")))
        if kind <= 94:
            return Op("getAllChildrenNumber", self.path())
        if kind <= 96:
            return Op("whoAmI")
        if kind <= 97:
            return Op("ping")
        return self._set_watches()

    def path(self) -> Any:
        """Any path, mostly one that may be there."""
        kind = self._pick.number(1, 100)
        if kind <= 52:
            return self.one(HOT)
        if kind <= 80:
            return self.one(NODES)
        if kind <= 86:
            return "~"
        if kind <= 91:
            return self.one(NUMBERED)
        if kind <= 93:
            return self.one(RESERVED)
        if kind <= 95:
            return self.one(TOP)
        return self.one(BAD)

    def watchable(self) -> Any:
        """Any path, mostly one of so few that watches meet there."""
        return self.one(("~", "~/a", "~/a", "~/b")) if self.chance(55) else self.path()

    def _changeable(self) -> Any:
        """A path that may be changed: what others share stays as it is."""
        path = self.path()
        return path if path not in (*TOP, *RESERVED) else "~/b"

    def acl(self) -> Any:
        """An ACL, mostly the open one."""
        return OPEN if self.chance(65) else self.one(STRICT if self.chance(60) else ACLS)

    def _create(self) -> Op:
        if self.chance(55):
            return self.good_create()
        name = self.one(CREATES)
        flags = self.one(FLAGS)
        if name in ("createContainer", "createTTL") and self.chance(70):
            flags = 4 if name == "createContainer" else self.one((5, 6))
        if flags in SEQUENTIAL:
            path = self.one(PREFIXES) if self.chance(85) else self._changeable()
            path = path if path != "~" else "~/"  # its number would be that of the server's root
        else:
            path = self.path()
            path = path if path not in RESERVED[3:] else RESERVED[0]
        fields = [path, self.one(DATA), self.acl(), flags]
        if name != "createTTL":
            return Op(name, *fields)
        # A negative TTL with flags of another kind kills a real server (`known.py`).
        return Op(name, *fields, self.one(TTLS) if flags in (5, 6) else self.one((0, 1, 1000)))

    def good_create(self) -> Op:
        """A create in which nothing is wrong but that a node may be there, or its parent may not."""
        flags = self.one((0, 0, 0, 1, 1, 2, 3, 4, 5, 6))
        path = self.one(PREFIXES) if flags in SEQUENTIAL else self.one(HOT if self.chance(60) else NODES)
        fields = [path, self.one(DATA), OPEN, flags]
        if flags == 4:
            return Op("createContainer", *fields)
        if flags in (5, 6):
            return Op("createTTL", *fields, 60_000)
        return Op(self.one(("create", "create2")), *fields)

    def version(self) -> int:
        """A version, mostly one that fits."""
        return -1 if self.chance(60) else self.one(VERSIONS)

    def _set_data(self) -> Op:
        return Op("setData", self._changeable(), self.one(DATA), self.version())

    def _set_acl(self) -> Op:
        path = self._changeable()
        acl = OPEN if path == "~" and self.chance(80) else self.acl()
        return Op("setACL", path, acl, self.version())

    def _add_watch(self) -> Op:
        mode = self.one((0, 1) if self.chance(90) else (2, -1))
        path = self.watchable()
        # A real server cannot close a connection that has a recursive watch on null (`known.py`).
        return Op("addWatch", path if path is not None else "a", mode)

    def _multi(self) -> Op:
        ops = []
        for _ in range(self._pick.number(0, 5)):
            kind = self._pick.number(1, 100)
            if kind <= 45:
                ops.append(self.good_create() if self.chance(70) else self._create())
            elif kind <= 65:
                ops.append(self._set_data())
            elif kind <= 82:
                ops.append(Op("delete", self.path(), -1 if self.chance(70) else self.version()))
            elif kind <= 97:
                ops.append(Op("check", self.watchable(), -1 if self.chance(70) else self.version()))
            else:
                ops.append(self.one((Op("getData", "~/a", 0), Op("setACL", "~/a", OPEN, -1), Op("sync", "~"))))
        return Op("multi", tuple(ops))

    def _multi_read(self) -> Op:
        ops = []
        for _ in range(self._pick.number(0, 5)):
            if self.chance(95):
                ops.append(Op(self.one(("getData", "getChildren")), self.path(), self.one((0, 1))))
            else:
                ops.append(self.one((Op("delete", "~/a", -1), Op("exists", "~/a", 0), Op("getChildren2", "~", 0))))
        return Op("multiRead", tuple(ops))

    def _set_watches(self) -> Op:
        name = self.one(("setWatches", "setWatches2"))
        zxid = self.one((None, 0, 1, 2, 5, 10, 20, 10**6))
        paths = [self._paths() for _ in range(3 if name == "setWatches" else 5)]
        for place in range(3, len(paths)):
            paths[place] = paths[place] and tuple(path for path in paths[place] if path is not None)  # as `_add_watch`
        return Op(name, zxid, *paths)

    def _paths(self) -> Any:
        if self._pick.number(1, 300) == 300:
            return None
        return tuple(self.path() for _ in range(self._pick.number(0, 3)))


def random_program(random: Random, length: int) -> list[Step]:
    """A program of a random generator; many begin with a few nodes, so that there is something to work on."""
    generator = Generator(RandomPick(random), random.choice(THEMES))
    first = [Call(0, Op("create", path, b"", OPEN, 0)) for path in NODES[: random.randint(0, 5)]]
    return [*first, *(generator.step() for _ in range(length - len(first)))]
