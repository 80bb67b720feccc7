"""The way in: ``open_client``, and four-letter words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import SystemRandom
from typing import Unpack

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from zk_adapter import TlsSource, plain_errors, probes, server_to_ask
from zk_sansio.client import ClientSettings, Engine, SocketOptions, check_reply, prepare
from zk_sansio.errors import ClosedError, ConnectError, FourLetterError, TlsError
from zk_sansio.recipes import Client
from zk_sansio.session import RandomSource

from ._driver import Driver, ask, resolve
from ._runtime import make_runtime
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
    runtime = make_runtime()
    setup = prepare(hosts, runtime, random or SystemRandom(), settings)
    engine = setup.engine
    client = Client(engine, setup.chroot, setup.retry, setup.while_suspended)
    driver = Driver(engine, runtime, setup.socket, tls, dialer)
    closing = False
    with plain_errors():
        async with anyio.create_task_group() as group:
            # The service outlives the body's clean-up, and is not cancelled with it.
            service = anyio.CancelScope(shield=True)

            async def serve() -> None:
                try:
                    with service, plain_errors():
                        await driver.run()
                except BaseException as error:
                    if not closing:
                        if isinstance(error, asyncio.CancelledError):
                            # By no scope: somebody has cancelled this very task.
                            engine.ended_by = ClosedError("the tasks of this client were cancelled")
                        # Before its calls fail, so that the body does not raise their errors, too.
                        group.cancel_scope.cancel()
                    raise
                finally:
                    driver.end(keep_session=setup.keep_session)
                if not closing and not service.cancel_called:
                    _end_body(engine, group)

            group.start_soon(serve)
            try:
                await _wait_open(engine, setup.open_timeout)
                yield client
            finally:
                closing = True
                try:
                    with anyio.move_on_after(setup.close_grace, shield=True):
                        await client.aclose(grace=setup.close_grace, keep_session=setup.keep_session)
                finally:
                    # On asyncio no shield holds off `asyncio.Task.cancel`.
                    service.cancel()
    if engine.ended_by is not None:
        raise engine.ended_by


def _end_body(engine: Engine, group: TaskGroup) -> None:
    """The client is at its end before its scope is: tell those who cannot know otherwise."""
    if engine.ended_by is not None:
        group.cancel_scope.cancel()


async def _wait_open(engine: Engine, seconds: float | None) -> None:
    if seconds == 0:
        await anyio.lowlevel.checkpoint()
        return
    with anyio.move_on_after(seconds) as scope:
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
    deadline = anyio.current_time() + within
    with anyio.CancelScope(deadline=deadline):
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
