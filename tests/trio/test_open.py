"""The scope of a client: how it begins, how it ends, and what leaves it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import zk_trio
from tests.trio.fake import CLOSE, GET, SASL, SET, WHO_AM_I, Do, FakeServer
from zk_sansio.session import HostPort
from zk_trio import (
    AuthFailedError,
    ClosedError,
    ConnectError,
    EventType,
    Gap,
    InvalidRequestError,
    SessionExpiredError,
    SessionState,
    SessionTicket,
    WatchEvent,
)

pytestmark = pytest.mark.trio

A, B = "10.0.0.1", "10.0.0.2"
REFUSED = ConnectionRefusedError(111, "Connection refused")
UNREACHABLE = OSError(113, "No route to host")


async def tasks() -> int:
    await wait_all_tasks_blocked()
    return trio.lowlevel.current_statistics().tasks_living


async def test_the_session_lasts_as_long_as_the_scope(fake: FakeServer, autojump_clock: MockClock) -> None:
    before = await tasks()
    async with zk_trio.open_client(A, session_timeout=7, auth=[("digest", "bob:x"), ("digest", b"eve:y")]) as client:
        assert client.state is SessionState.CONNECTED
        assert client.session_timeout == 7
        assert fake.sessions == {client.session_id}
        assert [identity.id for identity in await client.whoami()] == ["127.0.0.1", "bob", "eve"]
        await client.create("/a", ephemeral=True)
    assert client.state is SessionState.CLOSED
    assert fake.sessions == set()
    assert fake.ephemerals == []
    assert fake.ops()[-1] == CLOSE
    assert await tasks() == before
    assert trio.current_time() == 0
    with pytest.raises(ClosedError):
        await client.get("/a")


async def test_the_server_says_what_the_timeout_is(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.timeout_ms = 4000
    async with zk_trio.open_client(A, session_timeout=100) as client:
        assert client.session_timeout == 4.0


async def test_closing_within_the_body(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        await client.aclose()
        assert fake.sessions == set()
        await client.aclose()
        with pytest.raises(ClosedError):
            await client.get("/a")
        await trio.sleep(1)
    assert fake.ops().count(CLOSE) == 1


# --- no way in


async def test_nobody_answers(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.unreachable = {A: REFUSED, B: UNREACHABLE}
    before = await tasks()
    with pytest.raises(ConnectError) as caught:
        async with zk_trio.open_client(f"{A},{B}:2182", open_timeout=3):
            raise AssertionError("it was not opened")
    assert trio.current_time() == 3
    assert caught.value.failures == {f"{A}:2181": "Connection refused", f"{B}:2182": "No route to host"}
    assert str(caught.value) == (
        "no server accepted a session within 3 s; is ZooKeeper running, and do the host, the port and TLS agree? "
        "(10.0.0.1:2181: Connection refused; 10.0.0.2:2182: No route to host)"
    )
    assert await tasks() == before


async def test_nobody_listens_on_a_real_port(autojump_clock: MockClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ConnectError) as caught:
        async with zk_trio.open_client(f"127.0.0.1:{port}", open_timeout=1):
            pass
    assert caught.value.failures == {f"127.0.0.1:{port}": "Connection refused"}


@pytest.mark.parametrize("how", ["deaf", "lost packets"])
async def test_servers_that_say_nothing_are_named_too(fake: FakeServer, how: str, autojump_clock: MockClock) -> None:
    if how == "deaf":
        fake.deaf = {A}
    else:
        fake.lost_packets = {A}
    with pytest.raises(ConnectError) as caught:
        async with zk_trio.open_client(A, open_timeout=1, connect_timeout=30):
            pass
    assert trio.current_time() == 1
    assert caught.value.failures == {f"{A}:2181": "no answer yet"}
    autojump_clock.jump(100)
    with pytest.raises(ConnectError) as caught:
        async with zk_trio.open_client(A, open_timeout=20):
            pass
    silence = {"deaf": "no answer to the handshake in time", "lost packets": "no connection in time"}
    assert caught.value.failures == {f"{A}:2181": silence[how]}


async def test_names_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    async def look_up(host: str, port: int, **_: object) -> list[Any]:
        await trio.lowlevel.checkpoint()
        if host == "slow":
            await trio.sleep_forever()
        if "." in host:
            raise UnicodeError("label empty or too long")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("trio.socket.getaddrinfo", look_up)
    with pytest.raises(ConnectError) as caught:
        async with zk_trio.open_client("wrong:1,slow:2,bad.:3", open_timeout=8):
            pass
    assert caught.value.failures == {
        "wrong:1": "the name cannot be resolved: Name or service not known",
        "slow:2": "the name was not resolved in time",
        "bad.:3": "this is no name that can be resolved",
    }


async def test_a_name_with_several_addresses(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def look_up(host: str, port: int, **_: object) -> list[Any]:
        await trio.lowlevel.checkpoint()
        return [(0, 0, 0, "", (address, port)) for address in (A, B)]

    monkeypatch.setattr("trio.socket.getaddrinfo", look_up)
    fake.unreachable = {A: REFUSED}
    async with zk_trio.open_client("zk.example") as client:
        assert client.server == f"zk.example:2181 ({B})"
    assert fake.dialled == [A, B]


async def test_no_time_at_all(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.unreachable = {A: REFUSED}
    async with zk_trio.open_client(A, open_timeout=0) as client:
        assert client.state is SessionState.CONNECTING
        await trio.sleep(1)
        fake.unreachable = {}
        await client.create("/a")
        assert client.state is SessionState.CONNECTED


async def test_all_the_time_of_the_world(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.unreachable = {A: REFUSED}

    async def come_up() -> None:
        await trio.sleep(1000)
        fake.unreachable = {}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_up)
        async with zk_trio.open_client(A, open_timeout=None):
            assert 1000 <= trio.current_time() < 1003


async def test_wrong_credentials(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.refused = {b"bob:wrong"}
    with pytest.raises(AuthFailedError, match="the server refused the credentials of scheme 'digest'"):
        async with zk_trio.open_client(A, auth=[("digest", "bob:wrong")]):
            raise AssertionError("it was not opened")
    assert trio.current_time() == 0


async def test_wrong_credentials_later_end_the_session_and_not_the_body(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A) as client:
        fake.refused = {b"bob:wrong"}
        with pytest.raises(AuthFailedError, match="the server refused the credentials of scheme 'digest'"):
            await client.add_auth("digest", "bob:wrong")
        with pytest.raises(AuthFailedError):
            await client.get("/")
        assert client.state is SessionState.AUTH_FAILED
        with pytest.raises(AuthFailedError):
            await client.add_auth("digest", "bob:right")


async def test_sasl(fake: FakeServer, autojump_clock: MockClock) -> None:
    """A server without SASL answers the first token with a null, as if it were content."""
    mechanisms = [zk_trio.digest_md5("bob", "x")(HostPort("a")) for _ in range(2)]
    assert mechanisms[0] is not mechanisms[1]
    with pytest.raises(AuthFailedError, match="SASL with DIGEST-MD5 is not configured there"):
        async with zk_trio.open_client(A, sasl=zk_trio.digest_md5("bob", "x")):
            pass
    assert fake.ops() == [SASL]


@pytest.mark.parametrize("settings", [{"on_expiry": "never"}, {"close_grace": -1}, {"open_timeout": float("nan")}])
async def test_wrong_settings_are_refused_before_anything_is_done(
    fake: FakeServer, settings: Any, autojump_clock: MockClock
) -> None:
    with pytest.raises(InvalidRequestError):
        async with zk_trio.open_client(A, **settings):
            pass
    assert fake.dialled == []


# --- what leaves the body


class Oops(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyboardInterrupt(),
        SystemExit(3),
        StopAsyncIteration(),
        ExceptionGroup("mine", [ValueError("x")]),
        ExceptionGroup("mine", [ValueError("x"), KeyError("y")]),
        BaseExceptionGroup("mine", [KeyboardInterrupt()]),
        SessionExpiredError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_exceptions_of_the_body_leave_as_they_are(
    fake: FakeServer, error: BaseException, autojump_clock: MockClock
) -> None:
    cause = Oops()
    caught: BaseException | None = None
    try:
        async with zk_trio.open_client(A) as client:
            await client.create("/a", ephemeral=True)
            raise error from cause
    except BaseException as raised:
        caught = raised
    if isinstance(error, StopAsyncIteration):
        assert isinstance(caught, RuntimeError | StopAsyncIteration)  # contextlib's own doing
    elif isinstance(error, BaseExceptionGroup):
        # As every nursery does, ours may have made another group of the same exceptions.
        assert isinstance(caught, BaseExceptionGroup)
        assert (caught.message, caught.exceptions) == (error.message, error.exceptions)
        assert caught.__cause__ is cause
    else:
        assert caught is error
        assert caught.__cause__ is cause
    assert fake.sessions == set()


async def test_a_cancelled_body_leaves_as_cancelled_and_still_ends_its_session(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(5) as scope:
        async with zk_trio.open_client(A) as client:
            await client.create("/a", ephemeral=True)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert fake.ops()[-1] == CLOSE
    assert fake.sessions == set()
    assert fake.ephemerals == []
    assert trio.current_time() == 5


async def test_errors_of_tasks_in_the_body_stay_in_their_group(fake: FakeServer, autojump_clock: MockClock) -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise Oops

    with pytest.RaisesGroup(Oops):
        async with zk_trio.open_client(A), trio.open_nursery() as nursery:
            nursery.start_soon(fail)


async def test_cleaning_up_can_still_use_the_client(fake: FakeServer, autojump_clock: MockClock) -> None:
    with trio.move_on_after(1):
        async with zk_trio.open_client(A) as client:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await client.create("/done")
    assert "/done" in fake.nodes


async def test_two_errors_at_once_are_both_told(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery():
        with pytest.RaisesGroup(Oops, ZeroDivisionError):
            async with zk_trio.open_client(A) as client:

                def crash(*_: object) -> None:
                    raise ZeroDivisionError

                monkeypatch.setattr("zk_sansio.session.Session.receive_data", crash)
                try:
                    await client.get("/")
                finally:
                    raise Oops


async def test_a_defect_of_the_client_ends_the_body_and_leaves_as_itself(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with zk_trio.open_client(A) as client:

            def crash(*_: object) -> None:
                raise ZeroDivisionError

            monkeypatch.setattr("zk_sansio.session.Session.receive_data", crash)
            await client.get("/")


# --- the end


@pytest.mark.parametrize("grace", [0, 2.5])
async def test_a_silent_server_takes_no_more_than_the_grace(
    fake: FakeServer, grace: float, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A, close_grace=grace):
        fake.deaf = {A}
    assert trio.current_time() == grace
    assert fake.sockets[0].fileno() == -1


async def test_requests_under_way_are_sent_and_answered_before_the_end(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    results: list[object] = []
    fake.make("/a", b"x")
    async with trio.open_nursery() as nursery, zk_trio.open_client(A) as client:

        async def get() -> None:
            results.append((await client.get("/a")).data)

        for _ in range(3):
            nursery.start_soon(get)
        while client._engine.session.in_flight < 3:
            await trio.lowlevel.checkpoint()
    assert results == [b"x"] * 3


async def test_without_a_connection_there_is_nobody_to_say_goodbye_to(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:
        fake.unreachable = {A: REFUSED}
        fake.drop()
        await wait_all_tasks_blocked()

        async def get() -> None:
            with pytest.raises(ClosedError) as caught:
                await client.get("/a")
            assert not caught.value.maybe_applied

        nursery.start_soon(get)
        await wait_all_tasks_blocked()
        now = trio.current_time()
        await client.aclose()
    assert trio.current_time() == now
    assert fake.sessions == {0x5001}


async def test_a_session_that_is_kept_can_be_resumed(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A, keep_session=True) as client:
        await client.create("/a", ephemeral=True)
        ticket = client.ticket
    assert ticket is not None
    assert client.ticket == ticket
    assert CLOSE not in fake.ops()
    assert fake.ephemerals == ["/a"]
    async with zk_trio.open_client(A, ticket=ticket) as client:
        assert client.session_id == ticket.session_id
        assert client.last_zxid == ticket.last_zxid
        assert await client.get_ephemerals() == ["/a"]
    assert fake.ephemerals == []


async def test_a_ticket_of_a_session_that_is_over(fake: FakeServer, autojump_clock: MockClock) -> None:
    ticket = SessionTicket(session_id=0x99, password=bytes(16))
    for on_expiry in "renew", "raise":
        with pytest.raises(SessionExpiredError):
            async with zk_trio.open_client(A, ticket=ticket, on_expiry=on_expiry):
                raise AssertionError("it was not opened")


# --- expiry


async def test_a_new_session_follows_one_that_expired(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/a", b"x")
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:
        await client.add_auth("digest", "bob:x")
        fails: list[SessionExpiredError] = []

        async def fail(call: Callable[[], Any]) -> None:
            with pytest.raises(SessionExpiredError) as caught:
                await call()
            fails.append(caught.value)

        async with client.watch("/a") as changes:
            fake.then(Do.IGNORE)
            nursery.start_soon(fail, lambda: client.get("/a"))
            await wait_all_tasks_blocked()
            fake.lost_packets = {A}
            fake.expire()
            await wait_all_tasks_blocked()
            nursery.start_soon(fail, lambda: client.set("/a", b""))
            await wait_all_tasks_blocked()
            fake.lost_packets = set()
            while len(fails) < 2:
                await trio.sleep(0.1)
            assert [error.path for error in fails] == ["/a", "/a"]
            assert (await client.get("/a")).data == b"x"
            assert client.session_id == 0x5002
            assert [identity.id for identity in await client.whoami()] == ["127.0.0.1", "bob"]
            assert await anext(changes) == Gap("new session")
            await client.set("/a", b"y")
            assert await anext(changes) == WatchEvent(EventType.DATA_CHANGED, "/a", fake.zxid)
    assert fake.ops().count(GET) == 2
    assert fake.ops().count(SET) == 1


async def test_expiry_can_end_the_scope(fake: FakeServer, autojump_clock: MockClock) -> None:
    ended = False
    with pytest.raises(SessionExpiredError):
        async with zk_trio.open_client(A, on_expiry="raise"):
            fake.expire()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                ended = True
                raise
    assert ended
    assert len(fake.handshakes) == 2


async def test_expiry_that_a_call_reports_leaves_plain(fake: FakeServer, autojump_clock: MockClock) -> None:
    with pytest.raises(SessionExpiredError):
        async with zk_trio.open_client(A, on_expiry="raise") as client:
            fake.expire()
            await client.get("/")


async def test_a_body_that_fails_while_the_session_expires(fake: FakeServer, autojump_clock: MockClock) -> None:
    with pytest.raises(Oops):
        async with zk_trio.open_client(A, on_expiry="raise"):
            fake.expire()
            try:
                await trio.sleep_forever()
            finally:
                raise Oops


async def test_a_body_that_ends_when_the_session_has_expired(fake: FakeServer, autojump_clock: MockClock) -> None:
    with pytest.raises(SessionExpiredError):
        async with zk_trio.open_client(A, on_expiry="raise"):
            fake.expire()
            with trio.CancelScope(shield=True):
                await trio.sleep(5)


async def test_a_refusal_of_every_request(fake: FakeServer, autojump_clock: MockClock) -> None:
    """Servers that enforce authentication answer -124 and close."""
    async with zk_trio.open_client(A) as client:
        fake.then(-124, op=WHO_AM_I)
        with pytest.raises(AuthFailedError):
            await client.whoami()
        assert client.state is SessionState.AUTH_FAILED
