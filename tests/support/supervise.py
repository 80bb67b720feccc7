"""The process between the tests and the servers they start: they are gone when it is, or when its parent is.

A test process may be killed at any moment, so it cannot be trusted to clean up. This script is run as a child of the
test process. It owns a temporary folder and the processes that it is told to start. When its standard input closes,
when its parent is gone, or when it is told to stop by SIGTERM, it kills those processes (SIGKILL, so paused ones die
too), removes the folder and ends. It has a session of its own, so Ctrl-C in a terminal does not reach it or the
servers. Should it be killed itself, the kernel kills its children (Linux).

It is run by its path, isolated and without `site`, to be quick; so it imports nothing but the standard library. It
reads commands and writes answers as lines of JSON; `processes.Processes` is the other side.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from typing import Any

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends; the parent has only one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Supervisor:
    """Starts, signals and reaps processes, as told by commands."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command; whatever goes wrong becomes part of the answer."""
        try:
            result = getattr(self, f"do_{command.pop('do')}")(**command.pop("with"))
        except Exception:
            return {"id": command["id"], "error": traceback.format_exc()}
        return {"id": command["id"], "result": result}

    def do_folder(self) -> str:
        """Name the temporary folder."""
        return self._folder

    def do_spawn(self, argv: list[str], cwd: str, log: str) -> int:
        """Start a process whose output is appended to the file *log*; return its id."""
        with open(log, "ab") as output:
            child = subprocess.Popen(
                argv,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 -- there are no threads here
            )
        self._children[child.pid] = child
        return child.pid

    def do_signal(self, pid: int, number: int) -> None:
        """Send a signal; a process that has ended is left in peace (its id may belong to another one by now).

        After SIGSTOP, wait until all threads have stopped.
        """
        child = self._children[pid]
        child.send_signal(number)
        if number == signal.SIGSTOP and child.returncode is None:
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def do_poll(self, pid: int) -> int | None:
        """Tell the exit code, or None while the process is alive."""
        return self._children[pid].poll()

    def end(self) -> None:
        """Kill all that is left and remove the folder."""
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def commands(parent: int) -> Iterator[dict[str, Any]]:
    """Yield the commands that come in, until the input closes or the process *parent* is gone."""
    watched = [sys.stdin.fileno()]
    if hasattr(os, "pidfd_open"):  # A copy of the pipe may survive the parent in a forked child of it; this cannot.
        with contextlib.suppress(OSError):
            watched.append(os.pidfd_open(parent))
    if os.getppid() != parent:
        return
    received = b""
    while True:
        ready, _, _ = select.select(watched, [], [])
        if ready != [watched[0]]:
            return
        chunk = os.read(watched[0], 65536)
        if not chunk:
            return
        *lines, received = (received + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


def main() -> None:
    """Serve the parent, whose process id is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    supervisor = Supervisor(tempfile.mkdtemp(prefix="zk-sansio-"))
    try:
        for command in commands(int(sys.argv[1])):
            line = json.dumps(supervisor.answer(command)) + "\n"
            os.write(sys.stdout.fileno(), line.encode())
    except BrokenPipeError:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        supervisor.end()


if __name__ == "__main__":
    main()
