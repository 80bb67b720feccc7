"""What random programs leave out, since it takes time or an empty server of one's own."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conftest import Shared
from tests.differential.mapping import Answer, Mapper, Start, reply
from tests.differential.memory import MemorySide, usual
from tests.differential.runner import Janitor
from tests.differential.sides import RealSide, Side, profile_of
from tests.differential.steps import OPEN, Op, handshake, request
from tests.support.leaks import children

pytestmark = [pytest.mark.server, pytest.mark.slow]

CLEANUP_MS = 50
DEEP = ("/c", "/c/c", "/c/c/t")
"""A container, a container in it, and in that a node with a time to live: they go one after the other."""


@pytest.fixture(scope="module")
def empty(shared: Shared) -> Iterator[RealSide]:
    """A new real server that looks for containers all the time."""
    before = children()
    with RealSide(CLEANUP_MS) as side:
        shared.children |= children() - before
        yield side


def ours(real: RealSide) -> MemorySide:
    profile = profile_of(real.version)
    return MemorySide(profile, replace(usual(profile), cleanup_interval=CLEANUP_MS / 1000))


def look_around(side: Side) -> tuple[Start, list[Answer]]:
    """What a new server holds: nothing is mapped."""
    janitor = Janitor(side)
    start = janitor.prepare("/root")
    mapper = Mapper(Start(0, 0, 0, 0), "/root")
    link = side.connect()
    link.send([handshake()])
    link.next()
    answers = []
    for path in ("/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota", "/root"):
        for op in (Op("getData", path, 0), Op("getACL", path), Op("getChildren2", path, 0)):
            link.send([request(op, 1, "", 0)])
            answers.append(reply(link.next() or b"", op, mapper))
    janitor.close()
    link.close()
    return start, answers


def test_new_server(empty: RealSide) -> None:
    empty.heal()
    assert look_around(empty) == look_around(ours(empty))


def lives(side: Side) -> list[Answer]:
    """Everything that a client hears while containers and nodes with a time to live come and go."""
    janitor = Janitor(side)
    mapper = Mapper(janitor.prepare("/root"), "/root")
    link = side.connect()
    link.send([handshake()])
    link.next()
    ops = (
        Op("addWatch", "/c", 1),
        Op("createContainer", "/c", b"", OPEN, 4),
        Op("createContainer", "/c/never used", b"", OPEN, 4),
        Op("createContainer", "/c/c", b"", OPEN, 4),
        Op("createTTL", "/c/c/t", b"", OPEN, 5, 200),
        Op("delete", "/c/never used", -1),
    )
    answers = []
    for op in ops:
        link.send([request(op, 1, "", 0)])
        frame = b"\xff\xff\xff\xff"
        while frame[:4] == b"\xff\xff\xff\xff":
            frame = link.next() or b""
            answers.append(reply(frame, op if frame[:4] != b"\xff\xff\xff\xff" else None, mapper))
    for _ in DEEP:
        answers.append(reply(link.next() or b"", None, mapper))
    last = Op("exists", "/c", 0)
    link.send([request(last, 2, "", 0)])
    answers.append(reply(link.next() or b"", last, mapper))
    janitor.close()
    link.close()
    return answers


def test_containers_and_times_to_live(empty: RealSide) -> None:
    empty.heal()
    theirs = lives(empty)
    assert theirs == lives(ours(empty))
    assert [answer.text.split()[2] for answer in theirs[-4:-1]] == list(reversed(DEEP))
