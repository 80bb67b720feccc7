"""A certification authority, a server's certificate and a client's, as files that Java and Python read."""

import ssl
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.processes import Processes


class Certificates:
    """Certificates in a temporary folder; close them, or use them under `with`.

    Attributes:
        ca_pem: The authority's certificate.
        server_pem: The key and the chain of the server, for `localhost` and 127.0.0.1.
        client_pem: The key and the chain of the client.
        client_id: The client's id in ACLs of the scheme `x509`.
    """

    def __init__(self) -> None:
        self._owner = Processes()  # Its folder goes away even if this process is killed.
        authority = trustme.CA(key_type=trustme.KeyType.RSA)
        self.ca_pem = self._owner.folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_pem))
        server = authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.RSA)
        client = authority.issue_cert(
            "alice@example.org",
            common_name="alice",
            organization_name="zk-sansio",
            organization_unit_name="tests",  # trustme's own has characters that Java escapes and Python does not.
            key_type=trustme.KeyType.RSA,
        )
        self.server_pem = self._write("server.pem", server)
        self.client_pem = self._write("client.pem", client)
        subject = x509.load_pem_x509_certificate(client.cert_chain_pems[0].bytes()).subject
        self.client_id = subject.rfc4514_string()

    def _write(self, name: str, certificate: trustme.LeafCert) -> Path:
        # Java reads keys in PKCS#8 only.
        key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
        parts = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]
        parts += [blob.bytes() for blob in certificate.cert_chain_pems]
        path = self._owner.folder / name
        path.touch(mode=0o600)
        path.write_bytes(b"".join(parts))
        return path

    def client_context(self, *, certificate: bool = True) -> ssl.SSLContext:
        """Make a context that trusts the authority, and that has the client's certificate if asked."""
        context = ssl.create_default_context(cafile=str(self.ca_pem))
        if certificate:
            context.load_cert_chain(self.client_pem)
        return context

    def server_context(self, *, client_auth: bool = True) -> ssl.SSLContext:
        """Make the context of a server played by a test."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca_pem))
        context.load_cert_chain(self.server_pem)
        context.verify_mode = ssl.CERT_REQUIRED if client_auth else ssl.CERT_NONE
        return context

    def close(self) -> None:
        """Remove the files. May be called twice."""
        self._owner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
