"""The way in: ``open_client``, and four-letter words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from random import SystemRandom
from types import TracebackType
from typing import Unpack

from zk_adapter import TlsSource, probes, server_to_ask
from zk_sansio import Client as AsyncClient
from zk_sansio.client import ClientSettings, Setup, SocketOptions, check_reply, prepare
from zk_sansio.errors import CallTimeoutError, ConnectError, FourLetterError, LocalProtocolError, TlsError
from zk_sansio.session import RandomSource

from ._client import Client
from ._driver import Driver, ask, resolve
from ._interrupts import INTERRUPTS
from ._runner import Runner
from ._runtime import BlockingRuntime
from ._stream import Dialer, Stop

__all__ = ["connected", "four_letter_word", "open_client"]


def open_client(
    hosts: str | Sequence[str], *, ssl: TlsSource = None, **settings: Unpack[ClientSettings]
) -> AbstractContextManager[Client]:
    """Connect to an ensemble, for as long as the scope lasts.

    Leaving the scope ends the session: its ephemerals are gone. It is ended in order within a few seconds.

    Args:
        hosts: ``host:port,host:port/chroot``, or a sequence of such entries.
        ssl: for TLS an `ssl.SSLContext`, or a callable that makes one for each connection, so that certificates
            can be renewed; None for plain connections.
        **settings: see `ClientSettings`.

    Raises:
        ConnectError: no server accepted a session within ``open_timeout``; it says what each one answered.
        AuthFailedError: a server refused the credentials.
        SessionExpiredError: when the scope is left: the session expired, and ``on_expiry`` is ``raise``.
        InvalidRequestError: a setting that makes no sense.
    """
    return connected(hosts, ssl, settings)


def connected(
    hosts: str | Sequence[str],
    tls: TlsSource,
    settings: ClientSettings,
    dialer: Dialer | None = None,
    random: RandomSource | None = None,
) -> AbstractContextManager[Client]:
    """Make the scope of a client; the first three arguments are those of `open_client`.

    Args:
        hosts: the servers.
        tls: None for plain connections.
        settings: the user's.
        dialer: opens connections; None for sockets to the hosts.
        random: where shuffles and jitter come from; None for the system's.
    """
    runtime = BlockingRuntime()
    return _Scope(runtime, prepare(hosts, runtime, random or SystemRandom(), settings), tls, dialer)


class _Scope(AbstractContextManager[Client]):
    """What `open_client` gives: entered once."""

    def __init__(self, runtime: BlockingRuntime, setup: Setup, tls: TlsSource, dialer: Dialer | None) -> None:
        self._setup = setup
        self._driver = Driver(setup.engine, runtime, setup.socket, tls, dialer)
        self._runner = Runner(runtime, self._driver, keep_session=setup.keep_session)
        self._entered = False

    def __enter__(self) -> Client:
        if self._entered:
            raise LocalProtocolError("this scope was entered already; call open_client again")
        self._entered = True
        setup = self._setup
        guarded = INTERRUPTS.enter()
        try:
            try:
                INTERRUPTS.opened(self)
                self._driver.start()
                core = AsyncClient(setup.engine, setup.chroot, setup.retry, setup.while_suspended)
                self._client = Client(core, self._runner)
                self._wait_open(setup.open_timeout)
                INTERRUPTS.check()
            except BaseException:
                self._close()
                raise
        finally:
            if guarded:
                INTERRUPTS.leave()
        return self._client

    def _wait_open(self, seconds: float | None) -> None:
        if seconds == 0:
            return
        try:
            self._runner.run(self._setup.engine.wait_until_serving, seconds)
        except CallTimeoutError as error:
            raise self._setup.engine.unreachable(error.seconds) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner.forked:
            return  # it is the parent's, who goes on
        guarded = INTERRUPTS.enter()
        try:
            self._close()
        finally:
            if guarded:
                INTERRUPTS.leave()
        if self._setup.engine.ended_by is not None and error is None:
            raise self._setup.engine.ended_by

    def _close(self) -> None:
        """End the session in order, and then the thread, whatever happens."""
        setup = self._setup
        try:
            self._runner.close(setup.engine, setup.close_grace, keep_session=setup.keep_session)
        finally:
            self._driver.stop()
            self._driver.join()
            INTERRUPTS.closed(self)


def four_letter_word(
    host: str, word: str, *, ssl: TlsSource = None, within: float = 5.0, socket: SocketOptions | None = None
) -> str:
    """Ask one server one of the four-letter words, such as ``srvr``; `zk_sansio.client` parses the answers.

    Args:
        host: ``host:port`` of one server.
        word: the word; all but ``srvr`` must be whitelisted on the server.
        ssl: as for `open_client`.
        within: seconds for all of it.
        socket: how to set the socket up.

    Raises:
        ConnectError: the server cannot be reached.
        FourLetterError: it does not answer this word, or not in time.
    """
    server = server_to_ask(host, word)
    deadline = time.monotonic() + within
    stop = Stop()  # nobody stops it but Ctrl-C
    try:
        found, errors = resolve([server], deadline, stop)
        if errors:
            raise ConnectError(f"{host}: {errors[server]}")
        failure: OSError | TlsError | None = None
        for probe in probes(server, found[server], word, deadline):
            try:
                answer = ask(probe, socket or SocketOptions(), ssl, stop)
            except (OSError, TlsError) as error:
                failure = error  # the kernel's own TimeoutError is one of them
                if time.monotonic() >= deadline:
                    break
                continue
            return check_reply(word, answer.decode("utf-8", "replace"))
        if time.monotonic() >= deadline:
            raise FourLetterError(word, f"no answer from {host} within {within:.3g} s")
        raise ConnectError(f"{host} cannot be reached: {failure}") from failure
    finally:
        stop.close()
