from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk_sansio.errors import InvalidPathError, InvalidRequestError
from zk_sansio.session._hosts import (
    Backoff,
    HostPort,
    RandomSource,
    Server,
    ServerList,
    connect_timeout,
    parse_hosts,
)


class Scripted:
    """A random source that gives the numbers it was told, and keeps or reverses the order."""

    def __init__(self, *numbers: float, reverse: bool = False) -> None:
        self.numbers = list(numbers)
        self.reverse = reverse
        self.shuffles = 0

    def random(self) -> float:
        return self.numbers.pop(0)

    def shuffle(self, x: list[Any], /) -> None:
        self.shuffles += 1
        if self.reverse:
            x.reverse()


def hosts(*names: str) -> tuple[HostPort, ...]:
    return tuple(HostPort(name) for name in names)


def server(name: str, address: str | None = None) -> Server:
    return Server(HostPort(name), address or name)


def take_all(servers: ServerList) -> list[str]:
    taken = []
    while (found := servers.next()) is not None:
        taken.append(str(found))
    return taken


# --- The connect string ---


@pytest.mark.parametrize(
    "text, expected, chroot",
    [
        ("a", [("a", 2181)], ""),
        ("a:1", [("a", 1)], ""),
        ("a:", [("a", 2181)], ""),
        ("a:65535", [("a", 65535)], ""),
        ("a:02181", [("a", 2181)], ""),
        ("a:2181,b:2182,c", [("a", 2181), ("b", 2182), ("c", 2181)], ""),
        (" a:2181 , b ,, ,c ", [("a", 2181), ("b", 2181), ("c", 2181)], ""),
        ("a,b,a:2181,a:1", [("a", 2181), ("b", 2181), ("a", 1)], ""),
        ("a/", [("a", 2181)], ""),
        ("a:1/app", [("a", 1)], "/app"),
        ("a,b/app/x y", [("a", 2181), ("b", 2181)], "/app/x y"),
        ("a/app,odd", [("a", 2181)], "/app,odd"),
        ("a/user@x:1", [("a", 2181)], "/user@x:1"),
        ("[::1]", [("::1", 2181)], ""),
        ("[::1]:7/x", [("::1", 7)], "/x"),
        ("[2001:DB8:0::1]:7,[2001:db8::1]:7", [("2001:db8::1", 7)], ""),
        ("[fe80::1%eth0]:7", [("fe80::1%eth0", 7)], ""),
        ("127.0.0.1:2181", [("127.0.0.1", 2181)], ""),
        ("my_host-1.example.", [("my_host-1.example.", 2181)], ""),
        (["a"], [("a", 2181)], ""),
        (("a:1", "b,c:2/app"), [("a", 1), ("b", 2181), ("c", 2)], "/app"),
    ],
)
def test_parse_hosts(text: str | Sequence[str], expected: list[tuple[str, int]], chroot: str) -> None:
    assert parse_hosts(text) == (tuple(HostPort(*pair) for pair in expected), chroot)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "names no server; give host:port"),
        ("  ,, ", "names no server"),
        ("/app", "names no server"),
        ([], "names no server"),
        (":2181", "has no host"),
        ("::1", r"write an IPv6 address in brackets, such as \[::1\]:2181"),
        ("2001:db8::1:2181", "in brackets"),
        ("a:1:2", "in brackets"),
        ("[::1", "not closed"),
        ("[::1]x", "only ':port' may follow"),
        ("[::1]:", "the port '' is not a number from 1 to 65535"),
        ("[127.0.0.1]:1", "brackets are for IPv6 addresses, and '127.0.0.1' is none"),
        ("[]", "brackets are for IPv6"),
        ("a]", "is no host name"),
        ("a b:1", "'a b' is no host name; separate servers with commas"),
        ("a:1 b", "the port '1 b'"),
        ("a;b:1", "separate servers with commas"),
        ("a\x00:1", "is no host name"),
        ("a:0", "from 1 to 65535"),
        ("a:65536", "from 1 to 65535"),
        ("a:999999", "from 1 to 65535"),
        ("a:-1", "from 1 to 65535"),
        ("a:x", "the port 'x'"),
        ("a:\u0661", "the port"),
        ("zk://a:1/x", "without a scheme"),
        ("dns-srv://name/x", "without a scheme"),
        (["zk://a", "b"], "without a scheme"),
        ("a:1/app,b:1/app", "the same for all servers; write it once, at the end"),
        (["a/app", "b/app"], "write it once, on the last entry"),
        ("a/app/", "must not end with"),
        ("a//b", "empty component"),
        ("a/app\n", r"U\+000A"),
    ],
)
def test_parse_hosts_refuses(text: str | Sequence[str], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        parse_hosts(text)


def test_bad_chroot_is_an_invalid_path() -> None:
    with pytest.raises(InvalidPathError) as caught:
        parse_hosts("a/../b")
    assert caught.value.path == "/../b"


@pytest.mark.parametrize(
    "text",
    ["bob:secret@a:1", "zk://bob:secret@a:1", "bob:secret@a:1/x,b:1", ["bob:secret@a/x", "b"], ["bob:secret@a", "b"]],
)
def test_password_in_a_connect_string_is_not_repeated(text: str | Sequence[str]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_hosts(text)
    assert "secret" not in str(caught.value)


def test_wrong_type() -> None:
    with pytest.raises(TypeError, match="not int"):
        parse_hosts(b"a:2181")  # type: ignore[arg-type]


@given(st.text() | st.text(alphabet="a1:[],/. \x00%"))
def test_parse_hosts_is_total(text: str) -> None:
    try:
        found, _ = parse_hosts(text)
    except InvalidRequestError:
        return
    # What it makes of a text is what it makes of its own spelling.
    assert parse_hosts(",".join(map(str, found)))[0] == found


def test_names_in_messages() -> None:
    assert str(HostPort("a")) == "a:2181"
    assert str(HostPort("::1", 7)) == "[::1]:7"
    assert str(server("a", "10.0.0.1")) == "a:2181 (10.0.0.1)"
    assert str(server("10.0.0.1")) == "10.0.0.1:2181"
    assert str(server("::1")) == "[::1]:2181"


# --- Rounds ---


def test_list_must_not_be_empty() -> None:
    with pytest.raises(InvalidRequestError, match="empty"):
        ServerList([], Scripted())


def test_round_gives_every_address_once() -> None:
    servers = ServerList(hosts("a", "10.0.0.9", "b", "::1", "c", "a"), Scripted())
    assert servers.hosts == hosts("a", "10.0.0.9", "b", "::1", "c")
    assert servers.unresolved() == hosts("a", "b", "c")
    assert servers.next() is None  # no round was begun
    assert servers.untried == 0
    servers.begin_round({HostPort("a"): ["10.0.0.1", "10.0.0.2", "10.0.0.1"], HostPort("b"): ["10.0.0.2", "fe80::1"]})
    assert servers.untried == 5
    assert take_all(servers) == [
        "a:2181 (10.0.0.1)",
        "a:2181 (10.0.0.2)",
        "10.0.0.9:2181",
        "b:2181 (fe80::1)",
        "[::1]:2181",
    ]
    assert servers.untried == 0
    assert servers.next() is None


def test_each_round_is_shuffled_and_resolved_anew() -> None:
    source = Scripted()
    servers = ServerList(hosts("a", "b"), source)
    servers.begin_round({HostPort("a"): ["10.0.0.1"]})
    assert take_all(servers) == ["a:2181 (10.0.0.1)"]
    source.reverse = True
    servers.begin_round({HostPort("a"): ["10.0.0.2"], HostPort("b"): ["10.0.0.3"]})
    assert take_all(servers) == ["b:2181 (10.0.0.3)", "a:2181 (10.0.0.2)"]
    assert source.shuffles == 2


def test_same_address_on_two_ports_is_two_servers() -> None:
    servers = ServerList([HostPort("10.0.0.1", 1), HostPort("10.0.0.1", 2)], Scripted())
    servers.begin_round({})
    assert take_all(servers) == ["10.0.0.1:1", "10.0.0.1:2"]


def test_all_orders_occur() -> None:
    servers = ServerList(hosts("10.0.0.1", "10.0.0.2", "10.0.0.3"), random.Random(1))
    orders = Counter[tuple[str, ...]]()
    for _ in range(600):
        servers.begin_round({})
        orders[tuple(take_all(servers))] += 1
    assert len(orders) == 6
    assert min(orders.values()) > 60


def test_silent_servers_come_last_in_the_next_round_only() -> None:
    resolved = {HostPort("a"): ["10.0.0.1", "10.0.0.2"], HostPort("b"): ["10.0.0.3"], HostPort("c"): ["10.0.0.4"]}
    servers = ServerList(hosts("a", "b", "c"), Scripted())
    servers.begin_round(resolved)
    servers.avoid(server("a", "10.0.0.1"))
    servers.avoid(server("b", "10.0.0.3"))
    servers.avoid(server("a", "10.0.0.1"))
    servers.begin_round(resolved)
    # The other address of the same host comes before the silent ones, but after other hosts.
    assert take_all(servers) == [
        "c:2181 (10.0.0.4)",
        "a:2181 (10.0.0.2)",
        "b:2181 (10.0.0.3)",
        "a:2181 (10.0.0.1)",
    ]
    servers.begin_round(resolved)
    assert take_all(servers)[0] == "a:2181 (10.0.0.1)"


def test_preferred_server_comes_first_and_once() -> None:
    servers = ServerList(hosts("10.0.0.1", "10.0.0.2"), Scripted())
    servers.prefer(server("10.0.0.2"))
    assert servers.untried == 1
    assert servers.next() == server("10.0.0.2")  # even between rounds
    assert servers.next() is None
    servers.prefer(server("10.0.0.2"))
    servers.begin_round({})
    assert servers.untried == 2
    assert take_all(servers) == ["10.0.0.2:2181", "10.0.0.1:2181"]
    servers.begin_round({})
    servers.next()
    servers.prefer(server("10.0.0.1"))  # was tried already, and may be tried again
    assert take_all(servers) == ["10.0.0.1:2181", "10.0.0.2:2181"]


def test_success_ends_the_round() -> None:
    servers = ServerList(hosts("10.0.0.1", "10.0.0.2", "10.0.0.3"), Scripted())
    servers.begin_round({})
    servers.failed(server("10.0.0.1"), "refused")
    servers.prefer(server("10.0.0.3"))
    servers.succeeded(server("10.0.0.2"))
    assert servers.failures == {}
    assert servers.untried == 0
    assert servers.next() is None


def test_failures_are_kept_as_long_as_they_tell_something() -> None:
    servers = ServerList(hosts("a", "b", "10.0.0.9"), Scripted())
    servers.failed(HostPort("a"), "does not resolve")
    servers.failed(HostPort("b"), "does not resolve")
    servers.begin_round({HostPort("a"): ["10.0.0.1", "10.0.0.2"]})
    assert servers.failures == {"b:2181": "does not resolve"}
    servers.failed(server("a", "10.0.0.1"), "refused")
    servers.failed(server("a", "10.0.0.2"), "silent")
    servers.failed(server("a", "10.0.0.2"), "refused")
    servers.failed(server("10.0.0.9"), "refused")
    # Addresses that a name has no more are forgotten; those of a name that does not resolve now are not.
    servers.begin_round({HostPort("a"): ["10.0.0.2", "10.0.0.3"]})
    expected = {"b:2181": "does not resolve", "a:2181 (10.0.0.2)": "refused", "10.0.0.9:2181": "refused"}
    assert servers.failures == expected
    servers.begin_round({HostPort("a"): []})
    assert servers.failures == expected


# --- Rebalancing (ZOOKEEPER-1355) ---


def connected(old: Iterable[HostPort], to: str, *numbers: float) -> tuple[ServerList, Server]:
    servers = ServerList(old, Scripted(*numbers))
    here = server(to)
    servers.succeeded(here)
    return servers, here


@pytest.mark.parametrize("number, moves", [(0.0, True), (0.39, True), (0.4, False), (0.99, False)])
def test_growing_list_moves_some_of_the_clients(number: float, moves: bool) -> None:
    servers, here = connected(hosts("1.0.0.1", "1.0.0.2", "1.0.0.3"), "1.0.0.1", number, 0.0, 0.99, 0.5, 0.5, 0.5)
    assert servers.update(hosts("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5"), here) is moves
    servers.begin_round({})
    taken = take_all(servers)
    # pNew = 1: the new ones first, then the others.
    assert taken[0] == ("1.0.0.4:2181" if moves else "1.0.0.1:2181")
    assert taken[1] == ("1.0.0.5:2181" if moves else "1.0.0.2:2181")
    assert len(taken) == 5


def test_growing_list_without_the_current_server() -> None:
    servers, here = connected(hosts("1.0.0.1"), "1.0.0.1", 0.99, 0.99)
    assert servers.update(hosts("1.0.0.2", "1.0.0.3"), here)
    servers.begin_round({})
    assert take_all(servers) == ["1.0.0.2:2181", "1.0.0.3:2181"]


def test_list_that_does_not_grow_keeps_its_clients() -> None:
    servers, here = connected(hosts("1.0.0.1", "1.0.0.2"), "1.0.0.2")
    assert not servers.update(hosts("1.0.0.2"), here)
    assert not servers.update(hosts("1.0.0.2"), here)
    assert servers.hosts == hosts("1.0.0.2")
    servers.begin_round({})
    assert take_all(servers) == ["1.0.0.2:2181"]


def test_shrinking_list_spreads_the_clients_of_the_server_that_left() -> None:
    # old = 5, O = 2, N = 1, new = 3: pOld = 2 * (5 - 3) / (3 * (5 - 2)) = 4/9.
    old = hosts("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5")
    new = hosts("1.0.0.1", "1.0.0.2", "1.0.0.9")
    for number, first in ((5 / 9 - 0.001, "1.0.0.9:2181"), (5 / 9 + 0.001, "1.0.0.1:2181")):
        servers, here = connected(old, "1.0.0.5", number, 0.999, 0.999, 0.999)
        assert servers.update(new, here)
        servers.begin_round({})
        assert take_all(servers)[0] == first


def test_load_is_even_after_updates() -> None:
    # 3000 clients, as many on each server; every one of them decides alone.
    old = hosts("1.0.0.1", "1.0.0.2", "1.0.0.3")
    source = random.Random(7)
    for new in (
        hosts("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5"),
        hosts("1.0.0.2", "1.0.0.3", "1.0.0.4"),
        hosts("1.0.0.1", "1.0.0.9"),
        hosts("1.0.0.7", "1.0.0.8", "1.0.0.9", "1.0.0.6"),
    ):
        load = Counter[str]()
        for number in range(3000):
            here = Server(old[number % 3], old[number % 3].host)
            servers = ServerList(old, source)
            servers.succeeded(here)
            if servers.update(new, here):
                servers.begin_round({})
                found = servers.next()
                assert found is not None
                here = found
            load[here.address] += 1
        assert set(load) == {host.host for host in new}
        assert max(load.values()) - min(load.values()) < 0.15 * 3000 / len(new)


def test_reconfig_mode_ends_with_the_round() -> None:
    servers, here = connected(hosts("1.0.0.1"), "1.0.0.1", 0.0, 0.0, 0.0)
    assert servers.update(hosts("1.0.0.1", "1.0.0.2"), here)
    assert servers.next() is None  # a round must be begun first, and the mode stays
    servers.begin_round({})
    assert take_all(servers) == ["1.0.0.2:2181", "1.0.0.1:2181"]
    servers.begin_round({})
    assert take_all(servers) == ["1.0.0.1:2181", "1.0.0.2:2181"]  # no number is drawn any more


def test_reconfig_mode_ends_with_success() -> None:
    servers, here = connected(hosts("1.0.0.1"), "1.0.0.1", 0.0, 0.0)
    assert servers.update(hosts("1.0.0.1", "1.0.0.2"), here)
    servers.begin_round({})
    assert servers.next() == server("1.0.0.2")
    servers.succeeded(server("1.0.0.2"))
    servers.begin_round({})
    assert take_all(servers) == ["1.0.0.1:2181", "1.0.0.2:2181"]


def test_update_must_not_be_empty() -> None:
    servers, here = connected(hosts("1.0.0.1"), "1.0.0.1")
    with pytest.raises(InvalidRequestError):
        servers.update([], here)
    assert servers.hosts == hosts("1.0.0.1")


@pytest.mark.parametrize(
    "current, listed, same",
    [
        (server("a", "10.0.0.1"), "a", True),
        (server("a", "10.0.0.1"), "b", False),
        (server("a", "10.0.0.1"), "10.0.0.1", True),
        (server("a", "10.0.0.1"), "alias", True),  # known from the last round
        (Server(HostPort("a", 1), "10.0.0.1"), "a", False),
        (Server(HostPort("a", 1), "10.0.0.1"), "10.0.0.1", False),
    ],
)
def test_which_servers_are_the_same(current: Server, listed: str, same: bool) -> None:
    servers = ServerList(hosts("a", "alias"), Scripted())
    servers.begin_round({HostPort("alias"): ["10.0.0.1"]})
    servers.succeeded(current)
    assert servers.update(hosts(listed), current) is not same
    assert (current in servers) is same


def test_without_connection_the_last_server_counts() -> None:
    servers, _ = connected(hosts("1.0.0.1", "1.0.0.2"), "1.0.0.2")
    assert not servers.update(hosts("1.0.0.2"), None)
    servers, _ = connected(hosts("1.0.0.1", "1.0.0.2"), "1.0.0.2", 0.0)
    assert servers.update(hosts("1.0.0.1"), None)


def test_before_the_first_connection_the_server_counts_that_would_be_tried() -> None:
    servers = ServerList(hosts("1.0.0.1", "1.0.0.2"), Scripted(reverse=True))
    assert not servers.update(hosts("1.0.0.2"), None)
    servers = ServerList(hosts("1.0.0.1", "1.0.0.2"), Scripted())
    servers.begin_round({})
    servers.next()
    assert not servers.update(hosts("1.0.0.2"), None)
    # Nothing that is left of the round is lost, and what was removed is not tried.
    assert take_all(servers) == ["1.0.0.2:2181"]


def test_round_goes_on_without_what_was_removed() -> None:
    servers = ServerList(hosts("a", "1.0.0.2", "1.0.0.3"), Scripted())
    servers.begin_round({HostPort("a"): ["1.0.0.1"]})
    servers.failed(server("a", "1.0.0.1"), "refused")
    servers.failed(HostPort("1.0.0.3"), "refused")
    servers.prefer(server("1.0.0.2"))
    assert not servers.update(hosts("a", "1.0.0.3"), None)
    assert take_all(servers) == ["a:2181 (1.0.0.1)", "1.0.0.3:2181"]
    assert not servers.update(hosts("1.0.0.3"), server("1.0.0.3"))
    assert servers.failures == {"1.0.0.3:2181": "refused"}


def test_preferred_server_that_stays_listed_stays_preferred() -> None:
    servers, here = connected(hosts("1.0.0.1", "1.0.0.2"), "1.0.0.1")
    servers.prefer(server("1.0.0.2"))
    assert not servers.update(hosts("1.0.0.2", "1.0.0.1"), here)
    assert servers.next() == server("1.0.0.2")


def test_move_forgets_what_was_preferred_and_untried() -> None:
    servers = ServerList(hosts("1.0.0.1", "1.0.0.2"), Scripted(0.0, 0.0))
    servers.begin_round({})
    servers.prefer(server("1.0.0.2"))
    assert servers.update(hosts("1.0.0.3"), None)
    assert servers.next() is None
    servers.begin_round({})
    assert take_all(servers) == ["1.0.0.3:2181"]


def test_update_on_the_move() -> None:
    # On the way to the new server 2 when it is withdrawn again: the way leads elsewhere, whatever is said of 1.
    servers, here = connected(hosts("1.0.0.1"), "1.0.0.1", 0.0, 0.0, 0.0)
    assert servers.update(hosts("1.0.0.1", "1.0.0.2"), here)
    assert servers.update(hosts("1.0.0.1"), here)
    servers.begin_round({})
    assert take_all(servers) == ["1.0.0.1:2181"]
    # And when it stays, so does the client, on whichever server it is by now.
    servers, here = connected(hosts("1.0.0.1"), "1.0.0.1", 0.0, 0.0)
    assert servers.update(hosts("1.0.0.1", "1.0.0.2"), here)
    servers.begin_round({})
    assert not servers.update(hosts("1.0.0.2"), here)
    assert take_all(servers) == ["1.0.0.2:2181"]


def test_same_list_for_a_client_that_was_on_none_of_it() -> None:
    servers, _ = connected(hosts("1.0.0.1", "1.0.0.2"), "1.0.0.9", 0.0, 0.0)
    assert servers.update(hosts("1.0.0.1", "1.0.0.2"), None)
    servers.begin_round({})
    assert take_all(servers) == ["1.0.0.1:2181", "1.0.0.2:2181"]


@given(
    st.lists(st.integers(1, 6), min_size=1),
    st.lists(st.lists(st.integers(1, 6), min_size=1), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_every_server_of_an_updated_list_is_tried(
    first: list[int], updates: list[list[int]], source: random.Random, in_use: bool
) -> None:
    servers = ServerList([HostPort(f"1.0.0.{n}") for n in first], source)
    for update in updates:
        servers.begin_round({})
        current = servers.next() if in_use else None
        if current is not None:
            servers.succeeded(current)
        new = [HostPort(f"1.0.0.{n}") for n in update]
        assert servers.update(new, current) or current is None or current in servers
        servers.begin_round({})
        assert sorted(take_all(servers)) == sorted({str(host) for host in new})


# --- Time ---


def test_backoff_doubles_up_to_its_cap() -> None:
    backoff = Backoff(Scripted(*[0.0] * 8), base=0.1, cap=1.0)
    assert [backoff.next(100) for _ in range(6)] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.5, 0.5])
    backoff.reset()
    assert backoff.next(100) == pytest.approx(0.05)


def test_backoff_leaves_the_session_time_to_connect() -> None:
    backoff = Backoff(Scripted(*[0.999999] * 40))
    assert [backoff.next(4) for _ in range(5)] == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4], rel=1e-3)
    assert [backoff.next(1000) for _ in range(4)] == pytest.approx([0.8, 1.6, 2.0, 2.0], rel=1e-3)
    assert backoff.next(0.01) == pytest.approx(0.1, rel=1e-3)


def test_backoff_never_overflows() -> None:
    backoff = Backoff(random.Random(1))
    pauses = [backoff.next(60) for _ in range(5000)]
    assert all(1.0 <= pause <= 2.0 for pause in pauses[10:])


@pytest.mark.parametrize(
    "remaining, servers, expected",
    [(9, 3, 3), (9, 1, 5), (9, 0, 5), (9, 100, 0.5), (0, 3, 0.5), (-4, 3, 0.5)],
)
def test_connect_timeout(remaining: float, servers: int, expected: float) -> None:
    assert connect_timeout(remaining, servers, cap=5, floor=0.5) == expected


def test_random_source_is_a_random() -> None:
    source: RandomSource = random.Random(1)
    assert 0 <= source.random() < 1
