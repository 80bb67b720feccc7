"""The two servers: a real ZooKeeper, and the stand-in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from .places import Place
from .with_socket import Bare, create, delete

__all__ = ["Server", "UnavailableError", "made_below", "real_server", "stand_in", "workplace"]

_MEMORY = Path("/dev/shm")
_WINDOW = 100


class UnavailableError(Exception):
    """A server cannot be had; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs.

    Attributes:
        host: where.
        port: where.
        pid: its process; 0 if that is not on this machine, or not ours.
        about: a few words for the report.
    """

    host: str
    port: int
    pid: int
    about: str


@contextmanager
def real_server(place: Place | None) -> Iterator[Server]:
    """A standalone ZooKeeper of our own with its data in memory, or the first server of ``ZK_HOSTS``.

    Args:
        place: where it runs; None for anywhere. A server of ``ZK_HOSTS`` stays where it is.

    Raises:
        UnavailableError: there is none.
    """
    if hosts := os.environ.get("ZK_HOSTS"):
        host, _, port = re.split(r"[,/]", hosts)[0].rpartition(":")
        if not host or not port.isdigit():
            raise UnavailableError(f"the benchmarks need ZK_HOSTS as host:port, not {hosts!r}")
        host, number = host.strip("[]"), int(port)
        try:
            about = f"ZooKeeper {_version(host, number)} of ZK_HOSTS"
        except OSError as error:
            raise UnavailableError(f"ZK_HOSTS: {host}:{number} cannot be asked: {error}") from error
        yield Server(host=host, port=number, pid=0, about=about)
        return
    try:
        from tests.support.java import MissingServerError
        from tests.support.servers import HOST, ZooKeeperServer
        from tests.support.settings import Options
    except ImportError as error:
        raise UnavailableError(f"{error}: run this in a checkout with the extra `test`, or set ZK_HOSTS") from error
    in_memory = os.access(_MEMORY, os.W_OK)
    # The temporary folder is chosen by a child process, which inherits this.
    before = os.environ.get("TMPDIR")
    if in_memory:
        os.environ["TMPDIR"] = str(_MEMORY)
    try:
        # No snapshots: they would come in the turn of whoever is unlucky.
        server = ZooKeeperServer(Options(properties={"zookeeper.snapCount": 2**30}))
    except MissingServerError as error:
        raise UnavailableError(str(error)) from error
    finally:
        if before is not None:
            os.environ["TMPDIR"] = before
        elif in_memory:
            del os.environ["TMPDIR"]
    with server:
        if place is not None:
            place.take(server.pid)
        where = "on tmpfs" if in_memory else "on disk"
        version = _version(HOST, server.port)
        about = f"ZooKeeper {version}, standalone, data {where}, no fsync, -Xmx128m, serial GC, C1 only"
        yield Server(host=HOST, port=server.port, pid=server.pid, about=about)


def _version(host: str, port: int) -> str:
    """Ask a server which release it is."""
    from tests.support.raw import four_letter

    found = re.search(r"version: ([^\s,-]+)", four_letter(host, port, "srvr"))
    return found[1] if found else "of unknown version"


@contextmanager
def stand_in(place: Place | None, size: int) -> Iterator[Server]:
    """The stand-in, compiled just now.

    Args:
        place: where it runs; None for anywhere.
        size: bytes of data in each reply.

    Raises:
        UnavailableError: it cannot be compiled.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise UnavailableError("there is no C compiler `cc` for the stand-in")
    with tempfile.TemporaryDirectory(prefix="zk-sansio-stand-in-") as folder:
        program = Path(folder, "stand_in")
        source = Path(__file__).with_name("stand_in.c")
        made = subprocess.run([compiler, "-O2", "-o", program, source], capture_output=True, text=True, check=False)
        if made.returncode:
            raise UnavailableError(f"the stand-in cannot be compiled:\n{made.stderr}")
        with subprocess.Popen(
            [program, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            try:
                port = int(process.stdout.readline())
                if place is not None:
                    place.take(process.pid)
                yield Server(host="127.0.0.1", port=port, pid=process.pid, about="stand-in: C, one thread, epoll")
            finally:
                process.kill()


@contextmanager
def workplace(server: Server, size: int) -> Iterator[str]:
    """The path of a znode of our own with *size* bytes, which goes away again."""
    path = f"/zk-sansio-benchmarks-{uuid4().hex[:8]}"
    with Bare(server.host, server.port) as bare:
        bare.checked(create(path, bytes(size)))
    try:
        yield path
    finally:
        with Bare(server.host, server.port) as bare:
            bare.checked(delete(path))


@contextmanager
def made_below(server: Server, path: str, names: list[str]) -> Iterator[str]:
    """The path of a new znode; when it goes away, the *names* below it have to go first."""
    parent = f"{path}/made"
    with Bare(server.host, server.port) as bare:
        bare.checked(create(parent, b""))
    try:
        yield parent
    finally:
        with Bare(server.host, server.port) as bare:
            if names:
                requests = [delete(f"{parent}/{name}") for name in names]
                bare.at_once([frame for frame, _ in requests], requests[0][1], _WINDOW)
            bare.checked(delete(parent))
