"""Clients and scopes that are dropped: they end by themselves, without a warning."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest

import zk_blocking as zk
from tests.blocking.tools import Background, Peer, Played, driver_of, refusing, runtime_of
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient
from tests.support.servers import AnyServer
from tests.support.waiting import eventually
from zk_blocking import Client

pytestmark = pytest.mark.filterwarnings("error")


def ended(keeper: threading.Thread) -> None:
    gc.collect()
    keeper.join(5)
    assert not keeper.is_alive()


def keeper_of(client: Client) -> threading.Thread:
    return driver_of(client)._keeper


def test_a_client_that_is_dropped(server: AnyServer, root: str, witness: RawClient) -> None:
    scope = zk.open_client(server.hosts + root, session_timeout=60)
    client = scope.__enter__()
    client.create("/mine", ephemeral=True)
    keeper = keeper_of(client)
    view = client.at("/below")
    del client, scope
    gc.collect()
    assert view.full_path("/x") == f"{root}/below/x"
    assert view.exists("/") is None  # the last view keeps it alive
    assert keeper.is_alive()
    del view
    ended(keeper)
    eventually(lambda: witness.exists(f"{root}/mine") is None, 2)


def test_a_session_that_is_to_be_kept(server: AnyServer, root: str, witness: RawClient) -> None:
    scope = zk.open_client(server.hosts + root, session_timeout=2, keep_session=True)
    client = scope.__enter__()
    client.create("/mine", ephemeral=True)
    ticket = client.ticket
    keeper = keeper_of(client)
    del client, scope
    ended(keeper)
    assert witness.exists(f"{root}/mine")
    with zk.open_client(server.hosts + root, ticket=ticket) as client:
        assert client.exists("/mine")


def test_a_scope_that_is_never_entered() -> None:
    zk.open_client("a:1")
    scope = zk.open_client("a:1")
    del scope
    gc.collect()


def test_a_scope_is_entered_once() -> None:
    with refusing() as hosts:
        scope = zk.open_client(hosts, open_timeout=0)
        with scope:
            with pytest.raises(zk.LocalProtocolError):
                scope.__enter__()
        with pytest.raises(zk.LocalProtocolError):
            scope.__enter__()


def silent(server: Played) -> None:
    server.read_frame()
    server.read_frame()


@pytest.mark.parametrize("moment", ["refused", "silent", "looking up"])
def test_while_there_is_no_connection(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, *rest: Any, **more: Any) -> Any:
        if host == "slow.example" and not more.get("flags"):
            goes_on.wait(10)
        return real("127.0.0.1" if host == "slow.example" and not more.get("flags") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with refusing() as nobody, Peer(silent) as peer:
        hosts = {"refused": nobody, "silent": peer.hosts, "looking up": "slow.example:1"}[moment]
        scope = zk.open_client(hosts, open_timeout=0)
        client = scope.__enter__()
        if moment == "silent":
            eventually(lambda: peer.connections)
        keeper = keeper_of(client)
        del client, scope
        ended(keeper)
        goes_on.set()


def test_behind_a_black_hole(proxy: ChaosProxy, root: str) -> None:
    scope = zk.open_client(proxy.hosts + root)
    client = scope.__enter__()
    proxy.black_hole()
    with pytest.raises(zk.CallTimeoutError):
        client.set("/", bytes(1000_000), timeout=0.05)
    keeper = keeper_of(client)
    del client, scope
    ended(keeper)


def test_in_a_cycle(server: AnyServer, root: str) -> None:
    class Node:
        me: Node
        what: object

    scope = zk.open_client(server.hosts + root)
    client = scope.__enter__()
    keeper = keeper_of(client)
    node = Node()
    node.me, node.what = node, (client, scope)
    del client, scope, node
    ended(keeper)


def test_what_a_client_has_made_keeps_it_alive(server: AnyServer, root: str) -> None:
    makers: list[Callable[[Client], Any]] = [
        lambda client: client.lock("/lock"),
        lambda client: client.lock("/lock").try_acquire(),
        lambda client: client.watch("/"),
        lambda client: client.pipeline(),
        lambda client: client.transaction(),
        lambda client: client.multi_read(),
        lambda client: client.walk(),
    ]
    for make in makers:
        scope = zk.open_client(server.hosts + root)
        client = scope.__enter__()
        keeper = keeper_of(client)
        made = make(client)
        del client, scope
        gc.collect()
        assert not driver_of_keeper_stopped(keeper)
        if isinstance(made, AbstractContextManager) or hasattr(made, "__enter__"):
            with made:
                pass
        elif hasattr(made, "__next__"):
            assert next(made)[0] == "/"
        else:
            getattr(made, "run", None) or made.check("/").commit()
        del made
        ended(keeper)


def driver_of_keeper_stopped(keeper: threading.Thread) -> bool:
    keeper.join(0.02)
    return not keeper.is_alive()


def test_scopes_that_are_dropped(server: AnyServer, root: str, witness: RawClient) -> None:
    """They were entered and never left: what they hold lasts as long as the client, and goes with it."""
    with zk.open_client(server.hosts + root) as client:
        client.watch("/").__enter__()
        client.watch_data("/").__enter__()
        client.states().__enter__()
        client.lock("/lock").__enter__()
        client.lock("/other").try_acquire().__enter__()
        gc.collect()
        client.set("/", b"x")
        client.create("/a")
        assert client.get("/").data == b"x"
        assert len(witness.children(f"{root}/lock")) == 1
    assert witness.children(f"{root}/lock") == witness.children(f"{root}/other") == []


def test_a_walk_that_is_dropped_in_a_call_or_in_the_keeper(
    server: AnyServer, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector comes at any time, in any thread: also where the mutex is held."""
    with zk.open_client(server.hosts + root) as client:
        walks = [client.walk() for _ in range(4)]
        for walk in walks:
            next(walk)
        del walk
        runtime, driver = runtime_of(client), driver_of(client)
        nonce, look = runtime.nonce, driver._look
        dropped = threading.Event()

        def drop_in_call() -> bytes:
            walks.pop()
            return nonce()

        monkeypatch.setattr(runtime, "nonce", drop_in_call)
        client.create("/a", protected=True)
        assert len(walks) == 3

        def drop_in_keeper(*arguments: Any) -> None:
            assert threading.current_thread() is driver._keeper
            walks.pop()
            dropped.set()
            look(*arguments)

        monkeypatch.setattr(driver, "_look", drop_in_keeper)
        server_now = driver._stream
        assert server_now is not None
        client.set_hosts("127.0.0.1:1")
        assert dropped.wait(5)
        monkeypatch.undo()
        client.set_hosts(server.hosts)
        assert client.get("/", timeout=10).data == b""
        while walks:
            walks.pop()


