"""Paths: what is legal, how they are put together, numbered and mapped."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import paths, repeatable, thorough
from zk_sansio.errors import InvalidPathError
from zk_sansio.paths import Chroot, basename, check_path, join, parent, sequence_number

# --- check_path

LEGAL = ["/", "/a", "/a/b", "/...", "/.a", "/a.", "/..a", "/a b", "/ ", "/é", "/\u4e2d", "/-", "/a:b@c", "/\\"]
EDGES = "\x20\x7e\xa0\u2028\ud7ff\uf900\uffef"
OUTSIDE = "\x00\x1f\x7f\x80\x9f\ud800\udfff\ue000\uf8ff\ufff0\uffff\U00010000\U0001f600\U0010ffff"


@pytest.mark.parametrize("path", [*LEGAL, *(f"/a{character}/b" for character in EDGES)])
def test_legal(path: str) -> None:
    check_path(path)
    check_path(path, sequential=True)


@pytest.mark.parametrize("character", OUTSIDE, ids=lambda character: f"{ord(character):04X}")
def test_forbidden_character(character: str) -> None:
    path = f"/ab{character}"
    with pytest.raises(InvalidPathError, match=rf"character U\+{ord(character):04X} at position 3 is not") as caught:
        check_path(path)
    assert caught.value.path == path
    with pytest.raises(InvalidPathError):
        check_path(path, sequential=True)


def test_every_character_of_the_basic_plane() -> None:
    def forbidden(code: int) -> bool:
        return code <= 0x1F or 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xF8FF or code >= 0xFFF0

    for code in range(0x10000):
        try:
            check_path.__wrapped__(f"/a{chr(code)}b")
        except InvalidPathError:
            assert forbidden(code)
        else:
            assert not forbidden(code)


@pytest.mark.parametrize(
    "path, reason",
    [
        ("", "it is empty"),
        ("a", "it must start with '/'"),
        ("a/", "it must start with '/'"),
        (".", "it must start with '/'"),
        ("/a/", "it must not end with '/'"),
        ("//", "it must not end with '/'"),
        ("//a", r"an empty component \('//'\)"),
        ("/a//b", r"an empty component \('//'\)"),
        ("/.", "relative components"),
        ("/..", "relative components"),
        ("/./a", "relative components"),
        ("/a/./b", "relative components"),
        ("/a/../b", "relative components"),
        ("/a/..", "relative components"),
    ],
)
def test_illegal(path: str, reason: str) -> None:
    for _ in range(2):  # a refusal is not remembered as a success
        with pytest.raises(InvalidPathError, match=reason) as caught:
            check_path(path)
        assert caught.value.path == path


@pytest.mark.parametrize("path", ["/", "/a/", "/a/.", "/a/..", "/a/lock-"])
def test_a_number_completes_the_path(path: str) -> None:
    check_path(path, sequential=True)


@pytest.mark.parametrize("path", ["", "a", "//", "/a//", "/../a", "/./"])
def test_a_number_does_not_mend_everything(path: str) -> None:
    with pytest.raises(InvalidPathError) as caught:
        check_path(path, sequential=True)
    assert caught.value.path == path  # without the number


@pytest.mark.parametrize("path", [None, b"/a", 5, PurePosixPath("/a")])
def test_not_a_string(path: Any) -> None:
    with pytest.raises(TypeError, match=f"a path is a str, not {type(path).__name__}"):
        check_path(path)


@thorough
@given(path=st.text("/.a\0é", max_size=8) | paths)
def test_the_rules_component_by_component(path: str) -> None:
    def legal(path: str) -> bool:
        if path == "/":
            return True
        first, *components = path.split("/")
        return (
            first == ""
            and components != []
            and all(name not in ("", ".", "..") and "\0" not in name for name in components)
        )

    for sequential in False, True:
        try:
            check_path(path, sequential=sequential)
        except InvalidPathError:
            accepted = False
        else:
            accepted = True
        assert accepted is legal(path + "0" if sequential else path)


# --- putting together and taking apart


@pytest.mark.parametrize(
    "parts, path",
    [
        ((), "/"),
        (("",), "/"),
        (("/",), "/"),
        (("a",), "/a"),
        (("/a", "b"), "/a/b"),
        (("/a/", "/b/"), "/a/b"),
        (("/", "a"), "/a"),
        (("/a", "", "/", "b"), "/a/b"),
        (("/a/b", "c/d"), "/a/b/c/d"),
        (("//a//", "b"), "/a/b"),
    ],
)
def test_join(parts: tuple[str, ...], path: str) -> None:
    assert join(*parts) == path


@pytest.mark.parametrize(
    "path, above, last",
    [("/", "/", ""), ("/a", "/", "a"), ("/a/b", "/a", "b"), ("/a/b/c", "/a/b", "c"), ("/a/", "/a", "")],
)
def test_parent_and_basename(path: str, above: str, last: str) -> None:
    assert (parent(path), basename(path)) == (above, last)


def test_a_relative_path_has_no_parent() -> None:
    for function in parent, basename:
        with pytest.raises(ValueError, match="substring"):
            function("a")


@repeatable
@given(path=paths)
def test_apart_and_together(path: str) -> None:
    assert join(parent(path), basename(path)) == path


# --- sequence numbers


@pytest.mark.parametrize(
    "name, number",
    [
        ("lock0000000005", 5),
        ("lock-0000000005", 5),
        ("_c_0fc0-lock-0000000010", 10),
        ("/a/lock-0000000010", 10),
        ("0000000000", 0),
        ("-0000000000", 0),
        ("--0000000005", 5),
        ("v1-0000000005", 5),
        ("v10000000005", 5),
        ("lock2147483647", 2147483647),
        ("lock-2147483647", 2147483647),
        ("lock--2147483648", -2147483648),
        ("lock-2147483648", -2147483648),  # 2147483648 is no int, so the dash is its sign
        ("-2147483648", -2147483648),
        ("lock--2000000000", -2000000000),
        ("lock--1000000000", -1000000000),
        ("lock--999999999", -999999999),  # %010d counts the sign as a digit
        ("lock--000000001", -1),
        ("lock-000000001", -1),
        ("lock2147483648", None),
        ("lock-2147483649", None),
        ("lock9999999999", None),
        ("lock", None),
        ("", None),
        ("lock000000005", None),
        ("lock-000000000", None),
        ("lock-12345678", None),
        ("lock0000000005x", None),
        ("lock0000000005\n", None),
        ("lock\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0665", None),  # digits, but not Java's
    ],
)
def test_sequence_number(name: str, number: int | None) -> None:
    assert sequence_number(name) == number


@thorough
@given(prefix=st.sampled_from(["lock-", "_c_38c5-lock-", "a-b-", "/a/n-"]), number=st.integers(-(2**31), 2**31 - 1))
def test_every_number_of_the_counter(prefix: str, number: int) -> None:
    assert sequence_number(f"{prefix}{number:010d}") == number


@thorough
@given(prefix=st.sampled_from(["", "lock", "n", "/a/"]), number=st.integers(-(2**31), 2**31 - 1))
def test_every_number_behind_a_prefix_without_a_dash(prefix: str, number: int) -> None:
    found = sequence_number(f"{prefix}{number:010d}")
    if -(2**31) < number <= -(10**9):
        assert found == -number  # looks like a dash and a number, and is read so
    else:
        assert found == number


def test_after_the_overflow() -> None:
    names = [f"lock-{number:010d}" for number in (2**31 - 2, 2**31 - 1, -(2**31), -(2**31) + 1)]
    assert [len(name) - len("lock-") for name in names] == [10, 10, 11, 11]
    assert [sequence_number(name) for name in names] == [2147483646, 2147483647, -2147483648, -2147483647]


# --- Chroot


@pytest.mark.parametrize("path", ["", "/"])
def test_no_chroot(path: str) -> None:
    chroot = Chroot(path)
    assert chroot.prefix == ""
    for each in "/", "/a", "/a/b":
        assert chroot.to_server(each) == chroot.to_client(each) == each


def test_below_the_chroot() -> None:
    chroot = Chroot("/foo")
    assert chroot.to_server("/") == "/foo"
    assert chroot.to_server("/a/b") == "/foo/a/b"
    assert chroot.to_client("/foo") == "/"
    assert chroot.to_client("/foo/a/b") == "/a/b"
    assert chroot.to_client("/foo/foo") == "/foo"


@pytest.mark.parametrize("path", ["/foobar", "/foobar/a", "/", "/fo", "/a/foo", "/zookeeper/config"])
def test_outside_of_the_chroot(path: str) -> None:
    assert Chroot("/foo").to_client(path) == path


def test_a_sequential_path_keeps_its_slash() -> None:
    chroot = Chroot("/foo")
    assert chroot.to_server("/pt/", sequential=True) == "/foo/pt/"
    assert chroot.to_server("/n-", sequential=True) == "/foo/n-"
    assert chroot.to_server("/", sequential=True) == "/foo/"  # below the chroot, not beside it
    assert Chroot().to_server("/", sequential=True) == "/"
    with pytest.raises(InvalidPathError, match="must not end"):
        chroot.to_server("/pt/")


@pytest.mark.parametrize("path", ["", "a", "/a/", "/../a", "/a\0"])
def test_paths_are_checked(path: str) -> None:
    with pytest.raises(InvalidPathError):
        Chroot("/foo").to_server(path)
    with pytest.raises(InvalidPathError):
        Chroot("/foo") / path
    if path:
        with pytest.raises(InvalidPathError):
            Chroot(path)


def test_deeper() -> None:
    assert (Chroot("/a") / "/b/c").prefix == "/a/b/c"
    assert (Chroot("/a") / "/").prefix == "/a"
    assert (Chroot() / "/b").prefix == "/b"
    assert (Chroot() / "/").prefix == ""


def test_repr_of_a_chroot() -> None:
    assert repr(Chroot("/a")) == "Chroot('/a')"
    assert repr(Chroot("/")) == "Chroot('')"


@repeatable
@given(prefix=paths, path=paths)
def test_there_and_back(prefix: str, path: str) -> None:
    chroot = Chroot(prefix)
    assert chroot.to_client(chroot.to_server(path)) == path
    check_path(chroot.to_server(path))
