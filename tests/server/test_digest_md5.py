"""The server's half of DIGEST-MD5: what real servers said, what the JDK refuses, and our own client's half."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.vectors import VECTORS
from zk_sansio.errors import AuthFailedError
from zk_sansio.server._digest_md5 import DigestMd5Server, SaslRefusedError
from zk_sansio.session._sasl import DigestMD5
from zk_sansio.wire import Sasl

USERS = {"bob": "bobsecret", "alice": "", "p\xfcp": "p\xe4ssw\xf6rd", "\u65e5": "p\u65e5", 'a"b\\c': 'q"\\u,=x'}
RANDOM = bytes(range(30))
NONCE = base64.b64encode(RANDOM)
CHALLENGE = b'realm="zk-sasl-md5",nonce="%s",charset=utf-8,algorithm=md5-sess'

Token = dict[str, bytes | None]


def cnonce() -> bytes:
    return b"0123456789abcdef"


def challenged() -> DigestMd5Server:
    server = DigestMd5Server(USERS, RANDOM)
    assert server.step(b"") == CHALLENGE % NONCE
    return server


def md5(data: bytes) -> bytes:
    return hashlib.md5(data).hexdigest().encode()


def quoted(value: bytes) -> bytes:
    return b'"' + value + b'"'


def token(
    *,
    user: bytes = b"bob",
    password: bytes = b"bobsecret",
    realm: bytes = b"zk-sasl-md5",
    nc: bytes = b"00000001",
    qop: bytes = b"auth",
    uri: bytes = b"zookeeper/zk-sasl-md5",
    authzid: bytes | None = None,
    cnonce: bytes = b"abc",
) -> Token:
    """A response, computed from these; the directives may be changed afterwards."""
    secret = hashlib.md5(b":".join((user, realm, password))).digest() + b":" + NONCE + b":" + cnonce
    if authzid is not None:
        secret += b":" + authzid
    response = md5(b":".join((md5(secret), NONCE, nc, cnonce, qop, md5(b"AUTHENTICATE:" + uri))))
    return {
        "charset": b"utf-8",
        "username": quoted(user),
        "realm": quoted(realm),
        "nonce": quoted(NONCE),
        "nc": nc,
        "cnonce": quoted(cnonce),
        "digest-uri": quoted(uri),
        "response": response,
        "qop": qop,
        "authzid": quoted(authzid) if authzid is not None else None,
    }


def join(directives: Token) -> bytes:
    return b",".join(name.encode() + b"=" + value for name, value in directives.items() if value is not None)


# --- what real servers said


@pytest.mark.parametrize("version", ["3.8.0", "3.9.5"])
def test_captured_exchange(version: str) -> None:
    first, second = (
        next(each for each in VECTORS if each.name == name and each.server.startswith(version))
        for name in ("sasl_digest_md5_step1", "sasl_digest_md5_step2")
    )
    challenge = Sasl.parse(first.reply, 20)[0].token
    assert challenge is not None
    nonce = challenge.split(b'"')[3]
    server = DigestMd5Server({"bob": "bobsecret"}, base64.b64decode(nonce))
    for vector in (first, second):
        assert server.user is None
        asked = Sasl.parse(vector.request, 12)[0].token
        assert asked is not None
        assert server.step(asked) == Sasl.parse(vector.reply, 20)[0].token
    assert server.user == "bob"


@pytest.mark.parametrize("version", ["3.8.0", "3.9.5"])
def test_captured_wrong_password(version: str) -> None:
    vector = next(
        each for each in VECTORS if each.name == "sasl_digest_md5_wrong_password" and each.server.startswith(version)
    )
    asked = Sasl.parse(vector.request, 12)[0].token
    assert asked is not None
    nonce = asked.split(b'nonce="')[1].split(b'"')[0]
    server = DigestMd5Server({"bob": "bobsecret"}, base64.b64decode(nonce))
    server.step(b"")
    with pytest.raises(SaslRefusedError, match="wrong password"):
        server.step(asked)
    assert server.user is None


# --- with our client's half


@pytest.mark.parametrize("user", USERS)
def test_with_the_clients_half(user: str) -> None:
    client = DigestMD5(user, USERS[user], cnonce)
    server = DigestMd5Server(USERS, RANDOM)
    response = client.step(server.step(client.start()))
    assert response is not None
    assert client.step(server.step(response)) is None
    assert client.done
    assert server.user == user


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_with_the_clients_half_and_any_characters(user: str, password: str) -> None:
    client = DigestMD5(user, password, cnonce)
    server = DigestMd5Server({user: password}, RANDOM)
    response = client.step(server.step(client.start()))
    assert response is not None
    assert client.step(server.step(response)) is None
    assert server.user == user


def test_the_client_refuses_a_server_that_knows_another_password() -> None:
    """As far as it can be known: here the server lets the client in, who does not believe it."""
    client = DigestMD5("bob", "bobsecret", cnonce)
    server = challenged()
    response = client.step(CHALLENGE % NONCE)
    assert response is not None
    proof = server.step(response)
    with pytest.raises(AuthFailedError):
        client.step(proof[:-1] + (b"0" if proof[-1:] != b"0" else b"1"))


# --- what the JDK takes, and what it refuses (run against those of 17 and 25)


def changed(**changes: bytes | None) -> Token:
    return token() | {name.replace("_", "-"): value for name, value in changes.items()}


ACCEPTED = {
    "plain": token(),
    "no charset": changed(charset=None),
    "charset quoted": changed(charset=b'"utf-8"'),
    "qop left out": changed(qop=None),
    "qop quoted": changed(qop=b'"auth"'),
    "nc left out": changed(nc=None),
    "nc is not looked at": changed(nc=b"00000007"),
    "uri in other letters": token(uri=b"ZooKeeper/ZK-SASL-MD5"),
    "empty cnonce": token(cnonce=b""),
    "response quoted": token() | {"response": quoted(token()["response"] or b"")},
    "username unquoted": changed(username=b"bob"),
    "username escaped": changed(username=rb'"\b\o\b"'),
    "authzid": token(authzid=b"bob"),
    "authzid of somebody else": token(authzid=b"alice"),
    "empty authzid": token(authzid=b""),
    "unknown directive": changed(foo=b"bar"),
    "maxbuf and cipher": changed(maxbuf=b"65536", cipher=b"rc4"),
    "names in capitals": {name.upper(): value for name, value in token().items()},
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    server = challenged()
    assert server.step(join(ACCEPTED[name])).startswith(b"rspauth=")
    assert server.user == "bob"


def test_the_proof_is_about_the_uri_as_the_client_writes_it() -> None:
    uri = b"ZooKeeper/ZK-SASL-MD5"
    secret = hashlib.md5(b"bob:zk-sasl-md5:bobsecret").digest() + b":" + NONCE + b":abc"
    proof = md5(b":".join((md5(secret), NONCE, b"00000001", b"abc", b"auth", md5(b":" + uri))))
    assert challenged().step(join(token(uri=uri))) == b"rspauth=" + proof


REFUSED: dict[str, Token] = {
    "charset in capitals": changed(charset=b"UTF-8"),
    "another charset": changed(charset=b"iso-8859-1"),
    "no realm": token(realm=b"") | {"realm": None},
    "empty realm": token(realm=b""),
    "another realm": token(realm=b"zookeeper"),
    "realm in capitals": token(realm=b"ZK-SASL-MD5"),
    "no username": changed(username=None),
    "unknown user": token(user=b"eve"),
    "empty username": token(user=b""),
    "wrong password": token(password=b"bobsecrets"),
    "no nonce": changed(nonce=None),
    "another nonce": changed(nonce=b'"abc"'),
    "no cnonce": changed(cnonce=None),
    "computed with another count": token(nc=b"00000002"),
    "computed with a short count": token(nc=b"1"),
    "qop auth-int": token(qop=b"auth-int"),
    "qop auth-conf": token(qop=b"auth-conf"),
    "qop in capitals": token(qop=b"AUTH"),
    "empty qop": changed(qop=b'""'),
    "two qops": changed(qop=b'"auth,auth-int"'),
    "no uri": changed(digest_uri=None),
    "empty uri": token(uri=b""),
    "the real host": token(uri=b"zookeeper/localhost"),
    "another service": token(uri=b"http/zk-sasl-md5"),
    "no host": token(uri=b"zookeeper"),
    "a name of the service": token(uri=b"zookeeper/zk-sasl-md5/x"),
    "no response": changed(response=None),
    "empty response": changed(response=b'""'),
    "short response": token() | {"response": (token()["response"] or b"")[:-1]},
    "response in capitals": token() | {"response": (token()["response"] or b"").upper()},
    "authzid that is not computed with": changed(authzid=b'"bob"'),
    "password hashed as UTF-8": token(user="p\xfcp".encode(), password="p\xe4ssw\xf6rd".encode()),
    "username in ISO-8859-1": token(user=b"p\xfcp", password=b"p\xe4ssw\xf6rd"),
    "username in ISO-8859-1, and no charset": token(user=b"p\xfcp", password=b"p\xe4ssw\xf6rd") | {"charset": None},
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    server = challenged()
    with pytest.raises(SaslRefusedError):
        server.step(join(REFUSED[name]))
    assert server.user is None
    with pytest.raises(SaslRefusedError, match="over"):
        server.step(join(token()))
    assert server.user is None


@pytest.mark.parametrize("twice", ["value", "empty"])
@pytest.mark.parametrize(
    "name", ["charset", "username", "realm", "nonce", "cnonce", "digest-uri", "response", "qop", "authzid", "maxbuf"]
)
def test_refused_if_there_twice(name: str, twice: str) -> None:
    base = token(authzid=b"bob") | {"maxbuf": b"65536"}
    value = base[name] if twice == "value" else b'""'
    assert value is not None
    with pytest.raises(SaslRefusedError, match="more than once"):
        challenged().step(join(base) + b"," + name.upper().encode() + b"=" + value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: b"",
        lambda text: b",,,",
        lambda text: b"junk",
        lambda text: b"\0",
        lambda text: text + b",foo=",
        lambda text: text + b",=x",
        lambda text: text + b',foo="bar',
        lambda text: text + b',foo="bar\\',
        lambda text: text + b',foo="bar"x',
        lambda text: b"foo bar=x," + text,
        lambda text: text.replace(b",", b";"),
        lambda text: text + b',x="' + bytes(5000) + b'"',
    ],
)
def test_malformed(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(SaslRefusedError):
        challenged().step(spoil(join(token())))


def test_spaces_and_empty_elements() -> None:
    text = b" , " + join(token()).replace(b",", b" ,\r\n\t, ").replace(b"=", b" = ", 3) + b" ,, "
    assert challenged().step(text).startswith(b"rspauth=")


def test_the_largest_token() -> None:
    text = join(token()) + b',x="'
    full = text + b"a" * (4095 - len(text)) + b'"'
    assert challenged().step(full).startswith(b"rspauth=")
    with pytest.raises(SaslRefusedError, match="too large"):
        challenged().step(full[:-1] + b'a"')


@pytest.mark.parametrize("more", [b"", b"x", join(token())])
def test_nothing_is_taken_behind_the_end(more: bytes) -> None:
    server = challenged()
    server.step(join(token()))
    for _ in range(2):
        with pytest.raises(SaslRefusedError, match="over"):
            server.step(more)
    assert server.user == "bob"


def test_the_first_token_is_not_looked_at() -> None:
    server = DigestMd5Server(USERS, RANDOM)
    assert server.step(join(token())) == CHALLENGE % NONCE
    assert server.user is None


def test_each_exchange_has_its_own_nonce() -> None:
    old = challenged()
    new = DigestMd5Server(USERS, RANDOM[::-1])
    new.step(b"")
    response = DigestMD5("bob", "bobsecret", cnonce).step(CHALLENGE % NONCE)
    assert response is not None
    assert old.step(response)
    with pytest.raises(SaslRefusedError, match="nonce"):
        new.step(response)


@given(st.binary(max_size=200))
def test_hostile_tokens(garbage: bytes) -> None:
    server = challenged()
    with pytest.raises(SaslRefusedError):
        server.step(garbage)


@given(st.data())
def test_tokens_with_one_byte_changed(data: st.DataObject) -> None:
    text = bytearray(join(token()))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    server = challenged()
    try:
        server.step(bytes(text))
    except SaslRefusedError:
        assert server.user is None
    else:
        assert server.user == "bob"  # it was the count, a letter's case, or the name of what may be left out


def test_no_secret_is_shown() -> None:
    server = challenged()
    assert "bobsecret" not in repr(server)
    with pytest.raises(SaslRefusedError) as caught:
        server.step(join(token(password=b"other")))
    assert "secret" not in str(caught.value)
