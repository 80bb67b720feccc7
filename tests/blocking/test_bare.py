"""With Python alone: neither trio nor anyio nor any other package is there, and no event loop is loaded."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.blocking.tools import REPOSITORY
from tests.support.servers import AnyServer

PROGRAM = """
import sys

FORBIDDEN = {"trio", "anyio", "sniffio", "outcome", "uvloop", "asyncio", "curio", "greenlet", "gevent"}

class Guard:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"{name} is imported")

sys.meta_path.insert(0, Guard)
sys.path[:] = [path for path in sys.path if "site-packages" not in path] + [sys.argv[1]]
import zk_blocking as zk
with_hosts = sys.argv[2:]
if with_hosts:
    hosts, root = with_hosts
    with zk.open_client(hosts + root) as client:
        client.create("/a", b"x")
        with client.lock("/lock") as lock, client.watch("/", recursive=True) as changes:
            lock.guarded().set("/a", b"y").commit()
            assert changes.next(timeout=5).path == "/a"
        assert [path for path, _ in client.walk()] == ["/", "/a", "/lock"]
        assert client.get("/a").data == b"y"
    assert zk.four_letter_word(hosts, "ruok") == "imok"
import json, os, sysconfig
stdlib = sysconfig.get_path("stdlib")
others = [
    name
    for name, module in sys.modules.items()
    if getattr(module, "__file__", None) and not os.path.realpath(module.__file__).startswith(os.path.realpath(stdlib))
]
print(json.dumps([sorted({name.partition(".")[0] for name in others}), sorted(FORBIDDEN & set(sys.modules))]))
"""


def run(*arguments: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "dev", "-W", "error", "-c", PROGRAM, str(REPOSITORY), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_importing() -> None:
    assert run() == [["zk_adapter", "zk_blocking", "zk_sansio"], []]


def test_working(server: AnyServer, root: str) -> None:
    assert run(server.hosts, root) == [["zk_adapter", "zk_blocking", "zk_sansio"], []]
