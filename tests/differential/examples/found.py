"""Programs on which the in-memory server once differed from a real one."""

from typing import Final

from tests.differential.steps import OPEN, Call, Expire, Greeting, Lapse, Op, Open, Program, Resume

PROGRAMS: Final[dict[str, Program]] = {
    "password of another length": [
        Open(0, password=None),
        Open(1, password=b""),
        Open(2, password=b"pass"),
        Open(3, password=bytes(32), read_only=None),
        Resume(1, 1, password=b"x" * 15),
    ],
    "null list of watches": [
        Call(1, Op("setWatches", 0, ("~/x",), None, ("~/a",))),
        Call(1, Op("setWatches", 0, None, ("~/x",), ("~/a",))),
        Call(1, Op("setWatches2", 0, ("~/x",), (), (), None, ())),
    ],
    "null path in a list of watches": [Call(3, Op("setWatches", 2, ("~/e",), ("~/a",), (None, "~/b")))],
    "null SASL token": [Call(0, Op("sasl", None)), Call(0, Op("sasl", b"x"))],
    "check alone": [
        Call(1, Op("check", "~", -1)),
        Call(1, Op("check", "~", 7)),
        Call(1, Op("exists", "~", 0)),
    ],
    "null scheme": [Call(0, Op("auth", 0, None, b"x")), Call(0, Op("create", "~/a", b"", ((31, None, "x"),), 0))],
    "characters above U+FFFF": [
        Call(0, Op("create", "~/a", None, ((31, "digest", "b:\U0001f600"), *OPEN), 0)),
        Call(0, Op("getACL", "~/a")),
        Call(0, Op("setWatches", 1, ("~/\U0001f600",), (), ())),
        Call(0, Op("addWatch", "~/\U0001f600", 0)),
        Call(0, Op("sync", "~/\U0001f600")),
    ],
    "greetings": [Greeting(b"isro"), Greeting(b"ruok"), Greeting(b"RUOK"), Greeting(b"nope")],
    "notification or reply": [
        Call(0, Op("create", "~/a", b"1" * 300, OPEN, 0)),
        Call(0, Op("getData", "~/a", 1), xid=-1),
        Call(0, Op("setData", "~/a", b"2", -1), xid=-1),
    ],
    "sessions that end": [
        Call(0, Op("addWatch", "~", 1)),
        *(Call(1, Op("create2", f"~/e{number}", b"", OPEN, 1)) for number in range(8)),
        Expire(1),
        Call(1, Op("create", "~/e1", b"", OPEN, 1)),
        Lapse(1),
        Call(1, Op("create", "~/e2", b"", OPEN, 3)),
        Call(1, Op("closeSession")),
        Call(1, Op("whoAmI")),
    ],
}
