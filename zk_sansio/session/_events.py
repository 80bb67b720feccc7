"""What a session tells its owner, in the order in which it happened.

An answered `Call` is an event itself, so that the hot path makes no further object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from ..errors import ZooKeeperError
from ..wire import EventType
from ._calls import Call
from ._states import SessionState
from ._watches import Watcher

__all__ = ["Event", "Notice", "Notification", "Rearmed", "StateChanged", "WatchEvent", "WatchersLost"]


class WatchEvent(NamedTuple):
    """A change that a watch reports.

    Attributes:
        type: what happened.
        path: where, as the server calls it.
        zxid: the change that caused it; None where the server does not tell (before 3.9, and for
            changes found out while watches were set anew).
    """

    type: EventType
    path: str
    zxid: int | None


class Notification(NamedTuple):
    """A watch fired: *event* is for each of *watchers*."""

    event: WatchEvent
    watchers: Sequence[Watcher]


class Rearmed(NamedTuple):
    """The connection was away: *watchers* are set again, and may have missed events.

    Attributes:
        watchers: the persistent and recursive ones; one-shot watches miss nothing.
        new_session: whether they were carried over from a session that expired.
    """

    watchers: Sequence[Watcher]
    new_session: bool


class WatchersLost(NamedTuple):
    """The session is over, and *watchers* with it."""

    watchers: Sequence[Watcher]
    error: ZooKeeperError


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The session went from one state to another.

    Attributes:
        old: the state before.
        new: the state now.
        error: why, where there is a reason.
    """

    old: SessionState
    new: SessionState
    error: ZooKeeperError | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should know, with figures; nothing failed yet."""

    message: str


Event: TypeAlias = Call[Any] | Notification | StateChanged | Rearmed | WatchersLost | Notice
