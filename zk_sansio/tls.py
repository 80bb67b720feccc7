"""TLS without I/O: bytes from the socket in, bytes for the socket out; one layer for every adapter.

::

    layer = TlsLayer(context, "zk1.example")
    layer.handshake()                        # now there is a ClientHello in data_to_send()
    while not layer.handshake():
        sock.sendall(layer.data_to_send())
        layer.receive_data(sock.recv(65536)) # receive_eof() in place of b""

    layer.send_data(session.data_to_send())  # many requests, then one write
    sock.sendall(layer.data_to_send())
    session.receive_data(layer.receive_data(sock.recv(65536)), now)

After every input there may be something in `TlsLayer.data_to_send`, even after an error: an alert that tells the server
what went wrong, or the answer to a key update.
"""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from enum import Enum, auto
from typing import NamedTuple

from .errors import InvalidRequestError, LocalProtocolError, TlsError

__all__ = ["Negotiated", "TlsLayer", "TlsState"]


class TlsState(Enum):
    """What a `TlsLayer` can do now."""

    HANDSHAKE = auto()
    """Only the handshake goes on."""
    OPEN = auto()
    """Data flows both ways."""
    EOF = auto()
    """The server sends no more."""
    FAILED = auto()
    """There was an error; every further input raises it."""
    CLOSED = auto()
    """`TlsLayer.close` was called."""


class Negotiated(NamedTuple):
    """What client and server agreed on."""

    version: str
    cipher: str


