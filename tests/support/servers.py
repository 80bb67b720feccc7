"""Real Apache ZooKeeper servers.

Every call blocks, for a moment (signals, questions) or for up to a second or so (starting, stopping). In trio tests use
`await blocking(server.restart)` from `waiting` for the long ones, so that the client under test can go on. Real servers
do not go with an autojump clock: it jumps while a thread is waited for.
"""

import contextlib
import re
import shutil
import signal
import socket
import ssl
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from tests.support.java import class_path, java_command
from tests.support.processes import Process, Processes
from tests.support.raw import RawClient, four_letter
from tests.support.settings import Options, Ports, jvm_arguments, write_files

HOST = "127.0.0.1"
START = 30.0
STOP = 10.0
POLL = 0.01


class ServerFailedError(RuntimeError):
    """A server did not start, or did not do what it was told; the message ends with the tail of its log."""


def reserve_port() -> socket.socket:
    """Find a free port of the loopback interface and keep it: nobody else is given it while the socket is open.

    The socket is bound and does not listen. A server that sets SO_REUSEADDR, as Java's do, can bind the same port and
    listen.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((HOST, 0))
    return reserved


class AnyServer(ABC):
    """What tests may do with a server of whatever kind: `ZooKeeperServer`, or one in memory from `memory`.

    Attributes:
        server_id: The number in an ensemble; 0 for a server of its own.
        port: The port for clients; it answers four-letter words, too.
        ports: All ports that a member of an ensemble has.
    """

    server_id: int
    port: int
    ports: Ports
    _version: str = ""

    @property
    def hosts(self) -> str:
        """The connect string."""
        return f"{HOST}:{self.port}"

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it runs; a paused one does."""

    @property
    @abstractmethod
    def paused(self) -> bool:
        """Whether it is held by `pause`."""

    @property
    def version(self) -> str:
        """The version as the server tells it, such as "3.9.5"."""
        if not self._version:
            found = re.search(r"version: (\d+(\.\d+)*)", answer := self.four_letter("srvr"))
            if found is None:
                raise ServerFailedError(f"it does not tell its version: {answer}")
            self._version = found[1]
        return self._version

    @property
    def version_info(self) -> tuple[int, ...]:
        """The version as numbers, to compare."""
        return tuple(int(part) for part in self.version.split("."))

    @abstractmethod
    def start(self, *, wait: bool = True) -> None:
        """Start it; if it is alive it goes on, also if it was paused.

        Args:
            wait: Return when it serves. A member of an ensemble serves only with enough of the others.

        Raises:
            ServerFailedError: It ended, or did not serve in time.
        """

    @abstractmethod
    def stop(self) -> None:
        """End it in an orderly way; nothing happens if it has ended."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once, paused or not; nothing happens if it has ended."""

    @abstractmethod
    def pause(self) -> None:
        """Hold it: connections stay, and are still made, but nothing is answered."""

    @abstractmethod
    def resume(self) -> None:
        """Let it go on; nothing happens if it is not paused."""

    def restart(self, *, kill: bool = False) -> None:
        """End it and start it again, on the same port, with the same data.

        Args:
            kill: At once.
        """
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def heal(self) -> None:
        """Bring the server back to life, whatever a test has done to it."""
        self.start()

    def wait_until_serving(self, timeout: float = START) -> None:
        """Wait until the server has a mode, such as standalone or follower.

        Raises:
            ServerFailedError: It ended, or did not serve in time.
        """
        began = now = time.monotonic()
        # A server that is just starting may leave a connection open for ever, so do not wait for it long at first.
        while not self._serves(timeout=min(0.1 + (now - began) / 4, 2.0)):
            now = time.monotonic()
            if not self.alive:
                raise ServerFailedError(self._failure("it ended"))
            if now > began + timeout:
                raise ServerFailedError(self._failure(f"it did not serve within {timeout} s"))
            time.sleep(POLL)

    def mode(self, *, timeout: float = 2.0) -> str | None:
        """Tell what the server does: standalone, leader, follower, observer, read-only; None if it does not serve."""
        if not self.alive or self.paused:
            return None
        try:
            found = re.search(r"^Mode: (\S+)", self.four_letter("srvr", timeout=timeout), re.MULTILINE)
        except OSError:
            return None
        return found[1] if found else None

    def four_letter(self, word: str, *, timeout: float = 5.0) -> str:
        """Ask one of the four-letter words.

        Raises:
            OSError: The server cannot be reached, or did not answer in time.
        """
        return four_letter(HOST, self.port, word, timeout=timeout)

    def raw(self, *, session_ms: int = 10_000, session: tuple[int, bytes] = (0, bytes(16))) -> RawClient:
        """Connect an independent client."""
        return RawClient(HOST, self.port, session_ms=session_ms, session=session)

    def _serves(self, timeout: float) -> bool:
        return self.mode(timeout=timeout) is not None

    def _failure(self, what: str) -> str:
        return f"ZooKeeper on port {self.port}: {what}"


