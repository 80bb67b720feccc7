"""Ctrl-C: it must not strike in the middle of a change to the state of a session.

Python raises KeyboardInterrupt in the main thread between any two instructions. While the main thread is inside this
package, it is remembered instead, whatever blocks is woken, and the interrupt is raised from there, so that it unwinds
through the same clean-up as a timeout. Only Python's own handler is replaced, and only as long as a client is open.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from weakref import WeakSet

__all__ = ["INTERRUPTS"]


class Interrupts:
    """What becomes of SIGINT in this process.

    Attributes:
        main: the ident of the main thread, where signals arrive.
        pending: whether there was one that was not raised yet.
        wake: set while the main thread blocks; lets it look at `pending`.
    """

    __slots__ = ("_clients", "_inside", "main", "pending", "wake")

    def __init__(self) -> None:
        self.main = threading.main_thread().ident
        self.pending = False
        self.wake: Callable[[], None] | None = None
        self._inside = False
        self._clients: WeakSet[object] = WeakSet()

    def opened(self, client: object) -> None:
        """A client was opened: take over from Python's handler. Only the main thread can, so others leave it."""
        if threading.get_ident() != self.main:
            return
        self._clients.add(client)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)

    def closed(self, client: object) -> None:
        """A client was closed: after the last one Python's handler is back, once the main thread closes one."""
        self._clients.discard(client)
        if threading.get_ident() != self.main or self._clients:
            return
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def enter(self) -> bool:
        """From here on nothing is raised by a signal; return whether `leave` must be called."""
        if threading.get_ident() != self.main or self._inside:
            return False
        self._inside = True
        return True

    def leave(self) -> None:
        """From here on the interrupt is raised again; it is raised now if there was one."""
        self._inside = False
        if self.pending:
            self.check()

    def check(self) -> None:
        """Raise an interrupt that came in between.

        Raises:
            KeyboardInterrupt: there was one.
        """
        if self.pending and threading.get_ident() == self.main:
            self.pending = False
            raise KeyboardInterrupt

    def forked(self) -> None:
        """This is a child: the thread that has forked is the main thread here, and in no call."""
        self.main = threading.get_ident()
        self._inside = self.pending = False
        self.wake = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._inside:
            signal.default_int_handler(number, frame)
        self.pending = True
        if self.wake is not None:
            self.wake()


INTERRUPTS = Interrupts()
"""There is one handler in a process, so there is one of these."""
