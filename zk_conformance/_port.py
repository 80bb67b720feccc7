"""The port: what an adapter brings along to be checked, and what the checks need of a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Literal, Protocol, TypeAlias, TypeVar, Unpack

from zk_sansio import Client, ClientSettings, SessionTicket, Stat

__all__ = ["Check", "Function", "Harness", "Proxy", "World"]

T = TypeVar("T")

Function: TypeAlias = Callable[[], Awaitable[T]]


class Harness(Protocol):
    """An adapter and its event loop, as one adapter implements it for its tests.

    The harness of an adapter without an event loop answers with coroutines that block and never suspend.
    """

    @property
    def cancels(self) -> bool:
        """Whether the body of a scope can be cancelled; in threads it cannot."""

    def run(self, check: Function[None], /) -> None:
        """Run a check to its end, in an event loop of its own; what it raises comes out.

        Args:
            check: the check, which is bounded in time.
        """

    def open_client(
        self, hosts: str | Sequence[str], /, **settings: Unpack[ClientSettings]
    ) -> AbstractAsyncContextManager[Client]:
        """Make the scope of a client; the arguments are those of the adapter's ``open_client``.

        Args:
            hosts: the servers.
            **settings: the user's.
        """

    async def together(self, *functions: Function[object]) -> None:
        """Run functions at the same time, as tasks or as threads, and wait until all have ended.

        Args:
            functions: which; when one fails, those behind it may be cancelled.

        Raises:
            BaseException: what one of them has raised, as it is; no group.
        """

    async def sleep(self, seconds: float, /) -> None:
        """Wait for a while."""

    async def within(self, seconds: float, function: Function[T], /) -> T:
        """Run a function that may take so long.

        Args:
            seconds: how long; it is cancelled then, or told of its timeout.
            function: which.

        Raises:
            TimeoutError: it took longer.
        """

    async def interrupt(self, step: int, function: Function[object], /) -> bool:
        """Run a function that is cancelled, or whose timeout passes, while it waits.

        `stopped_at` does most of it where there is an event loop. An adapter that can be interrupted in more than
        one way, say before and after it is woken, may count each wait that many times.

        Args:
            step: at which of its waits, counted from 0.
            function: which.

        Returns:
            Whether there was such a wait. What the interruption raises does not come out.
        """

    def leftovers(self) -> list[str]:
        """Name the tasks, threads and sockets that have been added since the check began; see `Leftovers`."""


Check: TypeAlias = Callable[["Harness", "World"], Awaitable[None]]


class Proxy(Protocol):
    """A way to the server that can be broken. Faults last until `heal`, but traps (``cut_...``) spring once."""

    @property
    def hosts(self) -> str:
        """The connect string."""

    @property
    def connections(self) -> int:
        """How many connections have been accepted."""

    @property
    def requests(self) -> int:
        """How many requests have arrived, handshakes not counted."""

    @property
    def opcodes(self) -> list[int]:
        """The opcodes of the requests that have arrived."""

    @property
    def cuts(self) -> int:
        """How many traps have sprung."""

    def heal(self) -> None:
        """End all faults and disarm all traps; what was held back is passed on."""

    def refuse(self) -> None:
        """Refuse new connections; those there are stay."""

    def listen_again(self) -> None:
        """Accept connections again."""

    def cut(self) -> None:
        """Close all connections."""

    def black_hole(self, direction: Literal["both", "requests", "replies"] = "both") -> None:
        """Pass nothing on, and close nothing."""

    def cut_before_request(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection instead of forwarding a request.

        Args:
            k: its number on its connection, the handshake being 0; None for the next one of *op*.
            op: its opcode; None for any but handshakes and pings.
        """

    def cut_after_request(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection as soon as a request is forwarded."""

    def cut_before_reply(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection when a request's reply arrives, instead of passing it on."""


class World(Protocol):
    """A server, and a second way to look at it which is not the client under test.

    Its methods answer at once, without the event loop, and may be called from several threads.
    """

    @property
    def hosts(self) -> str:
        """The connect string of the server. Its shortest session timeout is one second or less."""

    @property
    def version(self) -> tuple[int, ...]:
        """The server's version."""

    @property
    def root(self) -> str:
        """The path of an empty znode that belongs to this check; it is removed afterwards with all below it."""

    # --- somebody else

    def create(self, path: str, data: bytes | None = b"", *, ephemeral: bool = False) -> str:
        """Make a znode."""

    def get(self, path: str) -> bytes | None:
        """Read a znode's data."""

    def set(self, path: str, data: bytes | None) -> Stat:
        """Write a znode's data."""

    def delete(self, path: str) -> None:
        """Remove a znode."""

    def exists(self, path: str) -> Stat | None:
        """Read a Stat; None if there is no such znode."""

    def children(self, path: str) -> list[str]:
        """List a znode's children, sorted."""

    # --- what the server holds

    def ephemerals(self, session_id: int) -> AbstractSet[str]:
        """The ephemeral znodes of a session."""

    def watches(self, session_id: int) -> AbstractSet[str]:
        """The paths that a session watches; those watched for children alone need not be among them."""

    def connections(self) -> int:
        """How many connections the server has, this witness not counted."""

    def expire(self, ticket: SessionTicket) -> None:
        """End a session behind its owner's back; it may have ended already."""

    # --- what may go wrong

    def proxy(self) -> AbstractContextManager[Proxy]:
        """Start a proxy in front of the server."""

    def refusing(self, codes: Sequence[int]) -> AbstractContextManager[str]:
        """Start a server that opens sessions, but answers each request with the next of these error codes.

        Args:
            codes: the codes, one for each request that is no ping and no end of a session.

        Returns:
            A scope that gives its connect string.
        """
