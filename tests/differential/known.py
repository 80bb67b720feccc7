"""Differences that are accepted: where the real server does what nobody should copy, or what nobody can.

As narrow as can be. `test_known.py` shows that each is still needed, on the version that it is about.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from tests.differential.mapping import Answer
from tests.differential.runner import CLOSED, SILENT, Seen
from tests.differential.steps import OPEN, Burst, Call, Op, Open, Program, Step

BOTH: Final = frozenset({"3.8", "3.9"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One accepted difference.

    Attributes:
        name: What it is about.
        profiles: Where it is met.
        why: What each server does, and why that is accepted.
        applies: Whether it explains that a step differs.
        example: A program that meets it.
        ends: Whether the servers' states differ from there on, so that the program ends.
    """

    name: str
    profiles: frozenset[str]
    why: str
    applies: Callable[[Step, Seen, Seen], bool]
    example: Program
    ends: bool = False


# --- what a step is about


def operations(step: Step) -> Iterator[Op]:
    """The requests of a step, and those inside them."""
    outer: tuple[Op, ...] = ()
    match step:
        case Call(op=op):
            outer = (op,)
        case Burst(ops=ops) | Open(then=ops):
            outer = ops
    for op in outer:
        yield op
        if op.name in ("multi", "multiRead"):
            yield from op.args[0]


def _has_null_path(op: Op) -> bool:
    if op.name in ("setWatches", "setWatches2", "sync", "getEphemerals", "reconfig", "whoAmI", "closeSession", "ping"):
        return False  # these take it, or have none
    return op.name not in ("raw", "multi", "multiRead", "auth", "sasl", "addWatch") and op.args[0] is None


def _has_null_id(op: Op) -> bool:
    if op.name == "setACL":
        acl = op.args[1]
    elif op.name.startswith("create"):
        acl = op.args[2]
    else:
        return False
    return any(scheme not in (None, "auth") and name is None for _, scheme, name in acl or ())


def _no_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False


def _has_multi_without_acl(op: Op) -> bool:
    inner = op.args[0] if op.name == "multi" else ()
    return any(each.name in ("create", "create2", "createContainer") and each.args[2] is None for each in inner)


def _watches_null(op: Op) -> bool:
    if op.name == "setWatches2":
        return None in (*(op.args[4] or ()), *(op.args[5] or ()))
    return op.name == "addWatch" and op.args[0] is None


def _has_mad_ttl(op: Op) -> bool:
    return op.name == "createTTL" and op.args[3] not in (5, 6) and op.args[4] < 0


# --- how the answers differ


def _pairs(real: Seen, ours: Seen) -> Iterator[tuple[Answer | None, Answer | None]]:
    for who in real.answers.keys() | ours.answers.keys():
        for pair in zip_longest(real.answers.get(who, []), ours.answers.get(who, [])):
            if pair[0] != pair[1]:
                yield pair


def _code(answer: Answer) -> int:
    return int.from_bytes(answer.raw[12:16], "big", signed=True)


def _only_codes(real: Seen, ours: Seen) -> set[tuple[int, int]]:
    """The codes of the replies that differ, if they differ in nothing else but the body of one that failed."""
    found = set()
    for theirs, own in _pairs(real, ours):
        if theirs is None or own is None or theirs.event or theirs.raw[:12] != own.raw[:12] or len(own.raw) < 16:
            return {(1, 1)}
        found.add((_code(theirs), _code(own)))
    return found


def _codes(real: Seen, ours: Seen) -> set[tuple[int, int]]:
    """The codes of the replies that differ, whatever else does."""
    return {(_code(theirs), _code(own)) for theirs, own in _pairs(real, ours) if theirs and own}


def _over(real: Seen) -> bool:
    return any(answer in (CLOSED, SILENT) for answers in real.answers.values() for answer in answers)


def _null_id(step: Step, real: Seen, ours: Seen) -> bool:
    # A multi with it fails as a whole on the real server, and in an element of the results on ours.
    codes = {(-5, -114), (-5, 0)} if any(op.name == "multi" for op in operations(step)) else {(-5, -114)}
    return any(map(_has_null_id, operations(step))) and _only_codes(real, ours) <= codes


def _null_path(step: Step, real: Seen, ours: Seen) -> bool:
    if not any(map(_has_null_path, operations(step))):
        return False
    return _only_codes(real, ours) <= {(-8, -5), (-121, -5), (-5, -5)}


