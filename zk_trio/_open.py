"""The way in: ``open_client``, and four-letter words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from os import urandom
from random import SystemRandom
from typing import Unpack

import trio

from zk_sansio.client import Client, ClientSettings, Engine, SocketOptions, check_reply, prepare
from zk_sansio.errors import ConnectError, FourLetterError, TlsError
from zk_sansio.session import Probe, SaslFactory, Server, parse_hosts
from zk_sansio.session import digest_md5 as digest_md5_with_nonces

from ._driver import Driver, ask, resolve
from ._runtime import TrioRuntime
from ._stream import TlsSource

__all__ = ["digest_md5", "four_letter_word", "open_client"]


@asynccontextmanager
async def open_client(
    hosts: str | Sequence[str], *, ssl: TlsSource = None, **settings: Unpack[ClientSettings]
) -> AsyncIterator[Client]:
    """Connect to an ensemble, for as long as the scope lasts.

    Leaving the scope ends the session: its ephemerals are gone. It is ended in order within a few seconds even
    when the scope is cancelled.

    Args:
        hosts: ``host:port,host:port/chroot``, or a sequence of such entries.
        ssl: for TLS an `ssl.SSLContext`, or a callable that makes one for each connection, so that certificates
            can be renewed; None for plain connections.
        **settings: see `ClientSettings`.

    Raises:
        ConnectError: no server accepted a session within ``open_timeout``; it says what each one answered.
        AuthFailedError: a server refused the credentials.
        SessionExpiredError: the session expired, and ``on_expiry`` is ``raise``; the body was cancelled.
        InvalidRequestError: a setting that makes no sense.
    """
    runtime = TrioRuntime()
    setup = prepare(hosts, runtime, SystemRandom(), settings)
    client, engine = setup.client, setup.engine
    driver = Driver(engine, runtime, setup.socket, ssl)
    closing = False
    with _plain_errors():
        async with trio.open_nursery() as nursery:
            # The service outlives the body's clean-up, and is not cancelled with it.
            service = trio.CancelScope(shield=True)

            async def serve() -> None:
                with service, _plain_errors():
                    await driver.run()
                if not closing and not service.cancel_called:
                    _end_body(engine, nursery)

            nursery.start_soon(serve)
            try:
                await _wait_open(engine, setup.open_timeout)
                yield client
            finally:
                closing = True
                with trio.move_on_after(setup.close_grace, shield=True):
                    await client.aclose(grace=setup.close_grace, keep_session=setup.keep_session)
                service.cancel()
    if engine.ended_by is not None:
        raise engine.ended_by


def _end_body(engine: Engine, nursery: trio.Nursery) -> None:
    """The client is at its end before its scope is: tell those who cannot know otherwise."""
    if engine.ended_by is not None:
        nursery.cancel_scope.cancel()


async def _wait_open(engine: Engine, seconds: float | None) -> None:
    if seconds == 0:
        await trio.lowlevel.checkpoint()
        return
    with trio.move_on_after(float("inf") if seconds is None else seconds) as scope:
        await engine.wait_until_serving()
    if scope.cancelled_caught and seconds is not None:
        raise engine.unreachable(seconds)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Let the one exception of our own nursery out as itself: nobody else has put anything into it."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        error = group.exceptions[0]
        cause, context, silent = error.__cause__, error.__context__, error.__suppress_context__
        try:
            raise error
        finally:
            error.__cause__, error.__context__, error.__suppress_context__ = cause, context, silent


async def four_letter_word(
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
    servers, chroot = parse_hosts(host)
    if len(servers) != 1 or chroot:
        raise FourLetterError(word, f"asks one server, given as host:port, not {host!r}")
    if len(word) != 4 or not word.isascii():
        raise FourLetterError(word, "is not a word of four letters")
    deadline = trio.current_time() + within
    with trio.move_on_at(deadline):
        found, errors = await resolve(servers, deadline)
        if errors:
            raise ConnectError(f"{host}: {errors[servers[0]]}")
        failure: OSError | TlsError | None = None
        for address in found[servers[0]]:
            probe = Probe(Server(servers[0], address), deadline, word.encode())
            try:
                answer = await ask(probe, socket or SocketOptions(), ssl)
            except (OSError, TlsError) as error:
                failure = error
                continue
            return check_reply(word, answer.decode("utf-8", "replace"))
        raise ConnectError(f"{host} cannot be reached: {failure}") from failure
    raise FourLetterError(word, f"no answer from {host} within {within:.3g} s")


def digest_md5(user: str, password: str) -> SaslFactory:
    """SASL with DIGEST-MD5, for ``open_client(sasl=...)``: the same user and password for every server.

    Args:
        user: the user name.
        password: the password.

    Raises:
        InvalidRequestError: a name or password that no server can know.
    """
    return digest_md5_with_nonces(user, password, partial(urandom, 16))
