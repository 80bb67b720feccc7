"""DIGEST-MD5 (RFC 2831): what both sides of an exchange read and compute."""

from __future__ import annotations

import hashlib
import re

__all__ = ["COUNT", "DIGEST_URI", "Digest", "parse_directives", "quote", "to_hash"]

DIGEST_URI = b"zookeeper/zk-sasl-md5"
"""Not the real host name: every server of every ensemble uses this one (SecurityUtils.createSaslClient)."""

COUNT = b"00000001"
"""Each connection begins with a nonce of its own, so each is used once."""

_SEPARATORS = re.compile(rb"[ \t\r\n,]*")
_TOKEN = rb"[!#$%&'*+\-.0-9A-Z^_`a-z|~]+"
_DIRECTIVE = re.compile(
    rb"(" + _TOKEN + rb')[ \t\r\n]*=[ \t\r\n]*(?:"((?:[^"\\]|\\.)*)"|(' + _TOKEN + rb"))[ \t\r\n]*(?=,|\Z)", re.DOTALL
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(rb'(["\\])')


class Digest:
    """What a user's password makes of one exchange.

    Args:
        user: the user's name, as it is hashed; see `to_hash`.
        realm: the realm, likewise.
        password: the password, likewise.
        nonce: the server's.
        cnonce: the client's.
        authzid: as whom the client wants to act, if it says so.
    """

    __slots__ = ("_cnonce", "_key", "_nonce")

    def __init__(
        self, user: bytes, realm: bytes, password: bytes, nonce: bytes, cnonce: bytes, authzid: bytes | None = None
    ) -> None:
        parts = [_md5(b":".join((user, realm, password))), nonce, cnonce]
        if authzid is not None:
            parts.append(authzid)
        self._key = _hex(b":".join(parts))
        self._nonce = nonce
        self._cnonce = cnonce

    def response(self, uri: bytes) -> bytes:
        """How the client proves that it knows the password."""
        return self._value(b"AUTHENTICATE:" + uri)

    def proof(self, uri: bytes) -> bytes:
        """How the server does, as the value of ``rspauth``."""
        return self._value(b":" + uri)

    def _value(self, purpose: bytes) -> bytes:
        return _hex(b":".join((self._key, self._nonce, COUNT, self._cnonce, b"auth", _hex(purpose))))


def parse_directives(text: bytes) -> dict[bytes, list[bytes]]:
    """Read a token.

    Returns:
        The values of each directive, unquoted, by its name in lower case.

    Raises:
        ValueError: it is malformed.
    """
    found: dict[bytes, list[bytes]] = {}
    position = 0
    while True:
        skipped = _SEPARATORS.match(text, position)
        assert skipped is not None  # it matches nothing, too
        if skipped.end() == len(text):
            return found
        directive = _DIRECTIVE.match(text, skipped.end())
        if directive is None:
            raise ValueError(f"malformed at byte {skipped.end()}")
        name, quoted, plain = directive.groups()
        value = plain if quoted is None else _ESCAPED.sub(rb"\1", quoted)
        found.setdefault(name.lower(), []).append(value)
        position = directive.end()


def quote(value: bytes) -> bytes:
    """Write a value as a quoted string."""
    return b'"' + _TO_ESCAPE.sub(rb"\\\1", value) + b'"'


def to_hash(text: str) -> bytes:
    """What fits into ISO-8859-1 is hashed so even under ``charset=utf-8`` (RFC 2831, 2.1.2.1)."""
    return text.encode("iso-8859-1" if not text or max(text) <= "\xff" else "utf-8")


def _md5(data: bytes) -> bytes:
    # The mechanism is defined by it; the server knows no other (FIPS builds of OpenSSL ask for the flag).
    return hashlib.md5(data, usedforsecurity=False).digest()


def _hex(data: bytes) -> bytes:
    return _md5(data).hex().encode()
