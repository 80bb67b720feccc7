"""Programs made by hand: limits and combinations that random programs do not hit upon."""

from typing import Final

from tests.differential.steps import (
    AUTH,
    OPEN,
    SUPER_LOGIN,
    Burst,
    Bytes,
    Call,
    Drop,
    Greeting,
    Op,
    Open,
    Program,
    Resume,
    Step,
    frame,
    handshake,
)

LIMIT: Final = 1_048_575
"""Bytes of the largest frame."""
BODY: Final = 8 + 4 + len("/d0000000") + 4 + 4
"""Bytes of the frame of a setData of the root, apart from the data."""


WHOLE: Final = (
    Op("create", "~/a", b"x", OPEN, 0),
    Op("create2", "~/a", b"x", OPEN, 1),
    Op("createContainer", "~/a", None, OPEN, 4),
    Op("createTTL", "~/a", b"", OPEN, 5, 60_000),
    Op("delete", "~/a", -1),
    Op("exists", "~", 1),
    Op("getData", "~", 1),
    Op("setData", "~", b"x", -1),
    Op("getACL", "~"),
    Op("setACL", "~", OPEN, -1),
    Op("getChildren", "~", 1),
    Op("getChildren2", "~", 1),
    Op("sync", "~"),
    Op("multi", (Op("create", "~/a", b"x", OPEN, 0), Op("setData", "~/a", b"", 0), Op("delete", "~/a", 1))),
    Op("multiRead", (Op("getData", "~", 0), Op("getChildren", "~", 0))),
    Op("reconfig", "server.2=a:1:2;3", None, None, -1),
    Op("checkWatches", "~", 1),
    Op("removeWatches", "~", 3),
    Op("setWatches", 1, ("~/a",), ("~/b",), ("~",)),
    Op("setWatches2", 1, ("~/a",), ("~/b",), ("~",), ("~/a",), ("~",)),
    Op("getEphemerals", "~"),
    Op("getAllChildrenNumber", "~"),
    Op("addWatch", "~", 1),
    Op("auth", 0, "digest", b"bob:secret"),
    Op("sasl", b"x"),
)


def _cut_short(op: Op) -> list[Step]:
    return [Call(0, op, cut=cut) for cut in range(len(op.body("/d0000000", 0)), -1, -1)]


def _largest(size: int) -> Call:
    return Call(0, Op("setData", "~", b"x" * (size - BODY), -1))


def _all_kinds(path: str) -> list[Step]:
    """Watches of all kinds at a path, removed one by one; and what each of them makes of a change."""
    kinds = (
        Op("exists", path, 1),
        Op("getData", path, 1),
        Op("getChildren", path, 1),
        Op("addWatch", path, 0),
        Op("addWatch", path, 1),
    )
    steps: list[Step] = []
    for first in kinds:
        for second in kinds:
            for kind in (1, 2, 3, 4, 5):
                steps += [
                    Call(0, first),
                    Call(0, second),
                    Call(0, Op("removeWatches", path, kind)),
                    *(Call(0, Op("checkWatches", path, each)) for each in (1, 2, 3, 4, 5)),
                    Call(1, Op("setData", path, b"", -1)),
                    Call(1, Op("create", f"{path}/k", b"", OPEN, 0)),
                    Call(1, Op("delete", f"{path}/k", -1)),
                    Call(0, Op("removeWatches", path, 3)),
                ]
    return steps


