"""Who is whose turn: the decisions about a queue of sequential znodes, without any I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["LOCK_NAME", "contenders", "predecessor", "used_up"]

LOCK_NAME = "lock-"
"""What the server's sequence number is appended to, as in Curator's ``InterProcessMutex``."""

_NODE = re.compile(r"lock-(\d{10}|-\d{9,10})\Z", re.ASCII)
"""Ten characters at least, the sign included, as Java's ``%010d`` has it."""


def contenders(children: Iterable[str]) -> list[str]:
    """The znodes that queue for a lock, in the order of their turns; other children have no say.

    Only the number counts: what is in front of it is another client's own affair.
    """
    places = ((int(found[1]), name) for name in children if (found := _NODE.search(name)))
    return [name for _, name in sorted(places)]


def used_up(node: str) -> bool:
    """Whether the server's counter was at its end when it made *node*, so that the number says nothing about turns.

    Behind 2**31 - 1 it gives the same number again and again, or a negative one.
    """
    found = _NODE.search(node)
    return found is None or not 0 <= int(found[1]) < 2**31 - 1


def predecessor(children: Iterable[str], node: str) -> str | None:
    """Who has to be waited for; None if it is the turn of *node*.

    Args:
        children: all children of the lock's znode, in any order.
        node: the name of one of them.

    Raises:
        LookupError: *node* is not among them.
    """
    queue = contenders(children)
    try:
        place = queue.index(node)
    except ValueError:
        raise LookupError(node) from None
    return queue[place - 1] if place else None
