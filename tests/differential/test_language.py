"""What programs send by hand is what `zk_sansio.wire` writes, wherever it is willing to."""

from random import Random
from typing import Any

from tests.differential.generator import THEMES, WATCHED, random_program
from tests.differential.known import operations
from tests.differential.mapping import Mapper, Start, reply
from tests.differential.steps import Op, request, show
from zk_sansio import wire
from zk_sansio.acl import ACL, Id
from zk_sansio.errors import InvalidRequestError

CLASSES: dict[str, type[wire.Request[Any]]] = {
    "create": wire.Create,
    "create2": wire.Create2,
    "createContainer": wire.CreateContainer,
    "createTTL": wire.CreateTTL,
    "delete": wire.Delete,
    "exists": wire.Exists,
    "getData": wire.GetData,
    "setData": wire.SetData,
    "getACL": wire.GetACL,
    "setACL": wire.SetACL,
    "getChildren": wire.GetChildren,
    "getChildren2": wire.GetChildren2,
    "sync": wire.Sync,
    "ping": wire.Ping,
    "check": wire.Check,
    "multi": wire.Multi,
    "multiRead": wire.MultiRead,
    "reconfig": wire.Reconfig,
    "checkWatches": wire.CheckWatches,
    "removeWatches": wire.RemoveWatches,
    "auth": wire.Auth,
    "sasl": wire.Sasl,
    "setWatches": wire.SetWatches,
    "setWatches2": wire.SetWatches2,
    "getEphemerals": wire.GetEphemerals,
    "getAllChildrenNumber": wire.GetAllChildrenNumber,
    "addWatch": wire.AddWatch,
    "whoAmI": wire.WhoAmI,
    "closeSession": wire.CloseSession,
}
ROOT, ZXID, XID = "/d0000001", 100, 7


def by_wire(op: Op) -> wire.Request[Any]:
    args = list(op.args)
    if op.name.startswith("multi"):
        args = [[by_wire(each) for each in op.args[0]]]
    elif op.name.startswith("setWatches"):
        args[0] = ZXID + args[0] if args[0] is not None else 0
    if op.name.startswith("create"):
        args[2] = [ACL(perms, Id(scheme, name)) for perms, scheme, name in args[2] or ()]
    elif op.name == "setACL":
        args[1] = [ACL(perms, Id(scheme, name)) for perms, scheme, name in args[1] or ()]
    for index, value in enumerate(args):
        if isinstance(value, str) and value.startswith("~"):
            args[index] = ROOT + value[1:]
        elif isinstance(value, tuple) and all(isinstance(each, str) for each in value):
            args[index] = [ROOT + each[1:] if each.startswith("~") else each for each in value]
    return CLASSES[op.name](*args)


def test_requests_are_those_of_wire() -> None:
    same: set[str] = set()
    for number in range(200):
        for step in random_program(Random(number), 50):
            for op in operations(step):
                if op.name == "raw" or (op.name in WATCHED and op.args[1] == 2):
                    continue  # wire writes no other true than 1
                try:
                    expected = by_wire(op).encode(XID)
                except (InvalidRequestError, TypeError):
                    continue
                assert request(op, XID, ROOT, ZXID) == expected, op
                same.add(op.name)
    assert same == CLASSES.keys()


def test_programs_print_as_python() -> None:
    for theme in range(len(THEMES)):
        program = random_program(Random(theme), 100)
        namespace: dict[str, Any] = {}
        exec("from tests.differential.steps import *\n" + show(program), namespace)
        assert namespace["PROGRAM"] == program


def test_every_byte_of_a_reply_counts() -> None:
    mapper = Mapper(Start(0, 0, 0, 0), ROOT)
    stat = wire.Stat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
    body = wire.GetData("/a").encode_reply(wire.Znode(b"data", stat))
    frame = wire.HEADER.pack(1, 12, 0) + body + b"rest"
    seen = {reply(frame, Op("getData", "~/a", 0), mapper).raw}
    for place in range(len(frame)):
        other = bytearray(frame)
        other[place] ^= 0x11
        seen.add(reply(bytes(other), Op("getData", "~/a", 0), mapper).raw)
    assert len(seen) >= len(frame) + 1 - 2 * 8 - 8  # a time or an owner may be another one without a difference