class TlsLayer:
    """The client's side of one TLS connection. It is used by one thread at a time.

    Args:
        context: the caller's; it decides on certificates, verification, versions and ciphers.
        server_hostname: the name, or the numeric address, that was configured, not what it resolved to.

    Raises:
        InvalidRequestError: this context cannot be used for a client, or not with this name.
    """

    __slots__ = ("_error", "_incoming", "_negotiated", "_outgoing", "_server", "_ssl", "_state")

    def __init__(self, context: ssl.SSLContext, server_hostname: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._server = server_hostname
        self._state = TlsState.HANDSHAKE
        self._negotiated: Negotiated | None = None
        self._error: TlsError | None = None
        try:
            self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidRequestError(f"no TLS with {server_hostname!r} and this SSLContext: {error}") from error

    @property
    def state(self) -> TlsState:
        """What can be done now; look at it after each `receive_data`."""
        return self._state

    @property
    def negotiated(self) -> Negotiated | None:
        """Version and cipher; None before the end of the handshake."""
        return self._negotiated

    def handshake(self) -> bool:
        """Go on with the handshake as far as the bytes at hand allow; then send `data_to_send`.

        `receive_data` does this by itself; only the first step must be asked for.

        Returns:
            Whether the handshake is complete. Under TLS 1.3 the server may still refuse our certificate: it says so in
            place of its first answer.

        Raises:
            TlsError: the server is not trusted, or does not trust us; send `data_to_send` before closing.
        """
        self._check("handshake", TlsState.HANDSHAKE, TlsState.OPEN, TlsState.EOF)
        if self._state is TlsState.HANDSHAKE:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                return False
            except ssl.SSLError as error:
                raise self._fail(error) from error
            version, cipher = self._ssl.version(), self._ssl.cipher()
            assert version is not None
            assert cipher is not None
            self._negotiated = Negotiated(version, cipher[0])
            self._state = TlsState.OPEN
        return True

    def receive_data(self, ciphertext: bytes | bytearray | memoryview) -> bytes:
        """Take bytes from the socket; then send `data_to_send`, and look at `state`.

        Args:
            ciphertext: what was read. For the end of the stream, call `receive_eof`.

        Returns:
            All plaintext that is complete by now; often none.

        Raises:
            TlsError: see `handshake`, or the stream is damaged. What came intact before that is returned first.
        """
        if self._state in (TlsState.EOF, TlsState.CLOSED):
            return b""
        self._check("receive_data", TlsState.HANDSHAKE, TlsState.OPEN)
        self._incoming.write(ciphertext)
        if self._state is TlsState.HANDSHAKE and not self.handshake():
            return b""
        return self._read()

    def _read(self) -> bytes:
        incoming, tls = self._incoming, self._ssl
        found: list[bytes] = []
        try:
            # Asking first spares the exception that would end most rounds. OpenSSL gives one record at a time, and
            # takes no more than that out of the buffer.
            while incoming.pending or tls.pending():
                plaintext = tls.read(16384)
                if not plaintext:
                    self._state = TlsState.EOF
                    break
                found.append(plaintext)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            failure = self._fail(error)
            if not found:
                raise failure from error
        return found[0] if len(found) == 1 else b"".join(found)

    def receive_eof(self) -> None:
        """Take the end of the stream from the socket.

        Without a close_notify it counts as an end all the same: a request that was not answered is known to be lost,
        and half of an answer is never taken for a whole one.

        Raises:
            TlsError: the handshake was not complete.
        """
        if self._state is TlsState.CLOSED:
            return
        self._check("receive_eof", TlsState.HANDSHAKE, TlsState.OPEN, TlsState.EOF)
        if self._state is TlsState.HANDSHAKE:
            raise self._fail(ssl.SSLZeroReturnError())
        self._state = TlsState.EOF

    def send_data(self, plaintext: bytes | bytearray | memoryview) -> None:
        """Encrypt *plaintext*; then send `data_to_send`.

        Raises:
            TlsError: the connection failed before.
            LocalProtocolError: the handshake is not complete, or the layer is closed.
        """
        self._check("send_data", TlsState.OPEN, TlsState.EOF)
        if not plaintext:
            return  # OpenSSL would make a record of nothing
        try:
            # A memory buffer takes everything at once. Only in a renegotiation would OpenSSL ask to read first; no
            # ZooKeeper server starts one, and TLS 1.3 has none.
            self._ssl.write(plaintext)
        except ssl.SSLError as error:
            raise self._fail(error) from error

    def data_to_send(self) -> bytes:
        """The bytes to write to the socket now; each is given once."""
        return self._outgoing.read()

    def close(self) -> None:
        """Say goodbye with a close_notify, if there was a handshake; then send `data_to_send`. May be called twice."""
        if self._state in (TlsState.OPEN, TlsState.EOF):
            with suppress(ssl.SSLError):  # ours is written; whether the server's own has come makes no difference
                self._ssl.unwrap()
        self._state = TlsState.CLOSED

    def _check(self, act: str, *states: TlsState) -> None:
        if self._state in states:
            return
        if self._error is not None and self._state is TlsState.FAILED:
            raise self._error
        raise LocalProtocolError(f"{act} is not possible in the TLS state {self._state.name}")

    def _fail(self, error: ssl.SSLError) -> TlsError:
        reason, permanent = _explain(error)
        self._state = TlsState.FAILED
        self._error = TlsError(reason, server=self._server, permanent=permanent)
        return self._error


# The prefix differs between versions of OpenSSL: SSLV3_ALERT_, TLSV1_ALERT_, TLSV13_ALERT_, SSL/TLS_ALERT_.
_ALERT = re.compile(r"ALERT_(\w+)\Z")

_CERTIFICATE_REFUSED = (
    "the server asks for a client certificate that it trusts ({}); load one with SSLContext.load_cert_chain, signed by "
    "an authority in the server's trust store"
)
_NOTHING_IN_COMMON = (
    "client and server have no TLS version or cipher in common ({}); see SSLContext.minimum_version, maximum_version "
    "and set_ciphers, and ssl.enabledProtocols on the server"
)
_NOT_TLS = "what the server sends is no TLS ({}); connect to its secureClientPort"

# By the name of the alert, or of OpenSSL's own reason.
_PERMANENT = {
    "ACCESS_DENIED": _CERTIFICATE_REFUSED,
    "BAD_CERTIFICATE": _CERTIFICATE_REFUSED,  # what Java sends when there is none
    "CERTIFICATE_EXPIRED": _CERTIFICATE_REFUSED,
    "CERTIFICATE_REQUIRED": _CERTIFICATE_REFUSED,
    "CERTIFICATE_REVOKED": _CERTIFICATE_REFUSED,
    "CERTIFICATE_UNKNOWN": _CERTIFICATE_REFUSED,
    "DECRYPT_ERROR": _CERTIFICATE_REFUSED,
    "HANDSHAKE_FAILURE": (
        "the server refused the handshake ({}): it asks for a client certificate, see SSLContext.load_cert_chain, or "
        "there is no cipher in common"
    ),
    "INSUFFICIENT_SECURITY": _NOTHING_IN_COMMON,
    "NO_CERTIFICATE": _CERTIFICATE_REFUSED,
    "NO_CIPHERS_AVAILABLE": _NOTHING_IN_COMMON,
    "NO_PROTOCOLS_AVAILABLE": _NOTHING_IN_COMMON,
    "PROTOCOL_VERSION": _NOTHING_IN_COMMON,
    "UNKNOWN_CA": _CERTIFICATE_REFUSED,
    "UNSUPPORTED_CERTIFICATE": _CERTIFICATE_REFUSED,
    "UNSUPPORTED_PROTOCOL": _NOTHING_IN_COMMON,
    "WRONG_SSL_VERSION": _NOTHING_IN_COMMON,
}
_PASSING = {
    "HTTP_REQUEST": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    # What OpenSSL 3.2 and newer may say in place of the others, and of a bad record mac.
    "RECORD_LAYER_FAILURE": "what the server sends is no TLS, or was damaged ({}); connect to its secureClientPort",
    "WRONG_VERSION_NUMBER": _NOT_TLS,
}
_BAD_NAME = "connect by a name in the certificate, or issue one with this name as subjectAltName"
_UNTRUSTED = "load the authority that signed it with SSLContext.load_verify_locations"

# By the number of OpenSSL's X509_V_ERR.
_ADVICE = {
    2: _UNTRUSTED,  # UNABLE_TO_GET_ISSUER_CERT
    18: _UNTRUSTED,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: _UNTRUSTED,  # SELF_SIGNED_CERT_IN_CHAIN
    20: _UNTRUSTED,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: _UNTRUSTED,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    62: _BAD_NAME,  # HOSTNAME_MISMATCH
    64: _BAD_NAME,  # IP_ADDRESS_MISMATCH
}


def _explain(error: ssl.SSLError) -> tuple[str, bool]:
    """What went wrong and what to do, and whether it would go wrong again."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = _ADVICE.get(error.verify_code, "give the server a valid one")
        return f"the server's certificate is not accepted ({error.verify_message.rstrip('.')}); {advice}", True
    if isinstance(error, ssl.SSLZeroReturnError):
        return "the server closed the connection during the handshake; is this its secureClientPort?", False
    reason = getattr(error, "reason", None)  # missing when it was not OpenSSL that made the error
    if not reason:
        return str(error), False
    alert = _ALERT.search(reason)
    name = alert[1] if alert else reason
    words = name.replace("_", " ").lower()
    if name in _PERMANENT:
        return _PERMANENT[name].format(words), True
    return _PASSING.get(name, "the server reports: {}" if alert else "{}").format(words), False
