"""Who the client is: credentials, and the SASL exchange in front of everything else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.session.harness import Peer, connected, framed, only, reply, response
from zk_sansio.errors import AuthFailedError, RemoteProtocolError
from zk_sansio.session import HostPort, SaslMechanism, SessionState, digest_md5
from zk_sansio.wire import Auth, GetData, Sasl

AUTH_FAILED, CONNECTED, CONNECTING, SUSPENDED = (
    SessionState.AUTH_FAILED,
    SessionState.CONNECTED,
    SessionState.CONNECTING,
    SessionState.SUSPENDED,
)
BOB, EVE = ("digest", b"bob:secret"), ("digest", b"eve:secret")


# --- credentials


def test_before_connecting() -> None:
    peer = Peer(credentials=[BOB])
    call = peer.session.add_auth(*EVE)
    assert not call.done
    peer.open()
    peer.accept()
    assert peer.taken() == [Auth(0, *BOB), Auth(0, *EVE)]
    assert peer.states() == []
    peer.answer()
    peer.answer()
    done, change = peer.drain()
    assert done is call
    assert call.error is None
    assert peer.session.state is CONNECTED
    assert change is not None


def test_while_connected_and_from_then_on() -> None:
    peer = connected()
    call = peer.session.add_auth(*BOB)
    assert peer.taken() == [Auth(0, *BOB)]
    peer.answer()
    assert peer.calls() == [call]
    assert peer.session.credentials == (BOB,)
    peer.lose()
    peer.open()
    peer.accept()
    assert peer.taken() == [Auth(0, *BOB)]
    peer.answer()
    assert peer.calls() == []
    assert peer.session.state is CONNECTED


def test_twice_the_same() -> None:
    peer = connected(credentials=[BOB, BOB])
    call = peer.session.add_auth(*BOB)
    assert peer.taken() == [Auth(0, *BOB)]
    peer.answer()
    assert peer.calls() == [call]
    assert peer.session.credentials == (BOB,)


def test_an_answer_that_is_lost_is_waited_for_on_the_next_connection() -> None:
    peer = connected(credentials=[BOB])
    call = peer.session.add_auth(*EVE)
    peer.take()
    peer.lose()
    assert not call.done
    peer.open()
    peer.lose()
    peer.open()
    peer.accept()
    assert peer.taken() == [Auth(0, *BOB), Auth(0, *EVE)]
    peer.drain()
    peer.answer()
    assert peer.calls() == []
    peer.answer()
    assert peer.calls() == [call]


def test_connected_is_not_announced_before_they_are_in_force() -> None:
    peer = connected()
    peer.lose()
    peer.session.add_auth(*BOB)
    waiting = peer.session.submit(GetData("/a"))
    peer.open()
    peer.accept()
    assert peer.taken() == [Auth(0, *BOB)]
    assert peer.session.state is SUSPENDED
    peer.answer()
    assert peer.session.state is CONNECTED
    assert peer.taken() == [waiting.request]


def test_while_restoring() -> None:
    peer = connected(credentials=[BOB])
    peer.lose()
    peer.open()
    peer.accept()
    peer.take()
    peer.session.add_auth(*EVE)
    assert peer.taken() == [Auth(0, *EVE)]
    waiting = peer.session.submit(GetData("/a"))
    peer.answer()
    peer.answer()
    assert peer.session.state is CONNECTED
    assert peer.taken() == [waiting.request]


def test_during_the_handshake() -> None:
    peer = Peer()
    peer.open()
    peer.session.add_auth(*BOB)
    assert peer.take() == []
    peer.accept()
    assert peer.taken() == [Auth(0, *BOB)]


@pytest.mark.parametrize("code", [-115, -124])
@pytest.mark.parametrize("when", ["connecting", "connected", "reconnecting"])
def test_refused(when: str, code: int) -> None:
    peer = Peer()
    if when != "connecting":
        peer.connect()
    if when == "reconnecting":
        peer.lose()
    call = peer.session.add_auth("magic", b"words")
    waiting = peer.session.submit(GetData("/a"))
    if when != "connected":
        peer.open()
        peer.accept()
    peer.take()
    peer.drain()
    auth = [number for number, (xid, _) in enumerate(peer.requests) if xid == -4]
    peer.requests.insert(0, peer.requests.pop(only(auth)))
    peer.answer(code=code)
    assert peer.session.state is AUTH_FAILED
    assert set(peer.calls()) == {call, waiting}
    assert isinstance(call.error, AuthFailedError)
    assert isinstance(waiting.error, AuthFailedError)
    assert "magic" in str(waiting.error)
    assert "words" not in repr(waiting.error) + repr(call) + repr(call.request) + str(peer.session.error)
    assert waiting.error.path == "/a"
    assert waiting.error.maybe_applied == (when == "connected")
    assert not peer.up()
    after = peer.session.submit(GetData("/b"))
    assert isinstance(after.error, AuthFailedError)
    assert isinstance(peer.session.add_auth(*BOB).error, AuthFailedError)


def test_an_error_that_is_no_refusal_is_the_caller_s() -> None:
    peer = connected()
    call = peer.session.add_auth(*BOB)
    peer.take()
    peer.answer(code=-5)
    assert peer.calls() == [call]
    assert call.error is not None
    assert peer.session.state is CONNECTED


def test_an_error_that_is_no_refusal_does_not_keep_the_session_waiting() -> None:
    peer = Peer()
    call = peer.session.add_auth(*BOB)
    peer.open()
    peer.accept()
    peer.take()
    peer.answer(code=-5)
    assert peer.session.state is CONNECTED
    assert call in peer.calls()
    assert call.error is not None


# --- SASL


class Script:
    """A mechanism that says what it was told, and keeps what it hears."""

    name = "SCRIPT"

    def __init__(self, *says: bytes | Exception | None, done: bool = True) -> None:
        self.says = list(says)
        self.heard: list[bytes | None] = []
        self.done = False
        self._at_the_end = done

    def _say(self) -> bytes | None:
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        if said is None:
            self.done = self._at_the_end
        return said

    def start(self) -> bytes:
        said = self._say()
        assert said is not None
        return said

    def step(self, token: bytes | None, /) -> bytes | None:
        self.heard.append(token)
        return self._say()


def with_sasl(mechanism: SaslMechanism | Exception) -> Peer:
    """A peer whose session is accepted and speaks *mechanism*."""

    def make(host: HostPort) -> SaslMechanism:
        if isinstance(mechanism, Exception):
            raise mechanism
        return mechanism

    peer = Peer(sasl=make, credentials=[BOB])
    peer.session.submit(GetData("/a"))
    peer.open()
    peer.accept()
    return peer


def test_success() -> None:
    mechanism = Script(b"one", b"", None)
    peer = with_sasl(mechanism)
    assert peer.taken() == [Sasl(b"one")]
    peer.answer(b"two")
    assert peer.taken() == [Sasl(b"")]
    assert peer.states() == []
    peer.answer(b"proof")
    assert peer.taken() == [Auth(0, *BOB)]
    assert mechanism.heard == [b"two", b"proof"]
    peer.answer()
    assert peer.states() == [CONNECTED]
    assert peer.taken() == [GetData("/a")]


def test_its_xids_are_ordinary_and_its_zxid_is_nothing() -> None:
    peer = with_sasl(Script(b"one", None))
    ((xid, _),) = peer.take()
    assert xid > 0
    peer.answer(b"proof", zxid=0)
    assert peer.session.last_zxid == 0


def test_a_null_token_at_the_end() -> None:
    peer = with_sasl(Script(b"one", None))
    peer.take()
    peer.answer(None)
    assert peer.taken() == [Auth(0, *BOB)]


def test_repeated_on_every_connection_with_the_server_s_name() -> None:
    hosts = []

    def make(host: HostPort) -> SaslMechanism:
        hosts.append(host)
        return Script(b"one", None)

    peer = Peer(sasl=make, hosts="one.example:2182")
    for _ in range(2):
        peer.connect()
        peer.lose()
    assert hosts == [HostPort("one.example", 2182)] * 2


@pytest.mark.parametrize(
    "mechanism, message",
    [
        (lambda: AuthFailedError("expired ticket"), "expired ticket"),
        (lambda: Script(ValueError("no idea")), "SCRIPT could not begin: no idea"),
        (lambda: Script(AuthFailedError("no credentials")), "no credentials"),
    ],
)
def test_a_mechanism_that_cannot_begin(mechanism: Callable[[], SaslMechanism | Exception], message: str) -> None:
    peer = with_sasl(mechanism())
    assert peer.session.state is AUTH_FAILED
    assert message in str(peer.session.error)
    assert isinstance(only(peer.calls()).error, AuthFailedError)
    assert not peer.up()


def test_a_mechanism_that_cannot_be_made_now() -> None:
    # A ticket server that is out of reach, for example: the next attempt may succeed.
    peer = with_sasl(ValueError("no ticket server"))
    assert peer.session.state is CONNECTING
    assert not peer.up()
    assert only(list(peer.session.failures.values())) == "the SASL mechanism could not be made: no ticket server"
    assert peer.drain() == []
    peer.tick()
    assert len(peer.attempts) == 1


@pytest.mark.parametrize(
    "mechanism, token, message",
    [
        (lambda: Script(b"one", ValueError("bad nonce")), b"x", "SCRIPT failed: bad nonce"),
        (lambda: Script(b"one", AuthFailedError("not the server")), b"x", "not the server"),
        (lambda: Script(b"one", b"two"), None, "ended the SASL exchange early; does it offer SCRIPT?"),
        (lambda: Script(b"one", None, done=False), b"x", "the server has not proven itself"),
        (lambda: digest_md5("bob", "secret", lambda: bytes(16))(HostPort("h")), None, "is not configured there"),
    ],
)
def test_an_exchange_that_fails(mechanism: Callable[[], SaslMechanism], token: bytes | None, message: str) -> None:
    peer = with_sasl(mechanism())
    peer.take()
    peer.answer(token)
    assert peer.session.state is AUTH_FAILED
    assert message in str(peer.session.error)
    assert not peer.up()


@pytest.mark.parametrize("code", [-115, -124])
def test_a_server_that_refuses(code: int) -> None:
    peer = with_sasl(Script(b"one"))
    ((xid, _),) = peer.take()
    peer.receive(reply(xid, 0, code, b"\xff\xff\xff\xff"))
    assert peer.session.state is AUTH_FAILED


@pytest.mark.parametrize("code", [-5, -6, -999])
def test_another_error_is_one_more_connection_that_did_not_work_out(code: int) -> None:
    peer = with_sasl(Script(b"one"))
    peer.take()
    peer.answer(code=code)
    assert not peer.up()
    assert peer.session.state is CONNECTING
    assert f"{code}" in only(list(peer.session.failures.values()))
    assert peer.drain() == []


def test_a_token_that_cannot_be_read() -> None:
    peer = with_sasl(Script(b"one"))
    ((xid, _),) = peer.take()
    peer.receive(reply(xid, 0, 0, b"\0\0\0\x09short"))
    assert not peer.up()
    assert peer.session.state is CONNECTING
    assert "cannot be read" in only(list(peer.session.failures.values()))


def test_a_token_over_the_limit() -> None:
    peer = Peer(sasl=lambda host: Script(b"one"), max_reply=1000)
    peer.open()
    peer.accept()
    peer.take()
    peer.receive(b"\0\1\0\0")
    assert not peer.up()
    assert peer.session.state is CONNECTING
    assert not peer.session._book.own


@pytest.mark.parametrize("end", ["end of stream", "nonsense"])
def test_lost_while_authenticating(end: str) -> None:
    peer = with_sasl(Script(b"one"))
    peer.take()
    if end == "nonsense":
        peer.receive(framed(b"?"))
    else:
        peer.lose()
    assert not peer.up()
    assert peer.session.state is CONNECTING
    assert peer.drain() == []


def test_the_exchange_of_a_lost_connection_is_over() -> None:
    mechanisms = [Script(b"one", None), Script(b"uno", None)]
    peer = Peer(sasl=lambda host: mechanisms.pop(0))
    peer.open()
    peer.accept()
    peer.take()
    peer.lose()
    peer.open()
    peer.accept()
    assert peer.taken() == [Sasl(b"uno")]
    peer.answer(b"proof")
    assert peer.session.state is CONNECTED


def test_a_server_that_never_ends() -> None:
    peer = with_sasl(Script(*[b"more"] * 100))
    for _ in range(100):
        peer.take()
        if not peer.up():
            break
        peer.answer(b"more")
    assert peer.session.state is AUTH_FAILED
    assert "for ever" in str(peer.session.error)


def test_answers_behind_a_refused_exchange_are_dropped() -> None:
    peer = with_sasl(Script(b"one", AuthFailedError("no")))
    peer.take()
    peer.receive(peer.answered(b"x"), reply(-1, 0, 0, bytes(12)))
    assert peer.session.state is AUTH_FAILED
    assert isinstance(peer.session.error, AuthFailedError)
    assert not isinstance(peer.session.error, RemoteProtocolError)


def test_accepted_again_while_authenticating() -> None:
    # A second connect response is an ordinary frame, and no reply to anything.
    peer = with_sasl(Script(b"one"))
    peer.take()
    peer.receive(response())
    assert not peer.up()
