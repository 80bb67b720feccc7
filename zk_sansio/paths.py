"""Znode paths: what is legal, how they are put together, and how a chroot maps them.

The rules are exactly those of ``org.apache.zookeeper.common.PathUtils``, which looks at UTF-16 units:
so every character above U+FFFF is forbidden too, because its surrogates are.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .errors import InvalidPathError

__all__ = ["Chroot", "basename", "check_path", "join", "parent", "sequence_number"]

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]")
_SEQUENCE = re.compile(r"(-{0,2})([0-9]{9,10})\Z")
_MAX_SEQUENCE = 2**31 - 1


@lru_cache(maxsize=4096)
def check_path(path: str, *, sequential: bool = False) -> None:
    """Raise `InvalidPathError` unless *path* is one that a server accepts.

    Args:
        path: an absolute path, such as ``/app/config``.
        sequential: the server will append a number, so a trailing ``/`` is fine.
    """
    if not isinstance(path, str):
        raise TypeError(f"a path is a str, not {type(path).__name__}")
    name = path + "0" if sequential else path
    if not name:
        raise InvalidPathError(path, "it is empty")
    if name[0] != "/":
        raise InvalidPathError(path, "it must start with '/'")
    if bad := _FORBIDDEN.search(name):
        raise InvalidPathError(path, f"character U+{ord(bad.group()):04X} at position {bad.start()} is not allowed")
    if name == "/":
        return
    if name[-1] == "/":
        raise InvalidPathError(path, "it must not end with '/'")
    if "//" in name:
        raise InvalidPathError(path, "it has an empty component ('//')")
    closed = name + "/"
    if "/./" in closed or "/../" in closed:
        raise InvalidPathError(path, "relative components ('.', '..') are not allowed")


def join(*parts: str) -> str:
    """Put an absolute path together from *parts*, whatever slashes they begin or end with."""
    return "/" + "/".join(stripped for part in parts if (stripped := part.strip("/")))


def parent(path: str) -> str:
    """The path of the parent; the parent of ``/`` is ``/``."""
    return path[: path.rindex("/")] or "/"


def basename(path: str) -> str:
    """The last component; empty for ``/``."""
    return path[path.rindex("/") + 1 :]


def sequence_number(name: str) -> int | None:
    """The number that the server appended to a sequential name, or None if there is none.

    The counter is a signed 32-bit number printed with ``%010d``: after 2147483647 comes
    ``-2147483648``, eleven characters long. Compare with serial-number arithmetic.

    A dash in front of ten digits is the end of the prefix, as in ``lock-0000000005``, where the counter
    cannot have printed it, or where it is ambiguous. ``lock--2147483648`` has one of each.
    """
    found = _SEQUENCE.search(name)
    if found is None:
        return None
    dashes, digits = found.groups()
    number = int(digits)
    if len(digits) == 9:  # too short for a counter from 0 on
        return -number if dashes and number else None
    if number <= _MAX_SEQUENCE and (dashes != "--" or number < 10**9):
        return number
    return -number if dashes and number <= _MAX_SEQUENCE + 1 else None


class Chroot:
    """A prefix that every path of a client is below.

    Args:
        path: the prefix; ``""`` and ``/`` mean none.
    """

    __slots__ = ("prefix",)

    def __init__(self, path: str = "") -> None:
        self.prefix: str = "" if path == "/" else path
        if self.prefix:
            check_path(path)

    def __truediv__(self, path: str) -> Chroot:
        check_path(path)
        return Chroot(self.prefix + path if path != "/" else self.prefix)

    def to_server(self, path: str, *, sequential: bool = False) -> str:
        """The full path on the server for *path*, which is checked first.

        Args:
            path: the path as the client sees it.
            sequential: the server will append a number, so a trailing ``/`` is fine, and is kept.
        """
        check_path(path, sequential=sequential)
        if path == "/" and not sequential:
            return self.prefix or "/"
        return self.prefix + path

    def to_client(self, path: str) -> str:
        """What the server calls *path*, as the client sees it; a path outside of the chroot stays whole."""
        prefix = self.prefix
        if not prefix or not (path == prefix or path.startswith(prefix + "/")):
            return path
        return path[len(prefix) :] or "/"

    def __repr__(self) -> str:
        return f"Chroot({self.prefix!r})"
