"""multi and multiRead: what may be in them, and results that say their own type."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from zk_sansio import wire
from zk_sansio.errors import InvalidPathError, InvalidRequestError, RemoteProtocolError
from zk_sansio.wire import (
    Check,
    Create,
    Create2,
    CreateContainer,
    Created,
    CreateMode,
    CreateTTL,
    Delete,
    Exists,
    Failed,
    GetChildren,
    GetChildren2,
    GetData,
    Multi,
    MultiRead,
    Request,
    SetACL,
    SetData,
    Stat,
    Sync,
    Znode,
    decode_request,
)

STAT = Stat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
END = bytes.fromhex("ffffffff01ffffffff")

WRITES: list[Request[Any]] = [
    Create("/a"),
    Create2("/a"),
    CreateContainer("/a", mode=CreateMode.CONTAINER),
    CreateTTL("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl_ms=1),
    Delete("/a"),
    SetData("/a", b""),
    Check("/a", 1),
]
READS: list[Request[Any]] = [GetData("/a"), GetChildren("/a")]
OTHERS: list[Request[Any]] = [Exists("/a"), GetChildren2("/a"), SetACL("/a", ()), Sync("/a"), Multi(), MultiRead()]


def element(kind: int, body: bytes = b"", code: int = 0, done: int = 0) -> bytes:
    return struct.pack(">ibi", kind, done, code) + body


@pytest.mark.parametrize("kind, allowed", [(Multi, WRITES), (MultiRead, READS)])
def test_what_may_be_part(kind: type[Multi], allowed: list[Request[Any]]) -> None:
    for op in allowed:
        body = kind([op]).body()
        assert body == element(op.opcode, op.body(), -1) + END
        assert decode_request(kind([op]).encode(1)[4:])[1].encode(1) == kind([op]).encode(1)
    for op in [*WRITES, *READS, *OTHERS]:
        if op not in allowed:
            with pytest.raises(InvalidRequestError, match=f"{type(op).__name__} cannot be part of a {kind.name}"):
                kind([op]).encode(1)


def test_what_is_no_operation_at_all() -> None:
    with pytest.raises(InvalidRequestError, match="str cannot be part of a multi"):
        Multi(["/a"]).encode(1)  # type: ignore[list-item]


@pytest.mark.parametrize("kind, allowed", [(Multi, WRITES), (MultiRead, READS)])
def test_what_may_be_part_of_what_comes_in(kind: type[Multi], allowed: list[Request[Any]]) -> None:
    codes = {op.opcode for op in allowed}
    for code in [*wire.REQUESTS, 0, -1, 99]:
        if code not in codes:
            with pytest.raises(RemoteProtocolError, match=f"opcode {code} inside a {kind.name}"):
                kind.parse(element(code) + bytes(40) + END, 0)


def test_operations_are_checked_too() -> None:
    with pytest.raises(InvalidPathError):
        Multi([Delete("/a"), Delete("a")]).encode(1)


def test_empty() -> None:
    assert Multi().body() == MultiRead().body() == END
    assert Multi().decode(END, 0) == []
    assert Multi().encode_reply([]) == END


def test_the_end_is_what_says_done() -> None:
    # Any byte but zero is true, and the rest of the end marker is not looked at.
    assert Multi.parse(element(14, done=-1) + b"behind", 0) == (Multi([]), 9)
    assert Multi().decode(element(5, code=3, done=1), 0) == []


def test_results_say_their_own_type() -> None:
    path, stat = b"\0\0\0\2/a", wire.SetData("/a", None).encode_reply(STAT)
    frame = b"".join(
        [
            element(1, path),
            element(15, path + stat),
            element(5, stat),
            element(2),
            element(13),
            element(4, b"\xff\xff\xff\xff" + stat),
            element(8, b"\0\0\0\1\0\0\0\1b"),
            element(-1, b"\xff\xff\xff\x9b", -101),
            END,
        ]
    )
    # The operations do not matter: 3.8 answers a create2 with a create's result.
    assert Multi([Create2("/a")]).decode(b"header" + frame, 6) == [
        Created("/a", None),
        Created("/a", STAT),
        STAT,
        None,
        None,
        Znode(None, STAT),
        ["b"],
        Failed(-101),
    ]


@pytest.mark.parametrize("kind", [0, 3, 14, 19, 21, 22, -2, 99])
def test_a_result_of_another_type(kind: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"a multi result of type {kind}"):
        Multi().decode(element(kind) + END, 0)


def test_replies_as_servers_write_them() -> None:
    multi = Multi(WRITES)
    results: list[Any] = [Created("/a", None), *[Created("/a", STAT)] * 3, None, STAT, None]
    written = multi.encode_reply(results)
    assert multi.decode(written, 0) == results
    made = element(15, b"\0\0\0\2/a" + SetData("/a", None).encode_reply(STAT))
    assert written.startswith(element(1, b"\0\0\0\2/a") + 3 * made + element(2) + element(5))
    assert written.endswith(element(13) + END)
    older = Multi([Create2("/a")])
    assert older.encode_reply([Created("/a", None)]) == element(1, b"\0\0\0\2/a") + END
    reads = MultiRead(READS)
    assert reads.decode(reads.encode_reply([Znode(b"x", STAT), ["b"]]), 0) == [Znode(b"x", STAT), ["b"]]
    failed = multi.encode_reply([*[Failed(0)] * 6, Failed(-103)])
    assert failed == element(-1, bytes(4)) * 6 + element(-1, b"\xff\xff\xff\x99", -103) + END


def test_a_result_for_each_operation() -> None:
    with pytest.raises(ValueError, match="zip"):
        Multi([Delete("/a")]).encode_reply([])


def test_results_without_operations_cannot_be_written() -> None:
    with pytest.raises(NotImplementedError):
        Multi._reply.put([])
