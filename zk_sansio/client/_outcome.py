"""What became of a write whose reply was lost: decided by reading, where reading can decide.

The reads come behind a sync on a new connection of the same session, so everything that the old connection
sent has happened by then or never will. Even so, some questions have no answer in a znode: whether *we* wrote
what is there, or somebody else wrote the same at the same moment. Then the outcome stays unknown, and the
caller is told so: a counter that guesses counts wrongly.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ..wire import Stat

__all__ = ["Decision", "Verdict", "decide_create", "decide_delete", "decide_set"]


class Decision(Enum):
    """What reading has shown."""

    APPLIED = "it happened"
    NOT_APPLIED = "it did not happen, and never will"
    REFUSED = "it did not happen, because the version was another one"
    UNKNOWN = "nobody can tell"


class Verdict(NamedTuple):
    """A decision, and the Stat that it rests on."""

    decision: Decision
    stat: Stat | None = None


def decide_create(
    stat: Stat | None, data: bytes | None, *, ours: bytes | None, session_id: int, before: int
) -> Verdict:
    """Decide about an ephemeral, not sequential create.

    Args:
        stat: of the znode now; None if there is none.
        data: the znode's data now.
        ours: the data that it was to have.
        session_id: of the session that asked for it.
        before: the last zxid seen before it was asked for.
    """
    if stat is None:
        return Verdict(Decision.NOT_APPLIED)
    if stat.ephemeral_owner == session_id and stat.czxid > before:
        if data == ours:
            return Verdict(Decision.APPLIED, stat)
        if stat.version > 0:
            return Verdict(Decision.UNKNOWN, stat)  # its first data have been replaced
        # An earlier create of this session was carried out late, after its caller had given up.
    # Somebody else's, so that asking again gives the answer that was lost: the znode exists.
    return Verdict(Decision.NOT_APPLIED, stat)


def decide_set(stat: Stat | None, data: bytes | None, *, ours: bytes | None, version: int, before: int) -> Verdict:
    """Decide about a set that asked for a version.

    Args:
        stat: of the znode now; None if there is none.
        data: the znode's data now.
        ours: the data that was to be written.
        version: the version asked for.
        before: the last zxid seen before it was asked for.
    """
    if stat is None or stat.czxid > before:
        return Verdict(Decision.UNKNOWN, stat)  # another znode by now: what became of the first?
    if stat.version == version:
        return Verdict(Decision.NOT_APPLIED, stat)
    if stat.version == version + 1 and data != ours:
        return Verdict(Decision.REFUSED, stat)
    return Verdict(Decision.UNKNOWN, stat)


def decide_delete(stat: Stat | None, *, version: int, before: int) -> Verdict:
    """Decide about a delete that asked for a version; arguments as of `decide_set`."""
    if stat is None or stat.czxid > before:
        return Verdict(Decision.UNKNOWN, stat)
    return Verdict(Decision.NOT_APPLIED if stat.version == version else Decision.REFUSED, stat)
