"""What a server is doing."""

from __future__ import annotations

from enum import Enum

__all__ = ["ServerState"]


class ServerState(Enum):
    """What a server is doing."""

    STANDALONE = "standalone"
    LEADER = "leader"
    FOLLOWER = "follower"
    READ_ONLY = "read-only"
    LOOKING = "looking"
    """It has no leader; a client's handshake is closed on."""
    DOWN = "down"
    """It is not running; connections are refused."""

    @property
    def serving(self) -> bool:
        """Whether clients can do anything with it."""
        return self not in (ServerState.LOOKING, ServerState.DOWN)

    @property
    def voting(self) -> bool:
        """Whether it takes part in writes."""
        return self in (ServerState.STANDALONE, ServerState.LEADER, ServerState.FOLLOWER)
