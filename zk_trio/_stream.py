"""One socket, with or without TLS: bytes in and out, and nothing else.

The socket is one of the standard library's, non-blocking; trio only tells when it is ready. That is a quarter
faster in sequence than trio's own stream, and lets a caller send for itself.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import trio

from zk_sansio.client import SocketOptions
from zk_sansio.session import Server
from zk_sansio.tls import TlsLayer, TlsState

__all__ = ["Stream", "TlsSource", "dial"]

TlsSource: TypeAlias = "ssl.SSLContext | Callable[[], ssl.SSLContext] | None"
"""A context, or something that makes one for each connection, so that certificates can be renewed."""

_READ_SIZE = 128 * 1024


class Stream:
    """An open connection. One task reads, one at a time writes.

    Attributes:
        unsent: bytes that the kernel did not take yet; while there are any, `send` must not be called.
    """

    __slots__ = ("_early", "_sock", "_tls", "unsent")

    def __init__(self, sock: socket.socket, tls: TlsLayer | None = None) -> None:
        self._sock = sock
        self._tls = tls
        self._early = b""  # plaintext that came with the end of the handshake
        self.unsent = b""

    def send(self, data: bytes) -> bool:
        """Send without waiting; return whether the kernel took everything. The rest is `unsent`."""
        if self._tls is not None:
            self._tls.send_data(data)
            data = self._tls.data_to_send()
        return self._send(data)

    def _send(self, data: bytes) -> bool:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return True
        self.unsent = data[sent:]
        return False

    async def send_unsent(self) -> None:
        """Wait until the kernel has taken all that is unsent."""
        while self.unsent:
            await trio.lowlevel.wait_writable(self._sock)
            try:
                # Looked up each time: TLS may have put an answer of its own behind it meanwhile.
                sent = self._sock.send(self.unsent)
            except BlockingIOError:
                continue
            self.unsent = self.unsent[sent:]

    async def wait_readable(self) -> None:
        """Wait until `receive` has something, perhaps."""
        if self._tls is not None and self._tls.state is TlsState.EOF:
            await trio.lowlevel.checkpoint()
            return
        await trio.lowlevel.wait_readable(self._sock)

    def receive(self) -> bytes | None:
        """What has arrived, without waiting: b"" at the end of the stream, None if there is nothing.

        Raises:
            OSError, TlsError: the connection is broken.
        """
        if self._early:
            early, self._early = self._early, b""
            return early
        if self._tls is not None and self._tls.state is TlsState.EOF:
            return b""  # the farewell came together with the last data
        try:
            data = self._sock.recv(_READ_SIZE)
        except BlockingIOError:
            return None
        if self._tls is None:
            return data
        if not data:
            self._tls.receive_eof()
            return b""
        plain = self._tls.receive_data(data)
        self._answer()
        if plain:
            return plain
        return b"" if self._tls.state is TlsState.EOF else None

    def receive_into(self, buffer: memoryview) -> int | None:
        """Read into *buffer* without waiting; 0 at the end of the stream, None if there is nothing. Not with TLS."""
        try:
            return self._sock.recv_into(buffer)
        except BlockingIOError:
            return None

    @property
    def plain(self) -> bool:
        """Whether there is no TLS, so that `receive_into` can be used."""
        return self._tls is None

    def _answer(self) -> None:
        """Send what TLS itself has to say, such as a key update; behind unsent bytes, which come first."""
        assert self._tls is not None
        if reply := self._tls.data_to_send():
            if self.unsent:
                self.unsent += reply
            else:
                self._send(reply)

    async def handshake(self) -> None:
        """Agree on TLS; nothing is done without."""
        tls = self._tls
        if tls is None:
            return
        done = tls.handshake()
        while True:
            if (hello := tls.data_to_send()) and not self._send(hello):
                await self.send_unsent()
            if done:
                return
            await self.wait_readable()
            try:
                data = self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                continue
            if data:
                self._early += tls.receive_data(data)
            else:
                tls.receive_eof()
            done = tls.handshake()

    def close(self) -> None:
        """Close the socket; whoever waits for it is woken with `trio.ClosedResourceError`."""
        if self._sock.fileno() != -1:
            trio.lowlevel.notify_closing(self._sock)
            if self._tls is not None and not self.unsent:
                if self._tls.state is TlsState.OPEN:
                    self._tls.close()
                with suppress(OSError):  # a farewell, or what is wrong, to a peer that may have gone; nobody waits
                    self._sock.send(self._tls.data_to_send())
            self._sock.close()


async def dial(server: Server, options: SocketOptions, tls: TlsSource) -> Stream:
    """Open a connection. A failure or a cancellation leaves no socket behind.

    Args:
        server: where to; the certificate must be for its configured name.
        options: how to set the socket up.
        tls: None for a plain connection.

    Raises:
        OSError, TlsError: it did not work out.
    """
    layer = None
    if tls is not None:
        layer = TlsLayer(tls if isinstance(tls, ssl.SSLContext) else tls(), server.host.host)
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    stream = Stream(sock, layer)
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
        await _connect(sock, server)
        await stream.handshake()
    except BaseException:
        stream.close()
        raise
    return stream


async def _connect(sock: socket.socket, server: Server) -> None:
    try:
        sock.connect((server.address, server.host.port))
    except BlockingIOError:
        await trio.lowlevel.wait_writable(sock)
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code)) from None
