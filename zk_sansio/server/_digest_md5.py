"""The server's half of SASL with DIGEST-MD5, as the JDK and ZooKeeper speak it."""

from __future__ import annotations

import base64
import enum
import hmac
from collections.abc import Mapping

from .._digest_md5 import DIGEST_URI, Digest, parse_directives, quote, to_hash

__all__ = ["DigestMd5Server", "SaslRefusedError"]

_REALM = b"zk-sasl-md5"
_LARGEST_TOKEN = 4096

_AT_MOST_ONCE = (
    *(b"authzid", b"charset", b"cipher", b"cnonce", b"digest-uri", b"maxbuf", b"nonce"),
    *(b"qop", b"realm", b"response", b"username"),
)
"""The count of the nonce, nc, is not among them: the JDK does not look at it, and computes with 1."""


class SaslRefusedError(Exception):
    """The client is not who it says that it is, or breaks the rules; there is no second try on this connection."""


class _Step(enum.Enum):
    CHALLENGE = enum.auto()
    VERIFY = enum.auto()
    OVER = enum.auto()


class DigestMd5Server:
    """One exchange with one client.

    It refuses what the JDK refuses, and malformed directives that the JDK lets pass.

    Args:
        users: passwords by user names.
        nonce: 30 random bytes, which must not come again.

    Attributes:
        user: who the client is, once it has shown that it knows the password.
    """

    __slots__ = ("_nonce", "_step", "_users", "user")

    def __init__(self, users: Mapping[str, str], nonce: bytes) -> None:
        self._users = users
        self._nonce = base64.b64encode(nonce)
        self._step = _Step.CHALLENGE
        self.user: str | None = None

    def step(self, token: bytes) -> bytes:
        """Challenge the client, then verify its response.

        Args:
            token: what the client sends; the first one, which ought to be empty, is not looked at.

        Returns:
            The challenge; then the proof that the server knows the password too.

        Raises:
            SaslRefusedError: the exchange has failed, or is over already.
        """
        step, self._step = self._step, _Step.OVER
        if len(token) > _LARGEST_TOKEN:
            raise SaslRefusedError("the token is too large")
        if step is _Step.CHALLENGE:
            self._step = _Step.VERIFY
            return b"realm=%b,nonce=%b,charset=utf-8,algorithm=md5-sess" % (quote(_REALM), quote(self._nonce))
        if step is _Step.VERIFY:
            return self._verify(token)
        raise SaslRefusedError("the exchange is over")

    def _verify(self, token: bytes) -> bytes:
        try:
            directives = parse_directives(token)
        except ValueError as error:
            raise SaslRefusedError(f"the token is {error}") from error
        for name in _AT_MOST_ONCE:
            if len(directives.get(name, ())) > 1:
                raise SaslRefusedError(f"{name.decode()} is there more than once")
        given = {name: values[0] for name, values in directives.items()}
        uri = given.get(b"digest-uri", b"")
        if given.get(b"charset", b"utf-8") != b"utf-8":
            raise SaslRefusedError("an unknown charset")
        if given.get(b"realm") != _REALM:
            raise SaslRefusedError("another realm")
        if given.get(b"nonce") != self._nonce:
            raise SaslRefusedError("another nonce")
        if given.get(b"qop", b"auth") != b"auth":
            raise SaslRefusedError("a security layer, and there is none")
        if uri.lower() != DIGEST_URI:
            raise SaslRefusedError("another service, or another host")
        try:
            name, cnonce, response = given[b"username"], given[b"cnonce"], given[b"response"]
        except KeyError as error:
            raise SaslRefusedError("no username, cnonce or response") from error
        user = name.decode("utf-8", "replace")  # whether or not the client says that it is UTF-8
        password = self._users.get(user)
        if password is None:
            raise SaslRefusedError("an unknown user")
        digest = Digest(to_hash(user), _REALM, to_hash(password), self._nonce, cnonce, given.get(b"authzid"))
        if not hmac.compare_digest(digest.response(uri), response):
            raise SaslRefusedError("a wrong password")
        self.user = user
        return b"rspauth=" + digest.proof(uri)
