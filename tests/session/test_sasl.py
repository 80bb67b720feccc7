from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zk_sansio.errors import AuthFailedError, InvalidRequestError
from zk_sansio.session._hosts import HostPort
from zk_sansio.session._sasl import DigestMD5, SaslExchange, SaslMechanism, digest_md5

CHALLENGE = b'realm="zk-sasl-md5",nonce="%s",charset=utf-8,algorithm=md5-sess'
NONCE_380 = b"xxq63KULoOE6rCZimoRhbu36fmVzLGo97iQRz6uj"
NONCE_395 = b"Lni0Akj5vLGTzRzwRg2WoGYVUcI6p0bsIwWarPO3"


def nonce() -> bytes:
    return b"0123456789abcdef"


def bob() -> DigestMD5:
    return DigestMD5("bob", "bobsecret", nonce)


# --- DIGEST-MD5 with real servers ---


@pytest.mark.parametrize(
    "server_nonce, response, proof",
    [  # captured from 3.8.0 and from 3.9.5
        (NONCE_380, b"0f5ee79807563eadd07ebf7a9ef8be20", b"caaa418cfd5f442b13b9d33da782ab57"),
        (NONCE_395, b"a5c4e858c1fa951cc92986744846ae82", b"9813027fdac270bb22408b0f7d88eeda"),
    ],
)
def test_captured_exchange(server_nonce: bytes, response: bytes, proof: bytes) -> None:
    mechanism = bob()
    assert mechanism.start() == b""
    assert mechanism.step(CHALLENGE % server_nonce) == (
        b'charset=utf-8,username="bob",realm="zk-sasl-md5",nonce="' + server_nonce + b'",nc=00000001,'
        b'cnonce="MDEyMzQ1Njc4OWFiY2RlZg==",digest-uri="zookeeper/zk-sasl-md5",response=' + response + b",qop=auth"
    )
    assert not mechanism.done
    assert mechanism.step(b"rspauth=" + proof) is None
    assert mechanism.done


@pytest.mark.parametrize(
    "user, password, server_nonce, proof, username",
    [  # captured from 3.8.0, with cnonce as above; each accepted, so the server computed the same as we did
        ("b\xe4b", "p\u65e5", b"6z9rKKmJOelvs35yrJMay+4ZmJPF25blGcKGPyTN", b"6965af32e5877d3761c2b00addaf74bf", None),
        ("\u65e5", "p\xe4ss", b"pezxsMxNOsoQdB7Tb6/CI6y08mPtgAEVt4j2ourj", None, None),
        (
            "\u65e5",
            "p\xe4ssw\xf6rd",
            b"pezxsMxNOsoQdB7Tb6/CI6y08mPtgAEVt4j2ourj",
            b"bf6cb25de558a64bf3efe5c6a6e48547",
            None,
        ),
        (
            "p\xfcp",
            "p\xe4ssw\xf6rd",
            b"l0Tmshjhp+braX3p+Hdsz1hN92RUQ+PMorW1Jjx1",
            b"610fc83373e0105618a641d73a35d046",
            b'"p\xc3\xbcp"',
        ),
        (
            'a"b\\c',
            'q"\\u,=x',
            b"zfzi/wS+Uq5NXBsa3NVRaI/rqjl13Yce0nmFiU7j",
            b"d391bf1168c570cd7575bda2dd2bf6c3",
            rb'"a\"b\\c"',
        ),
    ],
)
def test_captured_exchange_with_other_characters(
    user: str, password: str, server_nonce: bytes, proof: bytes | None, username: bytes | None
) -> None:
    mechanism = DigestMD5(user, password, nonce)
    response = mechanism.step(CHALLENGE % server_nonce)
    assert response is not None
    if username is not None:
        assert b",username=" + username + b"," in response
    if proof is None:
        with pytest.raises(AuthFailedError):
            mechanism.step(b"rspauth=bf6cb25de558a64bf3efe5c6a6e48547")
    else:
        assert mechanism.step(b"rspauth=" + proof) is None
        assert mechanism.done


# --- DIGEST-MD5 by the letter of RFC 2831 ---


@pytest.mark.parametrize(
    "challenge",
    [
        b'nonce="n",algorithm=md5-sess,realm="r",charset=utf-8',
        b' ,, nonce = "n" ,\r\n\talgorithm="MD5-SESS", realm=r , charset="UTF-8",,',
        rb'NONCE="\n",Algorithm=md5-sess,realm="\r",charset=utf-8',
        b'nonce=n,algorithm=md5-sess,realm="r",realm="other",charset=utf-8',
        b'nonce=n,algorithm=md5-sess,realm="r",charset=utf-8,qop="auth"',
        b'nonce=n,algorithm=md5-sess,realm="r",charset=utf-8,qop="auth-int , AUTH",maxbuf=65536,cipher="rc4"',
    ],
)
def test_equal_challenges(challenge: bytes) -> None:
    plain = bob().step(b'nonce="n",algorithm=md5-sess,realm="r",charset=utf-8')
    assert bob().step(challenge) == plain


