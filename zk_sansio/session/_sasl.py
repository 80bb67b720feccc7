"""SASL: tokens in, tokens out.

A mechanism proves to a server who the user is, and lets the server prove itself. ZooKeeper repeats the exchange on
every connection, so what a user configures is a factory; it is told the server's name, because Kerberos needs it.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from typing import Protocol, TypeAlias

from .._digest_md5 import COUNT, DIGEST_URI, Digest, parse_directives, quote, to_hash
from ..errors import AuthFailedError, ConnectError, InvalidRequestError
from ._hosts import HostPort

__all__ = ["DigestMD5", "SaslExchange", "SaslFactory", "SaslMechanism", "digest_md5", "make_mechanism"]

_MOST_STEPS = 32
"""No mechanism needs as many; a hostile server must not keep a client busy for ever."""


class SaslMechanism(Protocol):
    """One exchange of one mechanism, with one server.

    ``start`` gives the first token; each token that the server answers goes to ``step``, which gives the next one, or
    None when there is nothing more to send. By then ``done`` must be True: the server has proven itself. So DIGEST-MD5
    is done when it has verified ``rspauth``, and GSSAPI when, after its last token, the server answers a null one.
    Both methods raise `AuthFailedError` when it does not work out.
    """

    @property
    def name(self) -> str:
        """The name that SASL knows the mechanism by."""
        ...

    @property
    def done(self) -> bool:
        """Whether the exchange is over, and the server has proven itself."""
        ...

    def start(self) -> bytes:
        """The first token; it may be empty."""
        ...

    def step(self, token: bytes | None, /) -> bytes | None:
        """Take the server's token, and give the next one.

        Args:
            token: what the server answered; None for a null token, which ends the exchange, or comes from a server that
                does not know the mechanism.

        Returns:
            The token to send, maybe empty, or None if there is nothing more to send.
        """
        ...


SaslFactory: TypeAlias = Callable[[HostPort], SaslMechanism]
"""Makes the mechanism for a new connection to the server named."""


def make_mechanism(factory: SaslFactory, host: HostPort) -> SaslMechanism:
    """Make the mechanism for a connection to *host*.

    Raises:
        AuthFailedError: there are no credentials that would work.
        ConnectError: anything else, such as a ticket server that is out of reach; another attempt may succeed.
    """
    try:
        return factory(host)
    except AuthFailedError:
        raise
    except Exception as error:
        raise ConnectError(f"the SASL mechanism could not be made: {error}") from error


class SaslExchange:
    """Runs a mechanism by ZooKeeper's rules, whoever wrote it: it ends, and it fails with `AuthFailedError` only.

    Args:
        mechanism: a fresh one.
    """

    __slots__ = ("_mechanism", "_name", "_steps")

    def __init__(self, mechanism: SaslMechanism) -> None:
        self._mechanism = mechanism
        self._name = mechanism.name
        self._steps = 0

    def start(self) -> bytes:
        """The token to send first; then give the server's answer to `receive`.

        Raises:
            AuthFailedError: the mechanism has no credentials, for example.
        """
        try:
            return self._mechanism.start()
        except AuthFailedError:
            raise
        except Exception as error:
            raise AuthFailedError(f"{self._name} could not begin: {error}") from error

    def receive(self, token: bytes | None) -> bytes | None:
        """Take the server's answer.

        Args:
            token: the token of a reply without an error; None for a null one.

        Returns:
            The token to send next, or None: the user is authenticated, and nothing more may be sent.

        Raises:
            AuthFailedError: it did not work out, and would not at another try.
        """
        self._steps += 1
        try:
            answer = self._mechanism.step(token)
            done = self._mechanism.done
        except AuthFailedError:
            raise
        except Exception as error:
            raise AuthFailedError(f"{self._name} failed: {error}") from error
        if answer is None and done:
            return None
        if token is None:
            raise AuthFailedError(f"the server ended the SASL exchange early; does it offer {self._name}?")
        if answer is None:
            raise AuthFailedError(f"{self._name} ended, but the server has not proven itself")
        if self._steps >= _MOST_STEPS:
            raise AuthFailedError(f"the server goes on with {self._name} for ever")
        return answer


# --- DIGEST-MD5 (RFC 2831) ---

_LARGEST_CHALLENGE = 2048
_SURROGATE = re.compile("[\ud800-\udfff]")


class DigestMD5:
    """One exchange by user name and password.

    Args:
        user: the user name; it becomes the id of the scheme ``sasl``.
        password: the password; it never leaves this object.
        nonce_source: gives random bytes, at least 16 of them, new ones at each call.

    Raises:
        InvalidRequestError: a name or password that no server can know.
    """

    __slots__ = ("_nonce_source", "_password", "_proof", "_user", "done")

    name = "DIGEST-MD5"

    def __init__(self, user: str, password: str, nonce_source: Callable[[], bytes]) -> None:
        if not user:
            raise InvalidRequestError("the user name of DIGEST-MD5 is empty")
        if _SURROGATE.search(user) or _SURROGATE.search(password):
            raise InvalidRequestError("the user name or the password of DIGEST-MD5 has a lone surrogate")
        self._user = user
        self._password = password
        self._nonce_source = nonce_source
        self._proof: bytes | None = None
        self.done: bool = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._user!r})"

    def start(self) -> bytes:
        """Nothing: the server speaks first."""
        return b""

    def step(self, token: bytes | None, /) -> bytes | None:
        """Answer the challenge; then verify that the server knows the password too.

        Args:
            token: the server's token; None for a null one.

        Returns:
            The digest response, or None when the server has proven itself.

        Raises:
            AuthFailedError: the server does not take part, is not to be trusted, or breaks RFC 2831.
        """
        if token is None and self._proof is None:
            raise AuthFailedError("the server sends no challenge: SASL with DIGEST-MD5 is not configured there")
        if token is None:
            raise AuthFailedError("the server ended DIGEST-MD5 without proof that it knows the password")
        if self.done:
            raise AuthFailedError("the server goes on after the end of DIGEST-MD5")
        if self._proof is None:
            return self._respond(token)
        answers = _read(token).get(b"rspauth", ())
        if len(answers) != 1 or not hmac.compare_digest(answers[0], self._proof):
            raise AuthFailedError("the server does not know the password, so it is not the one it claims to be")
        self.done = True
        return None

    def _respond(self, challenge: bytes) -> bytes:
        if len(challenge) >= _LARGEST_CHALLENGE:
            raise AuthFailedError(f"the DIGEST-MD5 challenge has {len(challenge)} bytes; RFC 2831 allows 2047")
        directives = _read(challenge)
        nonce = _only(directives, b"nonce")
        algorithm = _only(directives, b"algorithm")
        if not nonce:
            raise AuthFailedError("the DIGEST-MD5 challenge has no nonce")
        if algorithm is None or algorithm.lower() != b"md5-sess":
            raise AuthFailedError("the DIGEST-MD5 challenge does not ask for the algorithm md5-sess")
        # Only "auth": what follows is not wrapped. A server that names nothing means just that.
        offers = _only(directives, b"qop")
        if offers is not None and b"auth" not in [offer.strip().lower() for offer in offers.split(b",")]:
            raise AuthFailedError("the server asks for a security layer of DIGEST-MD5; ZooKeeper has none")
        charset = _only(directives, b"charset")
        if charset is not None and charset.lower() != b"utf-8":
            raise AuthFailedError("the DIGEST-MD5 challenge has an unknown charset")
        # There may be several realms. The first one is what a Java client takes without being asked.
        realm, *_ = directives.get(b"realm", [None])

        cnonce = base64.b64encode(self._nonce_source())
        unicode = charset is not None
        charset_name = "utf-8" if unicode else "iso-8859-1"
        realm_text = (realm or b"").decode(charset_name, "replace")
        try:
            user = self._user.encode(charset_name)
            self._password.encode(charset_name)
        except UnicodeEncodeError:
            raise AuthFailedError("the server takes names and passwords of ISO-8859-1 only") from None
        digest = Digest(to_hash(self._user), to_hash(realm_text), to_hash(self._password), nonce, cnonce)
        self._proof = digest.proof(DIGEST_URI)
        response = [b"charset=utf-8"] if unicode else []
        response.append(b"username=" + quote(user))
        if realm is not None:
            response.append(b"realm=" + quote(realm))
        response += [
            b"nonce=" + quote(nonce),
            b"nc=" + COUNT,
            b"cnonce=" + quote(cnonce),
            b"digest-uri=" + quote(DIGEST_URI),
            b"response=" + digest.response(DIGEST_URI),
            b"qop=auth",
        ]
        return b",".join(response)


def digest_md5(user: str, password: str, nonce_source: Callable[[], bytes]) -> SaslFactory:
    """What to configure for `DigestMD5`: the same user and password for every server.

    Args:
        user: the user name.
        password: the password.
        nonce_source: gives random bytes, at least 16 of them, new ones at each call.

    Raises:
        InvalidRequestError: a name or password that no server can know.
    """
    DigestMD5(user, password, nonce_source)  # a mistake is better told now than at the first connection

    def make(host: HostPort) -> SaslMechanism:
        return DigestMD5(user, password, nonce_source)

    return make


def _read(token: bytes) -> dict[bytes, list[bytes]]:
    try:
        return parse_directives(token)
    except ValueError as error:
        raise AuthFailedError(f"the server's DIGEST-MD5 token is {error}") from None


def _only(directives: dict[bytes, list[bytes]], name: bytes) -> bytes | None:
    values = directives.get(name, ())
    if len(values) > 1:
        raise AuthFailedError(f"the DIGEST-MD5 challenge gives {name.decode()!r} more than once")
    return values[0] if values else None
