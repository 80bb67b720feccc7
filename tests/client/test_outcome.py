from __future__ import annotations

import pytest

from zk_sansio.client._outcome import Decision, decide_create, decide_delete, decide_set
from zk_sansio.wire import Stat

APPLIED, NOT_APPLIED, REFUSED, UNKNOWN = (
    Decision.APPLIED,
    Decision.NOT_APPLIED,
    Decision.REFUSED,
    Decision.UNKNOWN,
)
BEFORE = 50
MINE, OTHERS = 0x11, 0x22


def stat(*, czxid: int = 10, version: int = 0, owner: int = 0) -> Stat:
    return Stat(czxid, czxid, 0, 0, version, 0, 0, owner, 0, 0, czxid)


@pytest.mark.parametrize(
    "found, data, decision",
    [
        (None, None, NOT_APPLIED),
        (stat(czxid=51, owner=MINE), b"ours", APPLIED),
        (stat(czxid=51, owner=MINE, version=1), b"ours", APPLIED),
        (stat(czxid=51, owner=MINE), b"earlier", NOT_APPLIED),  # by a call of ours that was given up
        (stat(czxid=51, owner=MINE), None, NOT_APPLIED),
        (stat(czxid=51, owner=MINE, version=1), b"replaced", UNKNOWN),
        (stat(czxid=50, owner=MINE), b"ours", NOT_APPLIED),  # it was there before we asked
        (stat(czxid=51, owner=OTHERS), b"ours", NOT_APPLIED),
        (stat(czxid=51), b"ours", NOT_APPLIED),
    ],
)
def test_create(found: Stat | None, data: bytes | None, decision: Decision) -> None:
    verdict = decide_create(found, data, ours=b"ours", session_id=MINE, before=BEFORE)
    assert verdict == (decision, found)


@pytest.mark.parametrize(
    "found, data, decision",
    [
        (None, None, UNKNOWN),
        (stat(czxid=51, version=3), b"ours", UNKNOWN),  # deleted and made anew
        (stat(version=3), b"theirs", NOT_APPLIED),
        (stat(version=3), b"ours", NOT_APPLIED),
        (stat(version=4), b"theirs", REFUSED),
        (stat(version=4), None, REFUSED),
        (stat(version=4), b"ours", UNKNOWN),  # who of us wrote it?
        (stat(version=5), b"theirs", UNKNOWN),  # ours may be the one in between
        (stat(version=2), b"theirs", UNKNOWN),
    ],
)
def test_set(found: Stat | None, data: bytes | None, decision: Decision) -> None:
    assert decide_set(found, data, ours=b"ours", version=3, before=BEFORE) == (decision, found)


@pytest.mark.parametrize(
    "found, decision",
    [
        (None, UNKNOWN),  # we, or somebody else
        (stat(czxid=51, version=3), UNKNOWN),
        (stat(version=3), NOT_APPLIED),
        (stat(version=4), REFUSED),
    ],
)
def test_delete(found: Stat | None, decision: Decision) -> None:
    assert decide_delete(found, version=3, before=BEFORE) == (decision, found)
