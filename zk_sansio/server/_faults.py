"""Faults by name, for any number of connections."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from ..errors import InvalidRequestError
from ._link import Link, Network, Port, Stage, Trap
from ._options import check_seconds

__all__ = ["Direction", "Faults"]

Direction: TypeAlias = Literal["both", "requests", "replies"]
"""Requests are all that clients send, replies all that the server sends: notifications and pings too."""

_WAYS: dict[Direction, tuple[bool, bool]] = {"both": (True, True), "requests": (True, False), "replies": (False, True)}
"""Whether each means requests, and whether it means replies; a direction that is misspelt must not mean neither."""


def _ways(direction: Direction) -> tuple[bool, bool]:
    if direction not in _WAYS:
        raise InvalidRequestError(f"direction is one of {', '.join(_WAYS)}, not {direction!r}")
    return _WAYS[direction]


class Faults:
    """What goes wrong between clients and a server; hand it to ``Server.accept``.

    Faults last until `heal`, except `cut`, which happens at once, and the traps (``cut_...``, ``drop_...`` and
    ``corrupt_...``), each of which springs once, at a request that is told by its number on its connection, *k*, the
    handshake being 0, by its opcode, *op*, or by both; without either it is the next that is no handshake and no ping.
    When several traps fit, the oldest springs.

    A connection that a trap cuts is closed at the next timeout, which is at once, and nothing passes until then. What
    is held back meets the traps when it is let go. Four-letter words are out of reach.

    None of the methods takes the time, so those that let something go (`heal`, `black_hole`) leave that to the next
    timeout as well: look at ``Ensemble.next_timeout`` after calling them.
    """

    def __init__(self) -> None:
        self._network = Network()
        self._connections = 0
        self._refusing = False

    # --- what is seen

    @property
    def connections(self) -> int:
        """How many connections have been accepted."""
        return self._connections

    @property
    def requests(self) -> int:
        """How many requests have reached the server's door, handshakes not counted."""
        return self._network.requests

    @property
    def opcodes(self) -> list[int]:
        """The opcodes of the latest requests that have reached the server's door, in order; ten thousand at most."""
        return list(self._network.opcodes)

    @property
    def cuts(self) -> int:
        """How many connections traps have cut."""
        return self._network.cuts

    @property
    def armed(self) -> int:
        """How many traps have not sprung; a test that is over leaves none, if it has met what it was to meet."""
        return len(self._network.traps)

    @property
    def refusing(self) -> bool:
        """Whether new connections are refused."""
        return self._refusing

    # --- faults

    def heal(self) -> None:
        """End all faults and disarm all traps; what was held back arrives at the next timeout, which is at once.

        A trap whose request is with the server already springs still.
        """
        network = self._network
        self._refusing = False
        network.to_server.held = network.to_client.held = False
        network.to_server.delay = network.to_client.delay = 0.0
        network.traps.clear()
        for link in network.busy:
            link.hurry()

    def refuse(self) -> None:
        """Refuse new connections, until `listen_again` or `heal`; those there are stay."""
        self._refusing = True

    def listen_again(self) -> None:
        """Accept connections again."""
        self._refusing = False

    def cut(self) -> None:
        """Close all connections."""
        for link in list(self._network.links):
            link.cut()

    def black_hole(self, direction: Direction = "both") -> None:
        """Pass nothing on, and close nothing; new connections are accepted, and lead nowhere.

        Args:
            direction: what is held back; the other direction is free.
        """
        self._network.to_server.held, self._network.to_client.held = _ways(direction)

    def delay(self, seconds: float, direction: Direction = "both") -> None:
        """Let everything take that much longer; what is on its way already keeps its time.

        Args:
            seconds: how long, in each direction.
            direction: what is delayed; the other direction stays as it is.
        """
        check_seconds(seconds, "a delay")
        requests, replies = _ways(direction)
        if requests:
            self._network.to_server.delay = seconds
        if replies:
            self._network.to_client.delay = seconds

    # --- traps

    def cut_before_request(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection instead of processing a request.

        Args:
            k: its number on its connection, the handshake being 0; None for the next one of *op*.
            op: its opcode; None for any but handshakes and pings.
        """
        self._arm(Trap(stage=Stage.CUT_BEFORE_REQUEST, k=k, op=op))

    def cut_after_request(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection as soon as a request is with the server, which carries it out; no reply leaves any more.

        The arguments are those of `cut_before_request`.
        """
        self._arm(Trap(stage=Stage.CUT_AFTER_REQUEST, k=k, op=op))

    def cut_before_reply(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection instead of passing on the reply to a request; replies before it pass.

        Requests behind it are lost. The arguments are those of `cut_before_request`.
        """
        self._arm(Trap(stage=Stage.CUT_BEFORE_REPLY, k=k, op=op))

    def cut_after_reply(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection behind the reply to a request.

        Requests behind it are lost. The arguments are those of `cut_before_request`.
        """
        self._arm(Trap(stage=Stage.CUT_AFTER_REPLY, k=k, op=op))

    def drop_request(self, k: int | None = None, *, op: int | None = None) -> None:
        """Lose a request; the connection stays, which TCP would not do.

        The arguments are those of `cut_before_request`.
        """
        self._arm(Trap(stage=Stage.DROP_REQUEST, k=k, op=op))

    def drop_reply(self, k: int | None = None, *, op: int | None = None) -> None:
        """Lose the reply to a request; the connection stays, which TCP would not do.

        The arguments are those of `cut_before_request`.
        """
        self._arm(Trap(stage=Stage.DROP_REPLY, k=k, op=op))

    def corrupt_request(self, k: int | None = None, *, op: int | None = None, at: int = 0) -> None:
        """Flip the highest bit of one byte of a request.

        Args:
            k: see `cut_before_request`.
            op: see `cut_before_request`.
            at: which byte, counted behind the length, or from the end if negative. The first one spoils the xid: the
                server answers, and the client must notice that it has asked nothing of the kind. There is no checksum,
                so other bytes may be spoilt unnoticed.
        """
        self._arm(Trap(stage=Stage.CORRUPT_REQUEST, k=k, op=op, at=at))

    def corrupt_reply(self, k: int | None = None, *, op: int | None = None, at: int = 0) -> None:
        """Flip the highest bit of one byte of the reply to a request.

        The arguments are those of `corrupt_request`.
        """
        self._arm(Trap(stage=Stage.CORRUPT_REPLY, k=k, op=op, at=at))

    def _arm(self, trap: Trap) -> None:
        trap.check()
        self._network.traps.append(trap)

    # --- what the server asks

    def link(self, port: Port) -> Link:
        """Begin to judge a new connection.

        Args:
            port: the server's end of it.
        """
        self._connections += 1
        return Link(port, self._network)

    def next_timeout(self) -> float:
        """When to call `handle_timeout`; a time that has passed if at once, inf if never."""
        network = self._network
        due = min((link.next_due() for link in network.busy), default=math.inf)
        return max(due, network.now)

    def handle_timeout(self, now: float) -> None:
        """Let arrive what is due, and close what traps have cut.

        Args:
            now: the time.
        """
        self._network.now = max(self._network.now, now)
        for link in list(self._network.busy):
            link.handle_timeout(now)
