"""The protocol's numbers."""

from __future__ import annotations

import pytest

from zk_sansio import wire
from zk_sansio.wire import CreateMode


@pytest.mark.parametrize(
    "mode, ephemeral, sequential, ttl",
    [
        (CreateMode.PERSISTENT, False, False, False),
        (CreateMode.EPHEMERAL, True, False, False),
        (CreateMode.PERSISTENT_SEQUENTIAL, False, True, False),
        (CreateMode.EPHEMERAL_SEQUENTIAL, True, True, False),
        (CreateMode.CONTAINER, False, False, False),
        (CreateMode.PERSISTENT_WITH_TTL, False, False, True),
        (CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, False, True, True),
    ],
)
def test_modes(mode: CreateMode, ephemeral: bool, sequential: bool, ttl: bool) -> None:
    assert (mode.ephemeral, mode.sequential, mode.ttl) == (ephemeral, sequential, ttl)


def test_modes_are_the_flags_on_the_wire() -> None:
    assert [mode.value for mode in CreateMode] == [0, 1, 2, 3, 4, 5, 6]


def test_limits() -> None:
    assert wire.DEFAULT_MAX_REQUEST == 0xFFFFF
    assert wire.DEFAULT_MAX_REPLY > 4 * wire.DEFAULT_MAX_REQUEST  # servers do send 4 MB
    assert wire.MAX_TTL_MS == 1_099_511_627_775


def test_special_xids() -> None:
    assert (wire.XID_NOTIFICATION, wire.XID_PING, wire.XID_AUTH, wire.XID_SET_WATCHES) == (-1, -2, -4, -8)


def test_events_and_states() -> None:
    assert {kind.name: kind.value for kind in wire.EventType} == {
        "NONE": -1,
        "CREATED": 1,
        "DELETED": 2,
        "DATA_CHANGED": 3,
        "CHILDREN_CHANGED": 4,
        "DATA_WATCH_REMOVED": 5,
        "CHILD_WATCH_REMOVED": 6,
        "PERSISTENT_WATCH_REMOVED": 7,
    }
    assert {state.name: state.value for state in wire.KeeperState} == {
        "DISCONNECTED": 0,
        "SYNC_CONNECTED": 3,
        "AUTH_FAILED": 4,
        "CONNECTED_READ_ONLY": 5,
        "SASL_AUTHENTICATED": 6,
        "CLOSED": 7,
        "EXPIRED": -112,
    }
    assert {mode.name: mode.value for mode in wire.AddWatchMode} == {"PERSISTENT": 0, "PERSISTENT_RECURSIVE": 1}
    assert {kind.name: kind.value for kind in wire.WatcherType} == {
        "CHILDREN": 1,
        "DATA": 2,
        "ANY": 3,
        "PERSISTENT": 4,
        "PERSISTENT_RECURSIVE": 5,
    }
