"""No thread and no child process outlives a test."""

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

GRACE = 2.0


def children() -> set[int]:
    """Find the ids of this process's children; none on systems without /proc."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # Reaps nothing.
    except ChildProcessError:
        return set()  # The usual case, and quick.
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may hold anything; what follows the last bracket starts with state and parent.
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # It has ended meanwhile.
        if parent == os.getpid():
            found.add(int(entry.parent.name))
    return found


def running(pid: int) -> bool:
    """Tell whether a process is there and more than a zombie; on systems without /proc, whether it is there."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()


def command(pid: int) -> str:
    """Tell the command line of a process, for messages."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "ended"


class LeakCheck:
    """Knows the threads and children there are now; later, tells which have been added since."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._children = children()

    def leaked(self, allowed: Iterable[int] = ()) -> list[str]:
        """Describe what has been added and does not go away within a moment.

        Args:
            allowed: Ids of children that belong to longer-lived fixtures.
        """
        deadline = time.monotonic() + GRACE
        while found := self._added(set(allowed)):
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        return found

    def _added(self, allowed: set[int]) -> list[str]:
        threads = [
            f"thread {thread.name}"
            for thread in set(threading.enumerate()) - self._threads
            if not thread.name.startswith("Trio thread")  # trio keeps idle workers for some seconds.
        ]
        processes = [f"process {pid}: {command(pid)}" for pid in children() - self._children - allowed]
        return threads + processes