def test_realm_and_nonce_are_quoted_again() -> None:
    response = bob().step(rb'nonce="n\"\\",algorithm=md5-sess,realm="a, \"b\""')
    assert response is not None
    assert rb'realm="a, \"b\"",nonce="n\"\\",' in response


def test_without_charset_and_realm() -> None:
    response = DigestMD5("b\xe4b", "", nonce).step(b"nonce=n,algorithm=md5-sess")
    assert response is not None
    assert response.startswith(b'username="b\xe4b",nonce="n",nc=00000001,')


@pytest.mark.parametrize("user, password", [("\u65e5", "x"), ("bob", "\u65e5")])
def test_without_charset_there_is_only_latin_1(user: str, password: str) -> None:
    with pytest.raises(AuthFailedError, match="ISO-8859-1 only"):
        DigestMD5(user, password, nonce).step(b"nonce=n,algorithm=md5-sess")


def test_each_exchange_has_its_own_nonce() -> None:
    numbers = iter(range(2))
    factory = digest_md5("bob", "bobsecret", lambda: bytes([next(numbers)] * 16))
    first, second = (factory(HostPort("a")).step(CHALLENGE % b"n") for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    "challenge, message",
    [
        (b"", "no nonce"),
        (b",,, ", "no nonce"),
        (b"algorithm=md5-sess", "no nonce"),
        (b'nonce="",algorithm=md5-sess', "no nonce"),
        (b"nonce=a,nonce=b,algorithm=md5-sess", "'nonce' more than once"),
        (b"nonce=n", "md5-sess"),
        (b"nonce=n,algorithm=md5", "md5-sess"),
        (b"nonce=n,algorithm=md5-sess,algorithm=md5-sess", "'algorithm' more than once"),
        (b"nonce=n,algorithm=md5-sess,charset=koi8", "unknown charset"),
        (b"nonce=n,algorithm=md5-sess,charset=utf-8,charset=utf-8", "'charset' more than once"),
        (b'nonce=n,algorithm=md5-sess,qop="auth-int,auth-conf"', "security layer"),
        (b'nonce=n,algorithm=md5-sess,qop=""', "security layer"),
        (b"nonce=n,algorithm=md5-sess,qop=auth,qop=auth", "'qop' more than once"),
        (b"nonce=n,", "md5-sess"),
        (b"nonce", "malformed at byte 0"),
        (b"a=b, nonce=", "malformed at byte 5"),
        (b'nonce="open', "malformed"),
        (b'nonce="open\\"', "malformed"),
        (b'nonce="a"b', "malformed"),
        (b"nonce=a b", "malformed"),
        (b"=a", "malformed"),
        (b"\xff=a", "malformed"),
        (b"nonce=n,algorithm=md5-sess,x=" + b"y" * 2048, "2047"),
    ],
)
def test_bad_challenge(challenge: bytes, message: str) -> None:
    with pytest.raises(AuthFailedError, match=message):
        bob().step(challenge)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"rspauth=",
        b'rspauth=""',
        b"rspauth=caaa418cfd5f442b13b9d33da782ab58",
        b"rspauth=caaa418cfd5f442b13b9d33da782ab57,rspauth=caaa418cfd5f442b13b9d33da782ab57",
        b"rspauth=\xff",
        b'rspauth="\xff"',
        CHALLENGE % NONCE_380,
    ],
)
def test_server_that_does_not_know_the_password(token: bytes) -> None:
    mechanism = bob()
    mechanism.step(CHALLENGE % NONCE_380)
    with pytest.raises(AuthFailedError, match=r"does not know the password|malformed"):
        mechanism.step(token)
    assert not mechanism.done


def test_null_token() -> None:
    mechanism = bob()
    with pytest.raises(AuthFailedError, match="not configured"):
        mechanism.step(None)
    mechanism.step(CHALLENGE % NONCE_380)
    with pytest.raises(AuthFailedError, match="without proof"):
        mechanism.step(None)


def test_token_after_the_end() -> None:
    mechanism = bob()
    mechanism.step(CHALLENGE % NONCE_380)
    mechanism.step(b"rspauth=caaa418cfd5f442b13b9d33da782ab57")
    with pytest.raises(AuthFailedError, match="after the end"):
        mechanism.step(b"")


@pytest.mark.parametrize("user, password", [("", "x"), ("\ud800", "x"), ("bob", "secret\udfff")])
def test_impossible_credentials(user: str, password: str) -> None:
    for make in (DigestMD5, digest_md5):
        with pytest.raises(InvalidRequestError) as caught:
            make(user, password, nonce)
        assert "secret" not in str(caught.value)
        assert caught.value.__context__ is None  # a UnicodeEncodeError would carry the password