def _null_path_counted(step: Step, real: Seen, ours: Seen) -> bool:
    if not any(map(_has_null_path, operations(step))):
        return False
    zxids = set()
    for theirs, own in _pairs(real, ours):
        if theirs is None or own is None or theirs.event or theirs.raw[:4] != own.raw[:4]:
            return False  # something else than zxids, codes and bodies
        zxids.add(theirs.raw[4:12] == own.raw[4:12])
    return False in zxids


KNOWN: Final[tuple[Known, ...]] = (
    Known(
        name="null id in an ACL",
        profiles=BOTH,
        why="The real server fails on a null id and answers -5 (NullPointerException in fixupACL), where an id that is "
        "wrong is answered -114. To us null is the empty id. Refused by both, and no client sends it.",
        applies=_null_id,
        example=[Call(0, Op("create", "~/a", b"", ((31, "world", None),), 0))],
    ),
    Known(
        name="null path",
        profiles=BOTH,
        why="The real server gets as far with a null path as its code happens to: -8 where a path is checked first, -5 "
        "where something fails, -121 where it is only looked up, and in a multiRead the results so far. Ours answers "
        "-5. No client sends it.",
        applies=_null_path,
        example=[Call(0, Op("multiRead", (Op("getData", None, 0),)))],
    ),
    Known(
        name="null path, and zxids",
        profiles=BOTH,
        why="As above, with writes that take a zxid on one server only, or take one that is not told (a multi, 3.8).",
        applies=_null_path_counted,
        example=[Call(0, Op("multi", (Op("delete", None, -1),))), Call(0, Op("delete", None, -1))],
        ends=True,
    ),
    Known(
        name="null ACL in a multi",
        profiles=frozenset({"3.9"}),
        why="3.9 fails while it reads a create with a null ACL inside a multi (CreateOptions): -5, and no zxid taken. "
        "To us null is the empty ACL, which is refused with -114. No client sends it.",
        applies=lambda step, real, ours: (
            any(map(_has_multi_without_acl, operations(step))) and any(theirs == -5 for theirs, _ in _codes(real, ours))
        ),
        example=[Call(0, Op("multi", (Op("create", "~/a", b"", None, 0),)))],
        ends=True,
    ),
    Known(
        name="watch on a null path",
        profiles=BOTH,
        why="The real server sets it, and then cannot forget the connection, and so does not close it when it should "
        "(NullPointerException in DataTree.removeCnxn of 3.8). Ours refuses the watch. The generator leaves it out.",
        applies=lambda step, real, ours: (
            any(map(_watches_null, operations(step))) and _only_codes(real, ours) == {(0, -5)}
        ),
        example=[Call(0, Op("addWatch", None, 1))],
        ends=True,
    ),
    Known(
        name="requests of servers",
        profiles=BOTH,
        why="The real server lets clients send opcodes that are meant for servers: createSession answers with another "
        "handshake, deleteContainer deletes. Ours does not know them.",
        applies=lambda step, real, ours: (
            any(op.name == "raw" and op.args[0] in (-10, 20) for op in operations(step))
            and any(own == -6 for _, own in _codes(real, ours))
        ),
        example=[Call(0, Op("raw", -10, b""))],
        ends=True,
    ),
    Known(
        name="strings that are not UTF-8",
        profiles=BOTH,
        why="The real server reads U+FFFD where bytes are no UTF-8; ours refuses the request with -5, or takes CESU-8 "
        "for what Java means by it. No client sends either.",
        applies=lambda step, real, ours: (
            any(op.name == "raw" and op.args[0] == 9 and _no_utf8(op.args[1][4:]) for op in operations(step))
            and _only_codes(real, ours) <= {(0, -5), (0, 0)}
        ),
        example=[Call(0, Op("raw", 9, b"\0\0\0\1\xf4"))],
    ),
    Known(
        name="checkWatches of a relative path",
        profiles=frozenset({"3.8"}),
        why="3.8 goes up from a relative path, and fails at the top with -5 (PathParentIterator). Ours finds "
        "no watch there, as 3.9 does.",
        applies=lambda step, real, ours: (
            any(op.name == "checkWatches" and (op.args[0] or "/")[0] not in "/~" for op in operations(step))
            and _only_codes(real, ours) == {(-5, -121)}
        ),
        example=[Call(0, Op("checkWatches", "a", 1))],
    ),
    Known(
        name="createTTL that kills",
        profiles=BOTH,
        why="A createTTL with the flags of another kind and a negative TTL ends the real server (EphemeralType in the "
        "thread that applies changes). Ours answers. The generator leaves it out.",
        applies=lambda step, real, ours: any(map(_has_mad_ttl, operations(step))) and _over(real),
        example=[Call(0, Op("createTTL", "~/a", b"", OPEN, 0, -1))],
        ends=True,
    ),
)
