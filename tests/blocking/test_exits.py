"""The end of the interpreter with a client that nobody has closed: prompt, silent, and with the right code."""

from __future__ import annotations

import time

import pytest

from tests.blocking.tools import quiet, refusing, script
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient
from tests.support.servers import AnyServer
from tests.support.waiting import eventually

OPEN = """
scope = zk.open_client(hosts + root, session_timeout=60)
client = scope.__enter__()
client.create("/mine", ephemeral=True)
"""

ENDS = {
    "left open": OPEN,
    "in a cycle": OPEN
    + """
class Node: pass
node = Node()
node.me, node.client, node.scope = node, client, scope
del scope, client
""",
    "a generator": OPEN + "walking = client.walk(); next(walking)",
    "scopes within": OPEN
    + """
lock = client.lock("/lock").__enter__()
changes = client.watch("/").__enter__()
""",
    "a thread": """
def work():
    global scope, client
    scope = zk.open_client(hosts + root, session_timeout=60)
    client = scope.__enter__()
    client.create("/mine", ephemeral=True)
thread = threading.Thread(target=work)
thread.start()
""",
    "a thread that goes on": OPEN
    + """
def work():
    while threading.main_thread().is_alive():
        client.get("/")
    for _ in range(20):
        client.get("/")
        time.sleep(0.005)
threading.Thread(target=work).start()
""",
    "a daemon within": """
def work():
    with zk.open_client(hosts + root, session_timeout=60) as client:
        client.create("/mine", ephemeral=True)
        ready.set()
        client.wait_for("/nothing")
ready = threading.Event()
threading.Thread(target=work, daemon=True).start()
ready.wait()
""",
    "daemons that call": OPEN
    + """
def work():
    try:
        while True:
            client.get("/")
    except zk.ClosedError:
        pass
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "handlers at exit": OPEN
    + """
import atexit
atexit.unregister(zk._runner._at_exit)
atexit.register(lambda: (client.close(), closed()))
atexit.register(zk._runner._at_exit)
"""
    + """
def closed():
    try:
        client.get("/")
    except zk.ClosedError:
        return
    print("open")
def first():
    client.get("/")
atexit.register(first)
""",
    "several": OPEN
    + """
more = [zk.open_client(hosts + root).__enter__() for _ in range(3)]
""",
    "the body ends": """
with zk.open_client(hosts + root, session_timeout=60) as client:
    client.create("/mine", ephemeral=True)
    sys.exit()
""",
    "exited by hand": OPEN + "scope.__exit__(None, None, None)",
    "dropped": OPEN + "del client, scope",
    "never entered": "scope = zk.open_client(hosts)\n" + OPEN.replace("scope", "other"),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends(server: AnyServer, root: str, witness: RawClient, name: str) -> None:
    """The session is ended, too: what is ephemeral does not wait for its timeout of a minute."""
    began = time.monotonic()
    quiet(script(ENDS[name], server.hosts, root))
    assert time.monotonic() - began < 10
    eventually(lambda: witness.exists(f"{root}/mine") is None, 5)


def test_a_session_that_is_to_be_kept_is_kept(server: AnyServer, root: str, witness: RawClient) -> None:
    text = OPEN.replace("session_timeout=60", "session_timeout=3, keep_session=True")
    for end in ("", "del client, scope; gc.collect()", "scope.__exit__(None, None, None)"):
        quiet(script(text + end, server.hosts, root))
        time.sleep(0.1)  # what must not happen would happen now
        assert witness.exists(f"{root}/mine"), end
        witness.delete(f"{root}/mine")


def test_exit_codes(server: AnyServer, root: str, witness: RawClient) -> None:
    done = script(OPEN + "sys.exit(3)", server.hosts, root)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    done = script("with zk.open_client(hosts + root) as client: sys.exit(4)", server.hosts, root)
    assert (done.returncode, done.stdout, done.stderr) == (4, "", "")
    eventually(lambda: witness.exists(f"{root}/mine") is None, 5)
    done = script(OPEN + "raise SystemExit('enough')", server.hosts, root)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "enough\n")
    eventually(lambda: witness.exists(f"{root}/mine") is None, 5)
    done = script(OPEN + "1 / 0", server.hosts, root)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")
    assert "Warning" not in done.stderr
    assert "zk-keeper" not in done.stderr
    eventually(lambda: witness.exists(f"{root}/mine") is None, 5)


def test_while_nobody_answers(proxy: ChaosProxy, root: str) -> None:
    """Behind a black hole the end takes a moment, not the session's timeout."""
    text = """
scope = zk.open_client(hosts + root, session_timeout=60)
client = scope.__enter__()
calling = [threading.Thread(target=client.get, args=("/",), daemon=True) for _ in range(3)]
for thread in calling:
    thread.start()
while client._core._engine.session.in_flight < 3:
    time.sleep(0.001)
"""
    proxy.drop_reply_when(lambda frame: frame[:4] != b"\0\0\0\0")
    began = time.monotonic()
    quiet(script(text, proxy.hosts, root))
    assert time.monotonic() - began < 8


def test_while_connecting() -> None:
    with refusing() as hosts:
        began = time.monotonic()
        quiet(script("client = zk.open_client(hosts, open_timeout=0).__enter__()", hosts, "/"))
        quiet(script("scope = zk.open_client(hosts)", hosts, "/"))
        assert time.monotonic() - began < 10


def test_while_a_name_is_looked_up() -> None:
    """A look-up cannot be interrupted; nobody waits for it."""
    text = """
import socket
real = socket.getaddrinfo
asked = threading.Event()
def hang(host, *rest, flags=0, **more):
    if flags:
        raise socket.gaierror(socket.EAI_NONAME, "not numeric")
    asked.set()
    time.sleep(60)
socket.getaddrinfo = hang
scope = zk.open_client("slow.example", open_timeout=0)
client = scope.__enter__()
asked.wait()
"""
    began = time.monotonic()
    quiet(script(text, "", ""))
    quiet(script(text + "scope.__exit__(None, None, None)", "", ""))
    assert time.monotonic() - began < 10
