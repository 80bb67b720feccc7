"""Signals at the right moment, a server played by a thread, scripts in a process of their own."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from tests.support.peer import CLOSE_SESSION, NOTIFICATION_XID, PASSWORD, PING, PING_XID, Request, buffer, stat, string
from tests.support.waiting import eventually
from zk_blocking import Client
from zk_blocking._driver import Driver
from zk_blocking._interrupts import INTERRUPTS
from zk_blocking._runtime import BlockingRuntime

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]
LIMIT = 10.0
GET, SET, CREATE = 4, 5, 1
MAIN = threading.main_thread().ident or 0


def runtime_of(client: Client) -> BlockingRuntime:
    return client._runner._runtime


def driver_of(client: Client) -> Driver:
    return client._runner._driver


# --- what is left


def descriptors() -> set[tuple[str, str]]:
    """The open file descriptors, by number and by what they are; none where the system does not tell."""
    found = set()
    for entry in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the one that listing has used
            found.add((entry.name, os.readlink(entry)))
    return {(number, name) for number, name in found if not name.startswith("/proc/")}


# --- threads


class Background(Generic[T]):
    """A function in a thread of its own; its outcome is asked for, with a limit."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="test-background", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def outcome(self) -> T | BaseException | None:
        """What it has returned or raised; it is waited for."""
        self._thread.join(LIMIT)
        assert not self.running, "it does not end"
        return self._error or self._result

    def result(self) -> T:
        """What it has returned; what it has raised is raised."""
        outcome = self.outcome()
        if self._error is not None:
            raise self._error
        return outcome  # type: ignore[return-value]


# --- signals


def blocked() -> bool:
    """Whether the main thread is in a call of a client's, and blocks."""
    return INTERRUPTS.wake is not None


@contextmanager
def signals(*moments: Callable[[], object], number: signal.Signals = signal.SIGINT) -> Iterator[None]:
    """Send a signal to the main thread at each of the *moments*, which must come; by default when it blocks."""

    def send() -> None:
        for moment in moments or (blocked,):
            eventually(moment, pause=0.001)
            signal.pthread_kill(MAIN, number)

    sender = Background(send)
    try:
        yield
    finally:
        sender.result()


# --- a server


class Played:
    """The server's end of one connection, frame by frame."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(LIMIT)

    def read_frame(self) -> bytes:
        """Read one frame; EOFError at the end of the stream."""
        (length,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(length)

    def accept_session(self, timeout_ms: int | None = None, *, session_id: int = 0x1234) -> None:
        """Read the handshake and answer it."""
        frame = self.read_frame()
        (asked,) = struct.unpack_from(">i", frame, 12)
        self.send_connected(asked if timeout_ms is None else timeout_ms, session_id=session_id)

    def send_connected(self, timeout_ms: int, *, session_id: int = 0x1234) -> None:
        """Say that the session is accepted."""
        self.send_frame(connected(timeout_ms, session_id))

    def read_request(self) -> Request:
        """Read a request; pings are answered."""
        while True:
            frame = self.read_frame()
            xid, op = struct.unpack_from(">ii", frame)
            if op != PING:
                return Request(xid, op, frame[8:])
            self.reply(PING_XID)

    def reply(self, xid: int, body: bytes = b"", *, zxid: int = 1, err: int = 0) -> None:
        """Send a reply."""
        self.send_frame(struct.pack(">iqi", xid, zxid, err) + body)

    def answer(self, request: Request) -> None:
        """Send a good reply: a get of a path is answered with the path, closing by the end."""
        if request.op == GET:
            self.reply(request.xid, buffer(request.path().encode()) + stat())
        elif request.op == SET:
            self.reply(request.xid, stat())
        elif request.op in (3, 9):
            self.reply(request.xid, stat() if request.op == 3 else string(request.path()))
        elif request.op == 106:
            self.reply(request.xid, struct.pack(">i", 0))
        else:
            self.reply(request.xid)
        if request.op == CLOSE_SESSION:
            raise EOFError

    def serve(self) -> None:
        """Answer everything until the client is gone."""
        while True:
            self.answer(self.read_request())

    def notify(self, kind: int, path: str) -> None:
        """Send a notification."""
        self.reply(NOTIFICATION_XID, struct.pack(">ii", kind, 3) + string(path), zxid=-1)

    def send_frame(self, payload: bytes) -> None:
        """Send a frame; its length is put in front."""
        self.sock.sendall(struct.pack(">i", len(payload)) + payload)

    def _exactly(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            chunk = self.sock.recv(count - len(received))
            if not chunk:
                raise EOFError
            received += chunk
        return bytes(received)


def connected(timeout_ms: int, session_id: int = 0x1234) -> bytes:
    """The answer to a handshake, without the length in front."""
    return struct.pack(">iiq", 0, timeout_ms, session_id) + buffer(PASSWORD) + b"\0"


class Peer:
    """A port where a function plays the server of one connection after the other, in a thread; use it under `with`.

    The end of a connection ends the function; whatever else goes wrong in it comes out when the scope is left.

    Args:
        play: what it does with a connection.
        tls: for TLS.
    """

    def __init__(self, play: Callable[[Played], object], *, tls: ssl.SSLContext | None = None) -> None:
        self._play = play
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: socket.socket | None = None
        self._ending, self._end = socket.socketpair()
        self.connections = 0
        self.hosts = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = Background(self._serve)

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._ending], [], [])
            if self._ending in ready:
                return
            sock, _ = self._listener.accept()
            self.connections += 1
            with suppress(EOFError, ConnectionError, ssl.SSLError):
                if self._tls is not None:
                    sock.settimeout(LIMIT)
                    sock = self._tls.wrap_socket(sock, server_side=True)
                with sock:
                    self._open = sock
                    self._play(Played(sock))
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.send(b"x")
        if self._open is not None:
            with suppress(OSError):
                self._open.shutdown(socket.SHUT_RDWR)
        try:
            self._thread.result()
        finally:
            for each in (self._listener, self._ending, self._end):
                each.close()


@contextmanager
def refusing() -> Iterator[str]:
    """A port that refuses connections, as long as the scope lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


# --- scripts

HEAD = """
import sys
sys.path[:0] = [{repository!r}]
import gc, os, signal, threading, time
import zk_blocking as zk
import zk_blocking._interrupts, zk_blocking._runner
hosts, root, *rest = sys.argv[1:]
"""


def script(
    text: str, hosts: str, root: str, *rest: str, options: tuple[str, ...] = ("-X", "dev", "-W", "error")
) -> subprocess.CompletedProcess[str]:
    """Run a program that finds ``zk``, ``hosts`` and ``root``; it must end within the limit."""
    program = HEAD.format(repository=str(REPOSITORY)) + text
    return subprocess.run(
        [sys.executable, *options, "-c", program, hosts, root, *rest],
        capture_output=True,
        text=True,
        timeout=3 * LIMIT,
        check=False,
        cwd="/",
    )


def quiet(done: subprocess.CompletedProcess[str]) -> None:
    """Check that a program has ended well, and has printed nothing."""
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def public_calls(kind: type) -> set[str]:
    """The names of what can be called on a *kind* of object with a timeout."""
    import inspect

    found: dict[str, Any] = dict(inspect.getmembers(kind, inspect.isfunction))
    return {
        name
        for name, function in found.items()
        if not name.startswith("_") and "timeout" in inspect.signature(function).parameters
    }