def test_password_is_not_shown() -> None:
    mechanism = bob()
    factory = digest_md5("bob", "bobsecret", nonce)
    assert repr(mechanism) == "DigestMD5('bob')"
    assert "bobsecret" not in repr(factory)
    assert not hasattr(mechanism, "__dict__")


TOKENS = st.binary() | st.lists(
    st.tuples(
        st.sampled_from([b"nonce", b"realm", b"qop", b"charset", b"algorithm", b"rspauth", b"x"]),
        st.sampled_from([b"=", b' = "', b"", b'="\\']),
        st.binary(max_size=4) | st.sampled_from([b"auth", b"utf-8", b"md5-sess"]),
        st.sampled_from([b",", b'",', b'"', b" "]),
    ).map(b"".join)
).map(b"".join)


@given(TOKENS, TOKENS, st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.booleans())
@example(CHALLENGE % NONCE_380, b"", "bob", True)
@example(b'nonce="\xff",realm="\xff",charset=utf-8,algorithm=md5-sess', b"", "bob", False)
def test_hostile_server_makes_no_other_error(challenge: bytes, proof: bytes, user: str, wrapped: bool) -> None:
    mechanism: DigestMD5 = DigestMD5(user, user, nonce)
    try:
        if wrapped:
            exchange = SaslExchange(mechanism)
            exchange.start()
            exchange.receive(challenge)
            exchange.receive(proof)
        else:
            mechanism.step(challenge)
            mechanism.step(proof)
    except AuthFailedError:
        assert not mechanism.done


# --- The exchange, whatever the mechanism ---


class LikeKerberos:
    """Takes the steps of GSSAPI: context tokens, then the offer of a security layer, then a null token."""

    name = "GSSAPI"

    def __init__(self) -> None:
        self.state = "context"
        self.done = False

    def start(self) -> bytes:
        return b"initial context token"

    def step(self, token: bytes | None, /) -> bytes | None:
        match self.state, token:
            case "context", b"context token":
                self.state = "offer"
                return b""
            case "offer", b"wrapped offer":
                self.state = "end"
                return b"wrapped answer"
            case "end", None:
                self.done = True
                return None
            case _:
                return b"confused" if self.state == "context" else None


def test_exchange_of_digest_md5() -> None:
    exchange = SaslExchange(digest_md5("bob", "bobsecret", nonce)(HostPort("a")))
    assert exchange.start() == b""
    response = exchange.receive(CHALLENGE % NONCE_380)
    assert response is not None
    assert b"response=0f5ee79807563eadd07ebf7a9ef8be20" in response
    assert exchange.receive(b"rspauth=caaa418cfd5f442b13b9d33da782ab57") is None


def test_exchange_of_gssapi() -> None:
    exchange = SaslExchange(LikeKerberos())
    assert exchange.start() == b"initial context token"
    assert exchange.receive(b"context token") == b""
    assert exchange.receive(b"wrapped offer") == b"wrapped answer"
    assert exchange.receive(None) is None


def test_null_token_ends_an_exchange_one_way_or_the_other() -> None:
    exchange = SaslExchange(LikeKerberos())
    exchange.start()
    with pytest.raises(AuthFailedError, match="does it offer GSSAPI"):
        exchange.receive(None)


def test_mechanism_that_ends_without_proof() -> None:
    exchange = SaslExchange(LikeKerberos())
    exchange.receive(b"context token")
    with pytest.raises(AuthFailedError, match="has not proven itself"):
        exchange.receive(b"nonsense")


def test_exchange_without_end() -> None:
    exchange = SaslExchange(LikeKerberos())
    for _ in range(31):
        assert exchange.receive(b"again") == b"confused"
    with pytest.raises(AuthFailedError, match="for ever"):
        exchange.receive(b"again")


class Broken:
    name = "BROKEN"
    done = False

    def __init__(self, error: Exception) -> None:
        self.error = error

    def start(self) -> bytes:
        raise self.error

    def step(self, token: bytes | None, /) -> bytes | None:
        raise self.error


@pytest.mark.parametrize(
    "error, message", [(OSError("no cache"), "BROKEN .*: no cache"), (AuthFailedError("x"), "^x$")]
)
def test_broken_mechanism(error: Exception, message: str) -> None:
    mechanism: SaslMechanism = Broken(error)
    exchange = SaslExchange(mechanism)
    acts: list[Callable[[], object]] = [exchange.start, lambda: exchange.receive(b"x")]
    for act in acts:
        with pytest.raises(AuthFailedError, match=message) as caught:
            act()
        assert caught.value is error or caught.value.__cause__ is error
