from __future__ import annotations

import random
from typing import Any

import pytest

from tests.client.stepping import StepRuntime
from zk_sansio.client import RetryPolicy, SocketOptions, prepare
from zk_sansio.errors import InvalidPathError, InvalidRequestError
from zk_sansio.session import HostPort, SessionTicket


def prepared(hosts: Any = "a", **settings: Any) -> Any:
    return prepare(hosts, StepRuntime(), random.Random(1), settings)  # type: ignore[arg-type]


def test_defaults() -> None:
    setup = prepared("zk1:2181,zk2")
    assert (setup.open_timeout, setup.close_grace, setup.keep_session) == (15.0, 3.0, False)
    assert setup.socket == SocketOptions()
    assert setup.chroot.prefix == ""
    session = setup.engine.session
    assert session._dialer.servers.hosts == (HostPort("zk1"), HostPort("zk2"))
    assert session.timeout == 10.0
    assert session.credentials == ()
    assert session.ticket is None


def test_everything() -> None:
    ticket = SessionTicket(session_id=5, password=bytes(16), last_zxid=7)
    retry = RetryPolicy(max_attempts=3)
    sockets = SocketOptions(keepalive=False)
    setup = prepared(
        ["[::1]:2182", "b/app"],
        session_timeout=30,
        open_timeout=None,
        close_grace=0,
        keep_session=True,
        ticket=ticket,
        auth=[("digest", "bob:ü"), ("x", b"y"), ("digest", "bob:ü")],
        read_only=True,
        retry=retry,
        while_suspended="fail",
        on_expiry="raise",
        expire_locally=True,
        connect_timeout=2,
        socket=sockets,
        max_request=10,
        max_reply=20,
        max_in_flight=30,
        high_water=50,
        low_water=40,
    )
    assert (setup.open_timeout, setup.close_grace, setup.keep_session, setup.socket) == (None, 0, True, sockets)
    assert setup.chroot.prefix == "/app"
    assert setup.retry is retry
    assert setup.while_suspended == "fail"
    assert setup.engine._on_expiry == "raise"
    session = setup.engine.session
    assert session.ticket == ticket
    assert session.credentials == (("digest", "bob:ü".encode()), ("x", b"y"))
    options = session.options
    assert (options.timeout, options.connect_timeout, options.read_only, options.expire_locally) == (30, 2, True, True)
    assert (options.max_request, options.max_reply, options.max_in_flight) == (10, 20, 30)
    assert (options.high_water, options.low_water) == (50, 40)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"on_expiry": "ignore"}, "on_expiry is one of renew, raise, not 'ignore'"),
        ({"while_suspended": True}, "while_suspended is one of wait, fail, not True"),
        ({"session_timeout": 0}, "the session timeout is a positive number of seconds, not 0"),
        ({"session_timeout": float("nan")}, "the session timeout is a positive number of seconds, not nan"),
        ({"connect_timeout": -1}, "connect_timeout is a positive number of seconds, not -1"),
        ({"connect_timeout": float("nan")}, "connect_timeout is a positive number of seconds, not nan"),
        ({"open_timeout": -1}, "open_timeout is a number of seconds, 0 or more, not -1"),
        ({"open_timeout": float("nan")}, "open_timeout is a number of seconds, 0 or more, not nan"),
        ({"close_grace": -0.5}, "close_grace is a number of seconds, 0 or more, not -0.5"),
        ({"max_in_flight": 0}, "max_in_flight must be at least 1, not 0"),
        ({"max_request": 0}, "max_request must be at least 1, not 0"),
        ({"max_reply": -1}, "max_reply must be at least 1, not -1"),
        ({"high_water": 0}, "high_water must be at least 1, not 0"),
        ({"high_water": 5, "low_water": 6}, "low_water must be from 0 to high_water, not 6"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        prepared(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize("auth", [("digest", "bob:secret"), ["digest:bob:secret"], [("digest",)], [("digest", None)]])
def test_credentials_of_the_wrong_form_are_not_repeated(auth: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        prepared(auth=auth)
    assert str(caught.value) == (
        "auth is a sequence of pairs of a scheme and a credential, such as [('digest', 'user:password')]"
    )
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_settings_that_there_are_not() -> None:
    with pytest.raises(TypeError, match=r"^open_client does not know hots, timeout$"):
        prepared(timeout=3, hots="a")


@pytest.mark.parametrize(
    "hosts, message",
    [
        ("", "'' names no server; give host:port, several of them separated by commas"),
        ([], "'' names no server; give host:port, several of them separated by commas"),
        ("zk://a", "name the servers without a scheme, as host:port,host:port/chroot"),
        ("a:b", "'a:b': the port 'b' is not a number from 1 to 65535"),
        ("a b", "'a b' is no host name; separate servers with commas"),
        ("::1", "'::1': write an IPv6 address in brackets, such as [::1]:2181"),
        (["a/x", "b"], "the chroot is the same for all servers; write it once, on the last entry"),
    ],
)
def test_hosts_that_make_no_sense(hosts: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        prepared(hosts)
    assert str(caught.value) == message


def test_a_chroot_that_is_no_path() -> None:
    with pytest.raises(InvalidPathError, match="it must not end with '/'"):
        prepared("a/app/")
