"""The way in: the same as that of `zk_trio`; names, four-letter words, settings."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from math import inf
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

import zk_anyio
import zk_trio
from tests.anyio.runs import Backend, obey, obeying, peer
from tests.support.peer import ScriptedListener
from tests.support.servers import AnyServer
from zk_anyio import ConnectError, FourLetterError, InvalidRequestError, SessionState
from zk_anyio._driver import resolve
from zk_sansio.session import HostPort


def test_the_names_are_those_of_the_trio_adapter() -> None:
    assert zk_anyio.__all__ == zk_trio.__all__
    mine = {"open_client", "four_letter_word"}
    assert all(getattr(zk_anyio, name) is getattr(zk_trio, name) for name in set(zk_anyio.__all__) - mine)
    for name in mine:
        here, there = getattr(zk_anyio, name), getattr(zk_trio, name)
        assert inspect.signature(here, eval_str=True) == inspect.signature(there, eval_str=True)
        assert here.__doc__ == there.__doc__
        assert here.__module__ == "zk_anyio"


# --- opening


def test_opening_in_the_background(backend: Backend) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            hosts = f"127.0.0.1:{listening.getsockname()[1]}"
            async with zk_anyio.open_client(hosts, open_timeout=0) as client:
                assert client.state is SessionState.CONNECTING

    backend.run(main)


def test_opening_without_a_limit(backend: Backend) -> None:
    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts, open_timeout=None) as client:
            assert client.state is SessionState.CONNECTED

    with peer(obeying()) as hosts:
        backend.run(lambda: main(hosts))


def test_a_setting_that_makes_no_sense(backend: Backend) -> None:
    async def main() -> None:
        with pytest.raises(InvalidRequestError):
            async with zk_anyio.open_client("127.0.0.1", close_grace=-1):
                pass

    backend.run(main)


def test_several_clients_in_one_program(backend: Backend) -> None:
    async def main(hosts: str) -> None:
        async with zk_anyio.open_client(hosts) as first, zk_anyio.open_client(hosts) as second:
            await second.set("/", b"2")
            assert (await first.get("/")).data == b""

    async def script(listener: ScriptedListener) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(obey, await listener.accept())

    with peer(script) as hosts:
        backend.run(lambda: main(hosts))


def test_trio_as_a_guest_of_asyncio() -> None:
    """There is a running loop of asyncio, but it is not the one that runs the client's tasks."""

    async def inside(hosts: str) -> bytes | None:
        async with zk_anyio.open_client(hosts) as client:
            return (await client.get("/")).data

    async def host(hosts: str) -> Any:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        trio.lowlevel.start_guest_run(
            inside,
            hosts,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=done.set_result,
        )
        return (await done).unwrap()

    with peer(obeying()) as hosts:
        assert asyncio.run(host(hosts)) == b""


# --- names


def test_numeric_addresses_cost_no_thread(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [HostPort("127.0.0.1", 1), HostPort("::1", 2)]

    async def main() -> None:
        before = threading.active_count()
        assert await resolve(hosts, inf) == ({hosts[0]: ["127.0.0.1"], hosts[1]: ["::1"]}, {})
        assert threading.active_count() == before

    backend.run(main)


def test_names_are_looked_up_side_by_side(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [HostPort(name, 1) for name in ("a", "b", "slow", "wrong", "böse")]

    async def look_up(host: str, port: int, **_: object) -> list[Any]:
        await anyio.lowlevel.checkpoint()
        if host == "slow":
            await anyio.sleep_forever()
        if host == "wrong":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host == "böse":
            raise UnicodeError
        return [(0, 0, 0, "", ("10.0.0.1", port)), (0, 0, 0, "", ("::1", port))]

    monkeypatch.setattr("anyio.getaddrinfo", look_up)

    async def main() -> None:
        found, errors = await resolve(hosts, anyio.current_time() + 0.05)
        assert found == {host: ["10.0.0.1", "::1"] for host in hosts[:2]}
        assert [errors[host] for host in hosts[2:]] == [
            "the name was not resolved in time",
            "the name cannot be resolved: Name or service not known",
            "this is no name that can be resolved",
        ]

    backend.run(main)


def test_a_real_name(backend: Backend, server: AnyServer) -> None:
    async def main() -> None:
        async with zk_anyio.open_client(f"localhost:{server.port}") as client:
            assert await client.exists("/") is not None

    backend.run(main)


def test_a_name_that_is_none(backend: Backend) -> None:
    async def main() -> None:
        with pytest.raises(ConnectError, match=r"this is no name that can be resolved|cannot be resolved"):
            await zk_anyio.four_letter_word("x" * 70 + ".example", "ruok")

    backend.run(main)


# --- four-letter words


def test_four_letter_words(backend: Backend, server: AnyServer) -> None:
    async def main() -> None:
        assert await zk_anyio.four_letter_word(server.hosts, "ruok") == "imok"
        with pytest.raises(FourLetterError):
            await zk_anyio.four_letter_word(server.hosts, "ruok?")

    backend.run(main)


def test_a_word_that_is_not_answered_in_time(backend: Backend) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            hosts = f"127.0.0.1:{listening.getsockname()[1]}"
            with pytest.raises(FourLetterError, match=r"no answer from .* within 0.05 s"):
                await zk_anyio.four_letter_word(hosts, "ruok", within=0.05)

    backend.run(main)
