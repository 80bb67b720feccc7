"""One non-blocking socket, with or without TLS: bytes in and out, and what to wait for, but no waiting."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum, auto
from typing import TypeAlias

from zk_sansio.client import SocketOptions
from zk_sansio.errors import TlsError
from zk_sansio.session import Server, Session
from zk_sansio.tls import TlsLayer, TlsState

__all__ = ["TlsSource", "Transport", "Want", "open_socket", "tls_layer"]

TlsSource: TypeAlias = "ssl.SSLContext | Callable[[], ssl.SSLContext] | None"
"""A context, or something that makes one for each connection, so that certificates can be renewed."""

_READ_SIZE = 64 * 1024
"""Bytes. For more the C library may ask the kernel each time, which costs more than the read itself."""


class Want(Enum):
    """What a socket has to be before there is more to do."""

    READABLE = auto()
    WRITABLE = auto()


class Transport:
    """A connection. One at a time reads, one at a time writes; an adapter adds the waiting.

    Args:
        sock: non-blocking.
        tls: None for a plain connection.

    Attributes:
        sock: the socket.
        unsent: bytes that the kernel did not take yet; while there are any, `send` must not be called.
    """

    __slots__ = ("_early", "_tls", "sock", "unsent")

    def __init__(self, sock: socket.socket, tls: TlsLayer | None = None) -> None:
        self.sock: socket.socket = sock
        self.unsent: bytes = b""
        self._tls = tls
        self._early = b""  # plaintext that came with the end of the handshake

    # --- opening

    def connecting(self, server: Server) -> Iterator[Want]:
        """Connect and agree on TLS: wait for each thing that this yields.

        Raises:
            OSError, TlsError: it did not work out; close the transport.
        """
        try:
            self.sock.connect((server.address, server.host.port))
        except BlockingIOError:
            yield Want.WRITABLE
            if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code)) from None
        yield from self.handshaking()

    def handshaking(self) -> Iterator[Want]:
        """Agree on TLS: wait for each thing that this yields; nothing without TLS."""
        tls = self._tls
        if tls is None:
            return
        done = tls.handshake()
        while True:
            if (hello := tls.data_to_send()) and not self._send(hello):
                yield from self.sending()
            if done:
                return
            yield Want.READABLE
            try:
                data = self.sock.recv(_READ_SIZE)
            except BlockingIOError:
                continue
            if data:
                self._early += tls.receive_data(data)
            else:
                tls.receive_eof()
            done = tls.handshake()

    # --- writing

    def send(self, data: bytes) -> bool:
        """Send without waiting; return whether the kernel took everything. The rest is `unsent`."""
        if self._tls is not None:
            self._tls.send_data(data)
            data = self._tls.data_to_send()
        return self._send(data)

    def _send(self, data: bytes) -> bool:
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return True
        self.unsent = data[sent:]
        return False

    def sending(self) -> Iterator[Want]:
        """Send what is unsent: wait for each thing that this yields."""
        while self.unsent:
            yield Want.WRITABLE
            self.send_more()

    def send_more(self) -> None:
        """The socket is writable, perhaps: send of what is unsent as much as the kernel takes."""
        with suppress(BlockingIOError):
            sent = self.sock.send(self.unsent)
            self.unsent = self.unsent[sent:]

    # --- reading

    @property
    def ended(self) -> bool:
        """Whether `receive` has something to say though the socket may never be readable again."""
        return self._tls is not None and self._tls.state is TlsState.EOF

    def receive(self) -> bytes | None:
        """What has arrived, without waiting: b"" at the end of the stream, None if there is nothing.

        Raises:
            OSError, TlsError: the connection is broken.
        """
        if self._early:
            early, self._early = self._early, b""
            return early
        if self.ended:
            return b""  # the farewell came together with the last data
        try:
            data = self.sock.recv(_READ_SIZE)
        except BlockingIOError:
            return None
        if self._tls is None:
            return data
        if not data:
            self._tls.receive_eof()
            return b""
        plain = self._tls.receive_data(data)
        self._answer(self._tls)
        if plain:
            return plain
        return b"" if self._tls.state is TlsState.EOF else None

    def _answer(self, tls: TlsLayer) -> None:
        """Send what TLS itself has to say, such as a key update; behind unsent bytes, which come first."""
        if reply := tls.data_to_send():
            if self.unsent:
                self.unsent += reply
            else:
                self._send(reply)

    def receive_into(self, buffer: memoryview) -> int | None:
        """Read into *buffer* without waiting; 0 at the end of the stream, None if there is nothing. Not with TLS."""
        try:
            return self.sock.recv_into(buffer)
        except BlockingIOError:
            return None

    def receive_for(self, session: Session, now: float) -> bool:
        """Read once, give it to *session*, and say whether there was anything, be it the end or a failure.

        A large reply is read into its place at once.
        """
        try:
            if self._tls is None and (buffer := session.receive_buffer()) is not None:
                count = self.receive_into(buffer)
                if count is None:
                    return False
                if count:
                    session.receive_buffer_filled(count, now)
                else:
                    session.receive_data(b"", now)
            else:
                data = self.receive()
                if data is None:
                    return False
                session.receive_data(data, now)
        except (OSError, TlsError) as error:
            session.connection_lost(error, now)
        return True

    # --- the end

    def close(self) -> None:
        """Close the socket. TLS says its farewell, if that is possible at once."""
        if self.sock.fileno() == -1:
            return
        if self._tls is not None and not self.unsent:
            if self._tls.state is TlsState.OPEN:
                self._tls.close()
            with suppress(OSError):  # a farewell, or what is wrong, to a peer that may have gone; nobody waits
                self.sock.send(self._tls.data_to_send())
        self.sock.close()


def tls_layer(server: Server, tls: TlsSource) -> TlsLayer | None:
    """TLS for one connection; None without.

    Args:
        server: whom to talk to; its certificate must be for its configured name.
        tls: a context, or what makes one.

    Raises:
        TlsError, InvalidRequestError: the context is not usable.
    """
    if tls is None:
        return None
    return TlsLayer(tls if isinstance(tls, ssl.SSLContext) else tls(), server.host.host)


def open_socket(server: Server, options: SocketOptions) -> socket.socket:
    """A non-blocking socket, set up and not connected; after a failure there is none.

    Raises:
        OSError: an option is not possible, such as the local address.
    """
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if options.nodelay:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options.keepalive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if options.send_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer)
        if options.receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer)
        if options.local_address is not None:
            sock.bind(options.local_address)
    except BaseException:
        sock.close()
        raise
    return sock