class ZooKeeperServer(AnyServer):
    """One server process at a time, on ports of its own which it keeps, with data in a temporary folder.

    It is standalone, unless made by `ensemble.Ensemble`. Start it, close it in the end; under `with` both are done.

    Attributes:
        options: How it is configured.
        folder: Its files.
        port: The port for clients; it answers four-letter words, too.
        secure_port: The port for TLS clients; 0 if there is none.
    """

    def __init__(self, options: Options | None = None, *, owner: Processes | None = None, server_id: int = 0) -> None:
        """Prepare a server; nothing runs yet.

        Args:
            options: How it is configured.
            owner: Runs the process; by default it is one of its own.
            server_id: The number in an ensemble; 0 makes a standalone server.
        """
        self.options = options or Options()
        self.server_id = server_id
        java_command(), class_path()  # Fail early, with advice.
        self._cleanup = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self._owner = owner or stack.enter_context(Processes())
            reserve = [True, self.options.certificates is not None, server_id > 0, server_id > 0]
            sockets = [stack.enter_context(reserve_port()) if wanted else None for wanted in reserve]
            client, secure, quorum, election = (s.getsockname()[1] if s else 0 for s in sockets)
            self.ports = Ports(client=client, secure=secure, quorum=quorum, election=election)
            self.folder = self._owner.folder / f"server-{server_id}"
            self.folder.mkdir()
            self._cleanup = stack.pop_all()
        self.port = self.ports.client
        self.secure_port = self.ports.secure
        self._log = self.folder / "server.log"
        self._process: Process | None = None
        self._paused = False
        self.configure("")

    def configure(self, members: str) -> None:
        """Write the configuration; *members* are the lines of the dynamic file of an ensemble."""
        write_files(self.options, self.folder, self.ports)
        if self.server_id:
            (self.folder / "data" / "myid").write_text(str(self.server_id))
            (self.folder / "zoo.cfg.dynamic").write_text(members)

    @property
    def secure_hosts(self) -> str:
        """The connect string for TLS, by name so that the certificate can be checked."""
        return f"localhost:{self.secure_port}"

    @property
    def pid(self) -> int:
        """The id of the server's process, the last one if it has ended; 0 before the first start."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        """Whether the process runs; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def paused(self) -> bool:
        """Whether the process is held by `pause`."""
        return self._paused and self.alive

    def start(self, *, wait: bool = True) -> None:
        """Start the process; if it is alive it goes on, also if it was paused.

        Args:
            wait: Return when it serves. A member of an ensemble serves only with enough of the others.

        Raises:
            ServerFailedError: It ended, or did not serve in time.
        """
        self.resume()
        if not self.alive:
            main = "quorum.QuorumPeerMain" if self.server_id else "ZooKeeperServerMain"
            argv = [java_command(), *self._arguments(), f"org.apache.zookeeper.server.{main}"]
            self._process = self._owner.spawn([*argv, str(self.folder / "zoo.cfg")], cwd=self.folder, log=self._log)
        if wait:
            self.wait_until_serving()

    def stop(self) -> None:
        """End the process in an orderly way (SIGTERM); nothing happens if it has ended.

        Raises:
            ServerFailedError: It did not end in time, and was killed.
        """
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP)
        except TimeoutError:
            self.kill()
            raise ServerFailedError(self._failure(f"it did not stop within {STOP} s")) from None

    def kill(self) -> None:
        """End the process at once (SIGKILL), paused or not; nothing happens if it has ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(STOP)
            self._paused = False

    def pause(self) -> None:
        """Hold the process (SIGSTOP): connections stay, and are still made by the kernel, but nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let the process go on (SIGCONT); nothing happens if it is not paused."""
        if self._process is not None and self._paused:
            self._process.send_signal(signal.SIGCONT)
        self._paused = False

    def wipe(self) -> None:
        """Throw the data away, as if the server were new; it must not be alive."""
        if self.alive:
            raise RuntimeError("stop the server first")
        shutil.rmtree(self.folder / "data")
        (self.folder / "data").mkdir()
        if self.server_id:
            (self.folder / "data" / "myid").write_text(str(self.server_id))

    def four_letter(self, word: str, *, timeout: float = 5.0, context: ssl.SSLContext | None = None) -> str:
        """Ask one of the four-letter words; with a context, over TLS.

        Raises:
            OSError: The server cannot be reached, or did not answer in time.
        """
        if context is not None:
            return four_letter("localhost", self.secure_port, word, timeout=timeout, context=context)
        return super().four_letter(word, timeout=timeout)

    def log_tail(self, lines: int = 30) -> str:
        """Read the end of what the server has printed."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def close(self) -> None:
        """Kill the process and give back ports and files. May be called twice."""
        try:
            if not self._owner.closed:
                self.kill()
        finally:
            self._process = None
            self._cleanup.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _serves(self, timeout: float) -> bool:
        if not super()._serves(timeout):
            return False
        if self.options.certificates is None:
            return True
        try:  # The port for TLS is opened later.
            context = self.options.certificates.client_context()
            return "Mode:" in self.four_letter("srvr", timeout=timeout + 1.0, context=context)
        except OSError:
            return False

    def _arguments(self) -> list[str]:
        return [*jvm_arguments(self.options, self.folder), "-cp", f"{self.folder}:{class_path()}"]

    def _failure(self, what: str) -> str:
        code = self._process.poll() if self._process else None
        return f"ZooKeeper on port {self.port}: {what} (exit code {code})\n{self.log_tail()}"
