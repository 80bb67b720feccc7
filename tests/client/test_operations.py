from __future__ import annotations

import pytest

from zk_sansio.acl import CREATOR_ALL, OPEN
from zk_sansio.client._operations import create_mode, create_request, full_path, sequential_path
from zk_sansio.errors import InvalidPathError, InvalidRequestError
from zk_sansio.paths import Chroot
from zk_sansio.wire import Create, Create2, CreateContainer, CreateMode, CreateTTL


@pytest.mark.parametrize(
    "ephemeral, sequential, container, ttl, mode",
    [
        (False, False, False, None, CreateMode.PERSISTENT),
        (True, False, False, None, CreateMode.EPHEMERAL),
        (False, True, False, None, CreateMode.PERSISTENT_SEQUENTIAL),
        (True, True, False, None, CreateMode.EPHEMERAL_SEQUENTIAL),
        (False, False, True, None, CreateMode.CONTAINER),
        (False, False, False, 1.5, CreateMode.PERSISTENT_WITH_TTL),
        (False, True, False, 0.0, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL),
    ],
)
def test_modes(ephemeral: bool, sequential: bool, container: bool, ttl: float | None, mode: CreateMode) -> None:
    assert create_mode(ephemeral=ephemeral, sequential=sequential, container=container, ttl=ttl) is mode


@pytest.mark.parametrize(
    "ephemeral, sequential, container, ttl, message",
    [
        (True, False, True, None, "a container is neither ephemeral nor sequential, and has no TTL"),
        (False, True, True, None, "a container is neither ephemeral nor sequential, and has no TTL"),
        (False, False, True, 1.0, "a container is neither ephemeral nor sequential, and has no TTL"),
        (True, False, False, 1.0, "an ephemeral znode has no TTL; it goes away with its session"),
        (True, True, False, 1.0, "an ephemeral znode has no TTL; it goes away with its session"),
    ],
)
def test_options_that_exclude_each_other(
    ephemeral: bool, sequential: bool, container: bool, ttl: float | None, message: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        create_mode(ephemeral=ephemeral, sequential=sequential, container=container, ttl=ttl)
    assert str(caught.value) == message


@pytest.mark.parametrize("mode", list(CreateMode)[:4])
def test_the_plain_create_unless_a_stat_is_wanted(mode: CreateMode) -> None:
    assert create_request("/a", b"x", OPEN, mode) == Create("/a", b"x", OPEN, mode)
    asked = create_request("/a", None, CREATOR_ALL, mode, with_stat=True)
    assert asked == Create2("/a", None, CREATOR_ALL, mode)


@pytest.mark.parametrize("with_stat", [False, True])
def test_containers_and_ttls_have_requests_of_their_own(with_stat: bool) -> None:
    container = create_request("/a", b"x", OPEN, CreateMode.CONTAINER, with_stat=with_stat)
    assert container == CreateContainer("/a", b"x", OPEN, CreateMode.CONTAINER)
    mode = CreateMode.PERSISTENT_WITH_TTL
    assert create_request("/a", b"x", OPEN, mode, 1.5, with_stat=with_stat) == CreateTTL("/a", b"x", OPEN, mode, 1500)


@pytest.mark.parametrize("ttl", [0.0, -1.0, 2.0**40])
def test_a_ttl_that_no_server_accepts_is_found_when_it_is_encoded(ttl: float) -> None:
    request = create_request("/a", b"", OPEN, CreateMode.PERSISTENT_WITH_TTL, ttl)
    with pytest.raises(InvalidRequestError, match="a TTL is 1 to 1099511627775 milliseconds"):
        request.body()


def test_paths() -> None:
    assert full_path(Chroot(), "/a") == "/a"
    assert full_path(Chroot("/app"), "/a") == "/app/a"
    assert full_path(Chroot("/app"), "/") == "/app"
    assert sequential_path(Chroot(), "/a/") == "/a/"
    assert sequential_path(Chroot("/app"), "/a/") == "/app/a/"
    assert sequential_path(Chroot("/app"), "/") == "/app/"
    with pytest.raises(InvalidPathError, match=r"invalid path 'a'"):
        full_path(Chroot("/app"), "a")
    with pytest.raises(InvalidPathError, match=r"invalid path 'a'"):
        sequential_path(Chroot("/app"), "a")
