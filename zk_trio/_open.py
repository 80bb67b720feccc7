"""The way in: ``open_client``, and four-letter words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import SystemRandom
from typing import Unpack

import trio

from zk_adapter import TlsSource, plain_errors, probes, server_to_ask
from zk_sansio.client import ClientSettings, Engine, SocketOptions, check_reply, prepare
from zk_sansio.errors import ConnectError, FourLetterError, TlsError
from zk_sansio.recipes import Client
from zk_sansio.session import RandomSource

from ._driver import Driver, ask, resolve
from ._runtime import TrioRuntime
from ._stream import Dialer

__all__ = ["connected", "four_letter_word", "open_client"]


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
    async with connected(hosts, ssl, settings) as client:
        yield client


@asynccontextmanager
async def connected(
    hosts: str | Sequence[str],
    tls: TlsSource,
    settings: ClientSettings,
    dialer: Dialer | None = None,
    random: RandomSource | None = None,
) -> AsyncIterator[Client]:
    """Open a client; the first three arguments are those of `open_client`.

    Args:
        hosts: the servers.
        tls: None for plain connections.
        settings: the user's.
        dialer: opens connections; None for sockets to the hosts.
        random: where shuffles and jitter come from; None for the system's.
    """
    runtime = TrioRuntime()
    setup = prepare(hosts, runtime, random or SystemRandom(), settings)
    engine = setup.engine
    client = Client(engine, setup.chroot, setup.retry, setup.while_suspended)
    driver = Driver(engine, runtime, setup.socket, tls, dialer)
    closing = False
    with plain_errors():
        async with trio.open_nursery() as nursery:
            # The service outlives the body's clean-up, and is not cancelled with it.
            service = trio.CancelScope(shield=True)

            async def serve() -> None:
                try:
                    with service, plain_errors():
                        await driver.run()
                except BaseException:
                    # Before its calls fail, so that the body does not raise their errors, too.
                    nursery.cancel_scope.cancel()
                    raise
                finally:
                    driver.end(keep_session=setup.keep_session)
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
    server = server_to_ask(host, word)
    deadline = trio.current_time() + within
    with trio.move_on_at(deadline):
        found, errors = await resolve([server], deadline)
        if errors:
            raise ConnectError(f"{host}: {errors[server]}")
        failure: OSError | TlsError | None = None
        for probe in probes(server, found[server], word, deadline):
            try:
                answer = await ask(probe, socket or SocketOptions(), ssl)
            except (OSError, TlsError) as error:
                failure = error
                continue
            return check_reply(word, answer.decode("utf-8", "replace"))
        raise ConnectError(f"{host} cannot be reached: {failure}") from failure
    raise FourLetterError(word, f"no answer from {host} within {within:.3g} s")
