"""Child processes, and a temporary folder, that are gone when this process is gone, even when it was killed.

They are children of a small supervisor process (see `supervise`), which is this process's child.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import supervise

POLL = 0.005


class Process:
    """One process run by the supervisor."""

    def __init__(self, owner: "Processes", pid: int) -> None:
        self.pid = pid
        self._owner = owner
        self._code: int | None = None

    def poll(self) -> int | None:
        """Tell the exit code (minus the signal's number if one ended it), or None while the process is alive."""
        if self._code is None:
            self._code = self._owner.ask("poll", pid=self.pid)
        return self._code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the process has ended."""
        self._owner.ask("signal", pid=self.pid, number=int(number))

    def wait(self, timeout: float) -> int:
        """Wait for the end of the process.

        Args:
            timeout: The longest time to wait, in seconds.

        Returns:
            The exit code.

        Raises:
            TimeoutError: It is still running.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} is still running after {timeout} s")
            time.sleep(POLL)
        return code


class Processes:
    """Starts processes that cannot outlive this one. Usable from several threads; close it, or use it under `with`.

    Attributes:
        pid: The id of the supervisor process.
        folder: A temporary folder, removed in the end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = 0
        self._closed = False
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", supervise.__file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self._supervisor.pid
        self.folder = Path(self.ask("folder"))

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._closed

    def ask(self, command: str, **arguments: object) -> Any:
        """Have the supervisor carry out a command, and return its result.

        Raises:
            RuntimeError: The command failed, or the supervisor is gone.
        """
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        with self._lock:
            if self._closed:
                raise RuntimeError("the processes have been closed")
            self._asked += 1
            line = json.dumps({"id": self._asked, "do": command, "with": arguments}) + "\n"
            try:
                self._supervisor.stdin.write(line.encode())
                self._supervisor.stdin.flush()
            except BrokenPipeError:
                raise RuntimeError("the supervisor process is gone") from None
            while True:
                answer = self._supervisor.stdout.readline()
                if not answer:
                    raise RuntimeError("the supervisor process is gone")
                reply = json.loads(answer)
                if reply["id"] == self._asked:  # Others answer a command whose caller was interrupted.
                    break
        if "error" in reply:
            raise RuntimeError(f"{command} failed:\n{reply['error']}")
        return reply["result"]

    def spawn(self, argv: Sequence[str], *, cwd: Path, log: Path) -> Process:
        """Start a process in the folder *cwd*; what it prints is appended to *log*."""
        return Process(self, self.ask("spawn", argv=list(argv), cwd=str(cwd), log=str(log)))

    def close(self) -> None:
        """Kill what still runs, remove the folder, end the supervisor. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            assert self._supervisor.stdin is not None
            assert self._supervisor.stdout is not None
            self._supervisor.stdin.close()
            self._supervisor.wait()
            self._supervisor.stdout.close()
            shutil.rmtree(self.folder, ignore_errors=True)  # It is gone, unless the supervisor was killed.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
