"""A ZooKeeper server of one's own for a while, such as for the demo.

    with LocalZooKeeper() as server:
        print(server.hosts)
        server.kill()
        server.start()

The server and its temporary folder are gone when the program is, even when that was killed: between the two stands a
small process, the supervisor, which holds one end of a pipe. When the pipe closes, it kills the server, removes the
folder and ends. It is this same file, run as a program. Ctrl-C does not reach it, nor the server; and should it be
killed itself, the kernel kills the server (Linux).
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DEBIAN = Path("/usr/share/java")
START = 30.0
MAIN = "org.apache.zookeeper.server.ZooKeeperServerMain"
CONFIG = """\
tickTime=500
dataDir={folder}/data
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=srvr
forceSync=no
preAllocSize=1024
"""


class LocalZooKeeperError(Exception):
    """The server cannot be started; the message says what is missing, or ends with the tail of its log."""


# --- what a program uses


class LocalZooKeeper:
    """A server that runs as long as the scope lasts.

    Attributes:
        hosts: the connect string.
        folder: its data and its log; removed in the end.
        pid: the id of its process.
    """

    def __init__(self) -> None:
        command = [java_command(), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", class_path(), MAIN]
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self.pid = 0
        try:
            about = self._tell("about")
        except BaseException:
            self.close()
            raise
        self.hosts: str = about["hosts"]
        self.folder = Path(about["folder"])

    def start(self) -> None:
        """Start the server, on the same port and with the same data as before; return when it serves."""
        self.pid = self._tell("start")

    def kill(self) -> None:
        """End the server at once, by SIGKILL."""
        self._tell("kill")

    def close(self) -> None:
        """Kill the server and remove its folder."""
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._supervisor.stdin.close()
        self._supervisor.wait()
        self._supervisor.stdout.close()

    def _tell(self, word: str) -> Any:
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        try:
            self._supervisor.stdin.write(word + "\n")
            self._supervisor.stdin.flush()
            answer = self._supervisor.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise LocalZooKeeperError("the process that runs the server has ended")
        said = json.loads(answer)
        if "error" in said:
            raise LocalZooKeeperError(said["error"])
        return said["result"]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def java_command() -> str:
    """Find Java, in JAVA_HOME and then on PATH."""
    home = os.environ.get("JAVA_HOME")
    found = (home and shutil.which(str(Path(home, "bin", "java")))) or shutil.which("java")
    if not found:
        raise LocalZooKeeperError("There is no java, neither in JAVA_HOME nor on PATH. Java 11 or newer is needed.")
    return found


def class_path() -> str:
    """Find ZooKeeper: the folder ZOOKEEPER_JARS, or Debian's package."""
    if folder := os.environ.get("ZOOKEEPER_JARS"):
        if not [*Path(folder).glob("zookeeper.jar"), *Path(folder).glob("zookeeper-[0-9]*.jar")]:
            raise LocalZooKeeperError(f"ZOOKEEPER_JARS={folder}: there is no zookeeper-<version>.jar in it.")
        return f"{Path(folder).resolve()}/*"
    if not (DEBIAN / "zookeeper.jar").exists():
        raise LocalZooKeeperError(
            "There is no ZooKeeper on this machine. Install one (Debian, Ubuntu: apt-get install libzookeeper-java),\n"
            "or name a folder with the jars of a release: ZOOKEEPER_JARS=apache-zookeeper-3.9.5-bin/lib"
        )
    # The manifest of zookeeper.jar names the jars that it needs; a logger is not among them.
    jars = [DEBIAN / name for name in ("zookeeper.jar", "slf4j-simple.jar")]
    return ":".join(str(jar) for jar in jars if jar.exists())


# --- the supervisor


class Supervisor:
    """Runs the server, as it is told."""

    def __init__(self, java: list[str], folder: Path, port: int) -> None:
        self._java = java
        self._folder = folder
        self._port = port
        self._server: subprocess.Popen[bytes] | None = None

    def about(self) -> dict[str, str]:
        (self._folder / "data").mkdir()
        (self._folder / "zoo.cfg").write_text(CONFIG.format(folder=self._folder, port=self._port))
        return {"hosts": f"127.0.0.1:{self._port}", "folder": str(self._folder)}

    def start(self) -> int:
        with (self._folder / "server.log").open("ab") as log:
            server = self._server = subprocess.Popen(
                [*self._java, str(self._folder / "zoo.cfg")],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 -- there are no threads here
            )
        deadline = time.monotonic() + START
        while not self._serves():
            if server.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join((self._folder / "server.log").read_text(errors="replace").splitlines()[-20:])
                raise LocalZooKeeperError(f"The ZooKeeper server did not start. The end of its log:\n{tail}")
            time.sleep(0.05)
        return server.pid

    def _serves(self) -> bool:
        """Whether it has a mode; before that it may accept connections without serving them."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as asked:
                asked.sendall(b"srvr")
                return b"Mode:" in b"".join(iter(lambda: asked.recv(4096), b""))
        except OSError:
            return False

    def kill(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A free port that nobody else is given meanwhile; a server that sets SO_REUSEADDR, as Java's do, can use it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def supervise(java: list[str]) -> None:
    """Do what the lines of standard input say, until it closes."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder = Path(tempfile.mkdtemp(prefix="zk-sansio-demo-"))
    with reserved_port() as port:
        supervisor = Supervisor(java, folder, port)
        try:
            for line in sys.stdin:
                try:
                    said = {"result": getattr(supervisor, line.strip())()}
                except (LocalZooKeeperError, OSError) as error:
                    said = {"error": str(error)}
                print(json.dumps(said), flush=True)
        except BrokenPipeError:
            pass
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            supervisor.kill()
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)  # standard output may be gone, and is not to be flushed


if __name__ == "__main__":
    supervise(sys.argv[1:])
