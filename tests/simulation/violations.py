"""What a checker has found."""

from __future__ import annotations


class Violation(Exception):
    """A promise was broken.

    Attributes:
        check: which one, by its short name.
    """

    def __init__(self, check: str, message: str) -> None:
        super().__init__(f"[{check}] {message}")
        self.check = check


CHECKS = {
    "acknowledged": "an acknowledged write is in the log, exactly once, with the zxid that the reply said",
    "refused": "a call that said maybe_applied=False has changed nothing, and never will",
    "twice": "no write happens twice",
    "read": "what is read is the tree at the zxid of the reply",
    "session order": "the zxids that a session sees never go back, and it sees its own writes",
    "sync": "a read behind a sync sees what was committed before the sync",
    "watch": "each change is told once, in order, or there is a gap",
    "one-shot": "a one-shot watch fires once, and because of a change",
    "order": "an event comes before any reply that shows what it is about",
    "convergence": "in the end a stream with a snapshot has told of the tree as it is",
    "presumed lost": "a session is presumed lost before the server ends it",
    "exclusion": "a lock has one holder",
    "fencing": "a write under a lock happens only while its znode is the first in the queue",
    "outcome": "every call has an outcome, at the latest when its client is closed",
    "liveness": "with a healthy network a client is connected before long",
    "leak": "when all is quiet, nothing is left over in a client or on a server",
    "orphan": "an ephemeral belongs to somebody who knows of it, or goes away",
    "wait": "a wait ends only when what it waits for has been true",
    "resume": "a resumed session is the same session, with its ephemerals",
    "server": "the servers agree with the log",
    "crash": "nothing raises what it should not",
}
"""Every check by its short name."""
