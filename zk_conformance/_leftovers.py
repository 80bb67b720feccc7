"""What a client may leave behind in its process: threads and sockets. Tasks are known to the event loop only."""

from __future__ import annotations

import os
import stat
import threading

__all__ = ["Leftovers"]


class Leftovers:
    """Knows the threads and the sockets that there are now; later, tells which have been added since."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._sockets = _sockets()

    def added(self, *, but_threads: tuple[str, ...] = ()) -> list[str]:
        """Name what there is now, and was not.

        Args:
            but_threads: how the names of threads begin that the event loop keeps for later.
        """
        threads = [thread.name for thread in threading.enumerate() if thread not in self._threads]
        found = [f"thread {name}" for name in threads if not name.startswith(but_threads or ("\0",))]
        return found + [f"socket {number}" for number, _ in sorted(_sockets() - self._sockets)]


def _sockets() -> set[tuple[int, int]]:
    """The open sockets of this process, by number and identity; none where the system does not tell."""
    found = set()
    for name in os.listdir("/dev/fd") if os.path.isdir("/dev/fd") else ():
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # the one that listing has used
        if stat.S_ISSOCK(status.st_mode):
            found.add((int(name), status.st_ino))
    return found