PROGRAMS: Final[dict[str, Program]] = {
    **{f"{op.name} cut short": _cut_short(op) for op in WHOLE},
    "largest frame": [_largest(LIMIT), Call(0, Op("exists", "~", 0)), _largest(LIMIT + 1)],
    "frame without a header": [Call(0, Op("ping")), Bytes(0, b"\0\0\0\x07\0\0\0\x01\0\0\0")],
    "all kinds of watches": [Call(1, Op("create", "~/a", b"", OPEN, 0)), *_all_kinds("~/a")],
    "own events come before the reply": [
        Call(0, Op("addWatch", "~", 1)),
        Call(
            0,
            Op(
                "multi",
                (
                    Op("create", "~/a", b"", OPEN, 0),
                    Op("create2", "~/a/x", b"", OPEN, 1),
                    Op("setData", "~/a", b"x", 0),
                    Op("delete", "~/a/x", -1),
                    Op("check", "~/a", 1),
                    Op("create", "~/a/s-", b"", OPEN, 2),
                    Op("createContainer", "~/c", b"", OPEN, 4),
                    Op("createTTL", "~/t", b"", OPEN, 5, 60_000),
                ),
            ),
        ),
    ],
    "multi fails at each place": [
        Call(0, Op("multi", (*[Op("check", "~", -1)] * place, Op("check", "~", 9), Op("check", "~", -1))))
        for place in range(4)
    ],
    "who may do what": [
        Call(0, Op("create", "~/a", b"", AUTH, 0)),
        Call(0, Op("auth", 0, "digest", b"bob:secret")),
        Call(0, Op("auth", 0, "digest", b"alice:pw")),
        Call(0, Op("create", "~/a", b"", AUTH, 0)),
        *(
            Call(who, op)
            for who in (0, 1)
            for op in (
                Op("getACL", "~/a"),
                Op("getData", "~/a", 0),
                Op("exists", "~/a", 1),
                Op("getChildren", "~/a", 0),
                Op("getAllChildrenNumber", "~/a"),
                Op("setData", "~/a", b"", -1),
                Op("create", "~/a/x", b"", OPEN, 0),
                Op("delete", "~/a/x", -1),
                Op("setACL", "~/a", AUTH, -1),
                Op("multi", (Op("check", "~/a", -1),)),
                Op("multiRead", (Op("getData", "~/a", 0), Op("getChildren", "~/a", 0))),
            )
        ),
        Call(1, Op("auth", 0, "digest", SUPER_LOGIN)),
        Call(1, Op("getACL", "~/a")),
        Call(1, Op("whoAmI")),
        Call(1, Op("create", "~/b", b"", AUTH, 0)),
        Call(1, Op("getACL", "~/b")),
    ],
    "watches set anew": [
        Call(0, Op("create", "~/a", b"", OPEN, 0)),
        Call(0, Op("create", "~/b", b"", OPEN, 0)),
        Call(0, Op("addWatch", "~", 1)),
        Drop(0),
        Call(1, Op("setData", "~/a", b"x", -1)),
        Call(1, Op("create", "~/b/x", b"", OPEN, 0)),
        Resume(0, 0, last_zxid=4),
        Call(0, Op("setWatches2", 4, ("~/a", "~/b", "~/no"), ("~/a", "~/no"), ("~/a", "~/b"), ("~/a",), ("~",))),
        Call(1, Op("setData", "~/a", b"y", -1)),
        Call(1, Op("create", "~/no", b"", OPEN, 0)),
        Call(1, Op("delete", "~/b/x", -1)),
    ],
    "session taken over": [
        Call(0, Op("create", "~/e", b"", OPEN, 1)),
        Call(0, Op("addWatch", "~", 1)),
        Resume(1, 0),
        Call(0, Op("getEphemerals", None)),
        Resume(2, 1, password=b"wrong password!!"),
        Call(1, Op("getEphemerals", None)),
        Resume(2, 1, timeout_ms=1),
        Call(2, Op("closeSession")),
        Call(0, Op("exists", "~/e", 0)),
    ],
    "zxid ahead": [Open(0, last_zxid=0), Open(1, last_zxid=1_000_000), Resume(0, 0, last_zxid=1_000_000)],
    "handshakes cut short": [Greeting(frame(handshake()[4 : 4 + length])) for length in range(0, 44, 3)],
    "handshakes with odd passwords": [
        Greeting(frame(handshake()[4:28] + length + bytes(17)))
        for length in (b"\xff\xff\xff\xfe", b"\x80\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\1\0")
    ],
    "requests behind the handshake": [
        Open(0, then=(Op("create", "~/a", b"", OPEN, 1), Op("whoAmI"), Op("getEphemerals", None))),
        Open(1, then=(Op("addWatch", "~", 1), Op("setData", "~", b"x", -1), Op("closeSession"))),
    ],
    "everything at once": [
        Burst(
            0,
            (
                Op("create", "~/a", b"", OPEN, 0),
                Op("exists", "~/a", 1),
                Op("setData", "~/a", b"x", 0),
                Op("multi", (Op("create", "~/a/x", b"", OPEN, 2), Op("delete", "~/nope", -1))),
                Op("create2", "~/a/x", b"", OPEN, 2),
                Op("create2", "~/a/x", b"", OPEN, 3),
                Op("getChildren2", "~/a", 0),
                Op("delete", "~/a/x0000000000", 1),
                Op("delete", "~/a/x0000000000", 0),
                Op("getChildren2", "~/a", 0),
            ),
        )
    ],
}