def test_who_calls_from_the_keeper_is_told(proxy: ChaosProxy, root: str) -> None:
    """As a finalizer of the user's, or a handler of the log, may do: an error is better than a deadlock."""
    errors: list[BaseException] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                client.get("/", timeout=1)
            except zk.ZooKeeperError as error:
                errors.append(error)

    log, handler = logging.getLogger("zk_sansio"), Handler()
    with zk.open_client(proxy.hosts + root) as client:
        log.addHandler(handler)
        level = log.level
        log.setLevel(logging.INFO)
        try:
            proxy.cut()  # nobody but the keeper is there to notice
            eventually(lambda: len(errors) == 2)
            assert all(isinstance(error, zk.LocalProtocolError) for error in errors)
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
        assert client.get("/", timeout=10).data == b""


def test_dropped_while_a_thread_waits(server: AnyServer, root: str) -> None:
    """A call keeps the client alive until it is done."""
    scope = zk.open_client(server.hosts + root)
    client = scope.__enter__()
    keeper, runtime, driver = keeper_of(client), runtime_of(client), driver_of(client)
    waiting = Background(partial(client.wait_for, "/nothing", timeout=0.3))
    eventually(lambda: driver._leader or runtime.parked)
    del client, scope
    gc.collect()
    began = time.monotonic()
    assert isinstance(waiting.outcome(), zk.CallTimeoutError)
    assert time.monotonic() - began < 5
    del waiting
    ended(keeper)
