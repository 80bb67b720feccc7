"""A way to a served ensemble, with faults of its own."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

from zk_sansio.errors import InvalidRequestError
from zk_sansio.server import Direction, Faults

if TYPE_CHECKING:
    from ._served import ServedEnsemble

__all__ = ["Gate", "open_listeners"]

_BACKLOG = 1024


class Gate:
    """A way to the server that can be broken. Faults last until `heal`, but traps spring once.

    It fills the protocol `zk_conformance.Proxy`. Faults are in effect when the method returns.

    Args:
        served: the ensemble behind it.
        host: the address to listen on.
        port: the first member's port; 0 for free ones.
    """

    def __init__(self, served: ServedEnsemble[Any], host: str, port: int) -> None:
        self._served = served
        self._host = host
        self._port = port
        self._faults = Faults()
        self._listeners: list[socket.socket] | None = None
        self._closed = False

    @property
    def hosts(self) -> str:
        """The connect string, one port for each member. Nothing listens before somebody asks for it.

        Raises:
            OSError: no port can be had.
        """
        return ",".join(self.addresses)

    @property
    def addresses(self) -> list[str]:
        """The entries of `hosts`, in the order of the members."""
        with self._served._acting():
            return [_named(listener) for listener in self._listen()]

    def _listen(self) -> list[socket.socket]:
        if self._listeners is None:
            if self._closed:
                raise OSError("the server is closed")
            self._listeners = open_listeners(self._host, self._port, len(self._served.ensemble.servers))
            for member, listener in enumerate(self._listeners):
                self._served._listen(listener, self, member)
            if self is self._served.faults:
                for server, listener in zip(self._served.ensemble.servers, self._listeners, strict=True):
                    host, port = _address(listener)
                    self._served.ensemble.listens(server, port, host)
            self._let_knock()
        return self._listeners

    def _let_knock(self) -> None:
        """Have the kernel refuse connections, where it can, or not any more. Elsewhere they are made, and closed."""
        if self._listeners is None or self._closed or sys.platform != "linux":
            return
        for server, listener in zip(self._served.ensemble.servers, self._listeners, strict=True):
            wanted = server.up and not self._faults.refusing
            listens = bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            if wanted and not listens:
                listener.listen(_BACKLOG)
            elif listens and not wanted:
                listener.shutdown(socket.SHUT_RDWR)  # the port stays its own
        # A server that waits in a thread gives up on a listener for a moment while the kernel refuses: let it look at
        # all of them now. Where nothing is shut down, nothing was given up on.
        self._served._rearm()

    # --- what is seen

    @property
    def connections(self) -> int:
        """How many connections have been accepted."""
        return self._faults.connections

    @property
    def requests(self) -> int:
        """How many requests have arrived, handshakes not counted."""
        return self._faults.requests

    @property
    def opcodes(self) -> list[int]:
        """The opcodes of the latest requests that have arrived; ten thousand at most."""
        return self._faults.opcodes

    @property
    def cuts(self) -> int:
        """How many traps have cut a connection."""
        return self._faults.cuts

    @property
    def armed(self) -> int:
        """How many traps have not sprung."""
        return self._faults.armed

    # --- faults

    def heal(self) -> None:
        """End all faults and disarm all traps; what was held back is passed on."""
        with self._served._acting():
            self._faults.heal()
            self._let_knock()

    def refuse(self) -> None:
        """Refuse new connections, until `listen_again` or `heal`; those there are stay."""
        with self._served._acting():
            self._faults.refuse()
            self._let_knock()

    def listen_again(self) -> None:
        """Accept connections again."""
        with self._served._acting():
            self._faults.listen_again()
            self._let_knock()

    def cut(self) -> None:
        """Close all connections."""
        with self._served._acting():
            self._faults.cut()

    def black_hole(self, direction: Direction = "both") -> None:
        """Pass nothing on, and close nothing; new connections are accepted, and lead nowhere.

        Args:
            direction: what is held back; the other direction is free.
        """
        with self._served._acting():
            self._faults.black_hole(direction)

    def delay(self, seconds: float, direction: Direction = "both") -> None:
        """Let everything take that much longer; what is on its way already keeps its time.

        Args:
            seconds: how long, in each direction.
            direction: what is delayed; the other direction stays as it is.
        """
        with self._served._acting():
            self._faults.delay(seconds, direction)

    # --- traps

    def cut_before_request(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection instead of processing a request.

        Args:
            k: its number on its connection, the handshake being 0; None for the next one of *op*.
            op: its opcode; None for any but handshakes and pings.
        """
        with self._served._acting():
            self._faults.cut_before_request(k, op=op)

    def cut_after_request(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection as soon as a request is with the server, which carries it out; no reply leaves any more.

        The arguments are those of `cut_before_request`.
        """
        with self._served._acting():
            self._faults.cut_after_request(k, op=op)

    def cut_before_reply(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection instead of passing on the reply to a request.

        The arguments are those of `cut_before_request`.
        """
        with self._served._acting():
            self._faults.cut_before_reply(k, op=op)

    def cut_after_reply(self, k: int | None = None, *, op: int | None = None) -> None:
        """Cut a connection behind the reply to a request.

        The arguments are those of `cut_before_request`.
        """
        with self._served._acting():
            self._faults.cut_after_reply(k, op=op)

    def drop_request(self, k: int | None = None, *, op: int | None = None) -> None:
        """Lose a request; the connection stays.

        The arguments are those of `cut_before_request`.
        """
        with self._served._acting():
            self._faults.drop_request(k, op=op)

    def drop_reply(self, k: int | None = None, *, op: int | None = None) -> None:
        """Lose the reply to a request; the connection stays.

        The arguments are those of `cut_before_request`.
        """
        with self._served._acting():
            self._faults.drop_reply(k, op=op)

    def corrupt_request(self, k: int | None = None, *, op: int | None = None, at: int = 0) -> None:
        """Flip the highest bit of one byte of a request.

        Args:
            k: see `cut_before_request`.
            op: see `cut_before_request`.
            at: which byte, counted behind the length, or from the end if negative.
        """
        with self._served._acting():
            self._faults.corrupt_request(k, op=op, at=at)

    def corrupt_reply(self, k: int | None = None, *, op: int | None = None, at: int = 0) -> None:
        """Flip the highest bit of one byte of the reply to a request.

        The arguments are those of `corrupt_request`.
        """
        with self._served._acting():
            self._faults.corrupt_reply(k, op=op, at=at)


def open_listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """Listen on *count* ports, in a row if *port* says where they begin; after a failure on none.

    Raises:
        OSError: a port is taken, or the address is not one of this machine's.
        InvalidRequestError: there are no such ports.
    """
    if not 0 <= port <= 65535 or (port and port + count - 1 > 65535):
        raise InvalidRequestError(f"{count} ports from {port} on: ports are numbers from 1 to 65535, and 0 is any")
    found: list[socket.socket] = []
    try:
        for i in range(count):
            found.append(_open_listener(host, port + i) if port else _open_any_listener(host))
    except BaseException:
        for listener in found:
            listener.close()
        raise
    return found


def _open_any_listener(host: str) -> socket.socket:
    """Listen on a free port. It is asked for by its number: Linux takes one back that it has chosen itself."""
    if not sys.platform.startswith("linux"):
        return _open_listener(host, 0)
    with _bind(host, 0) as found:
        return _open_listener(host, found.getsockname()[1])


def _open_listener(host: str, port: int) -> socket.socket:
    listener = _bind(host, port)
    try:
        listener.setblocking(False)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def _bind(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            # Otherwise a server cannot be started again while connections of the last one are being buried.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _cannot_listen(host, port, error) from error
    return bound


def _cannot_listen(host: str, port: int, error: OSError) -> OSError:
    return OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}")


def _named(listener: socket.socket) -> str:
    host, port = _address(listener)
    return f"{host}:{port}"


def _address(listener: socket.socket) -> tuple[str, int]:
    """Where it listens; an IPv6 address is in brackets, as it is wherever a port follows."""
    host, port = listener.getsockname()[:2]
    return (f"[{host}]" if ":" in host else host), port
