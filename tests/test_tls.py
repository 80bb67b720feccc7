from __future__ import annotations

import datetime
import pickle
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from zk_sansio.errors import InvalidRequestError, LocalProtocolError, SessionError, TlsError
from zk_sansio.tls import Negotiated, TlsLayer, TlsState, _explain

V12 = ssl.TLSVersion.TLSv1_2
V13 = ssl.TLSVersion.TLSv1_3
BOTH = pytest.mark.parametrize("version", [V12, V13])

CA = trustme.CA()
OTHER_CA = trustme.CA()
SERVER = CA.issue_cert("localhost", "127.0.0.1", "::1")
CLIENT = CA.issue_cert("alice@example.org")


def client_context(
    version: ssl.TLSVersion = V13, trust: trustme.CA = CA, certificate: trustme.LeafCert | None = None
) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=trust.cert_pem.bytes().decode())
    context.maximum_version = version
    if certificate is not None:
        certificate.configure_cert(context)
    return context


def server_context(certificate: trustme.LeafCert = SERVER, client_auth: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    CA.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED if client_auth else ssl.CERT_NONE
    return context


class Peer:
    """The server's side, played by an SSLObject."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.ready = False
        self.closed = False
        self.received = b""
        self.error: ssl.SSLError | None = None

    def feed(self, ciphertext: bytes) -> None:
        self.incoming.write(ciphertext)
        try:
            if not self.ready:
                self.tls.do_handshake()
                self.ready = True
            while chunk := self.tls.read(65536):
                self.received += chunk
            self.closed = True  # by a close_notify
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error


def exchange(layer: TlsLayer, peer: Peer, chunk: int = 1 << 30) -> bytes:
    """Carry bytes both ways, *chunk* by *chunk*, until none are left."""
    received = b""
    while (up := layer.data_to_send()) or peer.outgoing.pending:
        for start in range(0, len(up), chunk):
            peer.feed(up[start : start + chunk])
        down = peer.outgoing.read()
        for start in range(0, len(down), chunk):
            received += layer.receive_data(down[start : start + chunk])
    return received


def connect(
    client: ssl.SSLContext | None = None, server: ssl.SSLContext | None = None, host: str = "localhost"
) -> tuple[TlsLayer, Peer]:
    layer, peer = TlsLayer(client or client_context(), host), Peer(server or server_context())
    assert not layer.handshake()
    assert exchange(layer, peer) == b""
    assert layer.state is TlsState.OPEN
    return layer, peer


# --- What works ---


@BOTH
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_handshake(version: ssl.TLSVersion, host: str) -> None:
    layer, peer = TlsLayer(client_context(version), host), Peer(server_context())
    assert layer.negotiated is None
    assert layer.state is TlsState.HANDSHAKE
    assert not layer.handshake()
    assert not layer.handshake()
    exchange(layer, peer)
    assert layer.handshake()
    cipher = peer.tls.cipher()
    assert cipher is not None
    assert layer.negotiated == Negotiated(version="TLSv1.2" if version is V12 else "TLSv1.3", cipher=cipher[0])


@BOTH
def test_client_certificate(version: ssl.TLSVersion) -> None:
    _, peer = connect(client_context(version, certificate=CLIENT), server_context(client_auth=True))
    assert peer.tls.getpeercert()


@BOTH
@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 6, 7, 17, 100, 1000, 5000])
def test_every_split(version: ssl.TLSVersion, chunk: int) -> None:
    layer, peer = TlsLayer(client_context(version), "localhost"), Peer(server_context())
    layer.handshake()
    received = exchange(layer, peer, chunk)
    for number in range(20):
        layer.send_data(b"request %d;" % number)
        peer.tls.write(b"reply %d;" % number)
        if number % 3 == 0:
            received += exchange(layer, peer, chunk)
    layer.send_data(b"x" * 20000)
    peer.tls.write(b"y" * 20000)
    received += exchange(layer, peer, chunk)
    assert received == b"".join(b"reply %d;" % number for number in range(20)) + b"y" * 20000
    assert peer.received == b"".join(b"request %d;" % number for number in range(20)) + b"x" * 20000


@BOTH
def test_server_that_speaks_first(version: ssl.TLSVersion) -> None:
    layer, peer = TlsLayer(client_context(version), "localhost"), Peer(server_context())
    layer.handshake()
    while not peer.ready:
        peer.feed(layer.data_to_send())
        if not peer.ready:
            assert layer.receive_data(peer.outgoing.read()) == b""
    peer.tls.write(b"hello")
    # The end of the handshake (TLS 1.2), or tickets (TLS 1.3), and data in one piece.
    assert layer.receive_data(peer.outgoing.read()) == b"hello"


@BOTH
def test_large_payload_comes_at_once(version: ssl.TLSVersion) -> None:
    layer, peer = connect(client_context(version))
    payload = bytes(range(256)) * 4096
    layer.send_data(memoryview(payload))
    peer.tls.write(payload)
    assert exchange(layer, peer) == payload
    assert peer.received == payload


def test_many_small_payloads_come_at_once() -> None:
    layer, peer = connect()
    for _ in range(1000):
        peer.tls.write(b"small")
        layer.send_data(b"tiny")
    assert exchange(layer, peer) == b"small" * 1000
    assert peer.received == b"tiny" * 1000


def test_nothing_to_send_makes_no_record() -> None:
    layer, _ = connect()
    layer.send_data(b"")
    assert layer.data_to_send() == b""
    assert layer.receive_data(b"") == b""


def test_session_tickets_are_no_data() -> None:
    context = server_context()
    context.num_tickets = 5
    layer, peer = TlsLayer(client_context(), "localhost"), Peer(context)
    layer.handshake()
    peer.feed(layer.data_to_send())
    layer.receive_data(peer.outgoing.read())
    assert layer.state is TlsState.OPEN
    peer.feed(layer.data_to_send())
    tickets = peer.outgoing.read()
    assert len(tickets) > 500
    assert layer.receive_data(tickets) == b""
    peer.tls.write(b"data")
    assert exchange(layer, peer) == b"data"


# --- The end ---


@BOTH
def test_close(version: ssl.TLSVersion) -> None:
    layer, peer = connect(client_context(version))
    layer.send_data(b"last words")
    layer.close()
    layer.close()
    assert layer.state is TlsState.CLOSED
    exchange(layer, peer)
    assert peer.received == b"last words"
    assert peer.error is None
    assert peer.closed
    assert layer.receive_data(b"whatever comes") == b""
    layer.receive_eof()
    for act in (layer.handshake, lambda: layer.send_data(b"x")):
        with pytest.raises(LocalProtocolError, match="CLOSED"):
            act()


@BOTH
def test_close_by_the_server(version: ssl.TLSVersion) -> None:
    layer, peer = connect(client_context(version))
    peer.tls.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.unwrap()
    assert layer.receive_data(peer.outgoing.read()) == b"last words"
    assert layer.state is TlsState.EOF
    assert layer.receive_data(b"more") == b""
    assert layer.handshake()
    layer.receive_eof()
    layer.send_data(b"too late, and no harm")
    layer.close()
    assert layer.data_to_send()


def test_close_while_data_is_under_way() -> None:
    layer, peer = connect()
    peer.tls.write(b"nobody reads this")
    rest = peer.outgoing.read()
    assert layer.receive_data(rest[:10]) == b""
    layer.close()
    assert layer.data_to_send()


def test_close_before_the_handshake() -> None:
    layer = TlsLayer(client_context(), "localhost")
    layer.close()
    assert layer.data_to_send() == b""


def test_truncated_stream_is_an_end() -> None:
    layer, peer = connect()
    peer.tls.write(b"whole")
    peer.tls.write(b"broken off")
    assert layer.receive_data(peer.outgoing.read()[:-3]) == b"whole"
    layer.receive_eof()
    layer.receive_eof()
    assert layer.state is TlsState.EOF


def test_send_before_the_handshake() -> None:
    layer = TlsLayer(client_context(), "localhost")
    with pytest.raises(LocalProtocolError, match="send_data is not possible in the TLS state HANDSHAKE"):
        layer.send_data(b"x")


# --- What goes wrong ---


def failure(client: ssl.SSLContext, server: ssl.SSLContext, host: str = "localhost") -> tuple[TlsError, TlsLayer, Peer]:
    """The error of a connection attempt, up to the first answer of the server."""
    layer, peer = TlsLayer(client, host), Peer(server)
    layer.handshake()
    with pytest.raises(TlsError) as caught:
        exchange(layer, peer)
    assert layer.state is TlsState.FAILED
    again: list[Callable[[], object]] = [layer.handshake, lambda: layer.receive_data(b"x"), layer.receive_eof]
    for act in again:
        with pytest.raises(TlsError) as same:
            act()
        assert same.value is caught.value
    with pytest.raises(TlsError):
        layer.send_data(b"x")
    return caught.value, layer, peer


@BOTH
def test_unknown_authority(version: ssl.TLSVersion) -> None:
    error, layer, peer = failure(client_context(version, trust=OTHER_CA), server_context())
    assert isinstance(error, SessionError)
    assert error.permanent
    assert str(error).startswith("TLS with localhost: the server's certificate is not accepted (")
    assert "load_verify_locations" in str(error)
    # The server is told.
    peer.feed(layer.data_to_send())
    assert peer.error is not None
    assert "ALERT" in peer.error.reason
    layer.close()
    assert layer.state is TlsState.CLOSED


@BOTH
@pytest.mark.parametrize("host", ["example.org", "127.0.0.2"])
def test_wrong_host_name(version: ssl.TLSVersion, host: str) -> None:
    error, _, _ = failure(client_context(version), server_context(), host)
    assert error.permanent
    assert error.server == host
    assert host in error.reason
    assert "subjectAltName" in error.reason


def test_expired_certificate() -> None:
    then = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    expired = CA.issue_cert("localhost", not_before=then, not_after=then + datetime.timedelta(1))
    error, _, _ = failure(client_context(), server_context(expired))
    assert error.permanent
    assert "expired" in error.reason
    assert "give the server a valid one" in error.reason


@pytest.mark.parametrize("certificate", [None, OTHER_CA.issue_cert("alice@example.org")])
@BOTH
def test_client_certificate_refused(version: ssl.TLSVersion, certificate: trustme.LeafCert | None) -> None:
    error, layer, _ = failure(
        client_context(version, certificate=certificate), server_context(client_auth=True), "localhost"
    )
    # TLS 1.3: our side of the handshake was complete, the alert came at the first read.
    assert (layer.negotiated is not None) is (version is V13)
    assert error.permanent
    assert "client certificate" in error.reason
    assert "load_cert_chain" in error.reason


def test_requests_sent_before_the_late_alert() -> None:
    layer, peer = TlsLayer(client_context(), "localhost"), Peer(server_context(client_auth=True))
    layer.handshake()
    peer.feed(layer.data_to_send())
    assert layer.receive_data(peer.outgoing.read()) == b""
    layer.send_data(b"connect request")
    peer.feed(layer.data_to_send())
    with pytest.raises(TlsError, match="client certificate"):
        layer.receive_data(peer.outgoing.read())


def test_no_version_in_common() -> None:
    server = server_context()
    server.minimum_version = V13
    error, _, _ = failure(client_context(V12), server)
    assert error.permanent
    assert "no TLS version or cipher in common" in error.reason


def test_no_cipher_in_common() -> None:
    client, server = client_context(V12), server_context()
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    server.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    error, _, _ = failure(client, server)
    assert error.permanent
    assert "no cipher in common" in error.reason


@pytest.mark.parametrize(
    "junk, message",
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", r"is no TLS.* secureClientPort"),
        (b"\0\0\0\x29\0\0\0\0\0\0\x75\x30", "is no TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x50", "the server reports: internal error"),
        (b"\x15\x03\x03\x00\x02\x01\x00", "closed the connection during the handshake"),
        (b"\x15\x03\x03\x00\x02\x02\x00", "."),
    ],
)
def test_junk_in_place_of_a_handshake(junk: bytes, message: str) -> None:
    layer = TlsLayer(client_context(), "localhost")
    layer.handshake()
    with pytest.raises(TlsError, match=message) as caught:
        layer.receive_data(junk)
    assert not caught.value.permanent


def test_end_of_stream_during_the_handshake() -> None:
    layer = TlsLayer(client_context(), "localhost")
    layer.handshake()
    with pytest.raises(TlsError, match="during the handshake; is this its secureClientPort") as caught:
        layer.receive_eof()
    assert not caught.value.permanent


@BOTH
def test_damaged_stream(version: ssl.TLSVersion) -> None:
    layer, peer = connect(client_context(version))
    peer.tls.write(b"intact")
    intact = peer.outgoing.read()
    peer.tls.write(b"damaged")
    damaged = bytearray(peer.outgoing.read())
    damaged[-1] ^= 1
    # What came intact is not lost; the error follows.
    assert layer.receive_data(intact + damaged) == b"intact"
    assert layer.state is TlsState.FAILED
    with pytest.raises(TlsError, match=r"bad record mac|record layer failure") as caught:
        layer.receive_data(b"")
    assert not caught.value.permanent
    peer.feed(layer.data_to_send())
    assert peer.error is not None


class Renegotiating:
    """Answers as OpenSSL does when a server of TLS 1.2 has begun a new handshake."""

    def write(self, data: Any) -> int:
        raise ssl.SSLWantReadError(2, "The operation did not complete (write)")


def test_write_that_would_have_to_read_first() -> None:
    layer, _ = connect(client_context(V12))
    layer._ssl = Renegotiating()  # type: ignore[assignment]
    with pytest.raises(TlsError, match="did not complete"):
        layer.send_data(b"x")
    assert layer.state is TlsState.FAILED


def test_unsuitable_context() -> None:
    with pytest.raises(InvalidRequestError, match="this SSLContext"):
        TlsLayer(server_context(), "localhost")
    with pytest.raises(InvalidRequestError, match="this SSLContext"):
        TlsLayer(client_context(), "")


@pytest.mark.parametrize("prefix", ["SSLV3_ALERT_", "TLSV1_ALERT_", "TLSV13_ALERT_", "SSL/TLS_ALERT_"])
def test_alerts_of_all_versions_of_openssl(prefix: str) -> None:
    error = ssl.SSLError(1, "text")
    error.reason = prefix + "BAD_CERTIFICATE"
    reason, permanent = _explain(error)
    assert "client certificate that it trusts (bad certificate)" in reason
    assert permanent


def test_error_can_be_pickled() -> None:
    error = TlsError("reason", server="a:1", permanent=True)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.reason, copy.server, copy.permanent) == ("reason", "a:1", True)
    assert str(TlsError("reason")) == "TLS: reason"
