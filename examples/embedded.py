"""The session machine in a loop of one's own, on `selectors` and `socket` alone: python examples/embedded.py [HOSTS]"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from random import SystemRandom
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, DefaultSelector
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SO_ERROR, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY, getaddrinfo, socket
from time import monotonic as now

import zk_sansio.session as zk
from zk_blocking.testing import open_server
from zk_sansio import errors, wire


def drive(session: zk.Session) -> Iterator[zk.Event]:
    """Do what *session* wants, and yield what happens, until it is over; between two events it may be called."""
    selector, dials, connection, unsent = DefaultSelector(), dict[socket, zk.Dial](), None, b""
    while not session.state.over:
        # What it wants: sockets closed, attempts begun, bytes sent, and to be told in time. Then what happens.
        for sock in [sock for sock, dial in dials.items() if session.connected or dial.deadline <= now()]:
            session.attempt_failed(dials.pop(sock), "no connection in time", now())  # ignored if it no longer counts
        for key in list(selector.get_map().values()):
            if key.data not in dials and not (key.data is connection and session.connected):
                selector.unregister(key.data)
                key.data.close()
        while (attempt := session.next_attempt(now())) is not None:
            begin(session, attempt, selector, dials)
        if connection is not None and session.connected:
            unsent = unsent or session.data_to_send(now())  # no more until the kernel has taken all
            with suppress(OSError):  # reading tells what is wrong, after what the server has said last
                unsent = unsent[connection.send(unsent) :]
            selector.modify(connection, EVENT_READ | (EVENT_WRITE if unsent else 0), connection)
        for key, ready in selector.select(min([session.next_timeout(), *(d.deadline for d in dials.values())]) - now()):
            if dial := dials.pop(key.data, None):
                code = key.data.getsockopt(SOL_SOCKET, SO_ERROR)
                if code == 0 and session.connection_made(dial, now()):
                    connection, unsent = key.data, b""
                else:
                    session.attempt_failed(dial, os.strerror(code), now())
            elif ready & EVENT_READ:
                try:
                    session.receive_data(key.data.recv(65536), now())  # b"" is the end, here as there
                except OSError as error:
                    session.connection_lost(error, now())
        session.handle_timeout(now())  # after reading: a program that was held up would take that for silence
        while events := session.events():
            yield from events
    for key in selector.get_map().values():
        key.data.close()
    selector.close()


def begin(session: zk.Session, attempt: zk.Attempt, selector: BaseSelector, dials: dict[socket, zk.Dial]) -> None:
    if isinstance(attempt, zk.Resolve):  # the one thing that blocks here; a thread could also keep the deadline
        found, problems = {}, {}
        for host in attempt.hosts:
            try:
                found[host] = [str(info[4][0]) for info in getaddrinfo(host.host, host.port, type=SOCK_STREAM)]
            except (OSError, UnicodeError) as error:
                problems[host] = str(error)
        session.resolved(attempt, found, problems, now())
    elif isinstance(attempt, zk.Probe):  # wanted with SessionOptions(read_only=True) only, to find a better server
        session.attempt_failed(attempt, "nobody asks it here", now())
    else:
        try:
            sock = socket(AF_INET6 if ":" in attempt.server.address else AF_INET)
            sock.setblocking(False)
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            dials[sock] = attempt
            selector.register(sock, EVENT_WRITE, sock)
            with suppress(BlockingIOError):  # the selector tells when it is done
                sock.connect((attempt.server.address, attempt.server.host.port))
        except OSError as error:
            session.attempt_failed(attempt, error, now())


def main(hosts: str) -> None:
    servers, chroot = zk.parse_hosts(hosts)
    session, path = zk.Session(servers, zk.SessionOptions(), SystemRandom()), f"{chroot}/embedded-{now()}"
    session.submit(wire.Create(path, b"hello", mode=wire.CreateMode.EPHEMERAL))
    session.submit(wire.GetData(path), zk.Watcher(path, zk.WatchKind.DATA))
    session.submit(wire.SetData(path, b"bye"))
    for event in drive(session):
        if not isinstance(event, zk.Call):
            print(event)
        elif isinstance(event.error, errors.ConnectionLossError):
            session.submit(event.request, event.watcher)  # once more does no harm here, which the session cannot know
        else:
            print(event.request.name, event.error or event.result)
        if not session.in_flight:
            session.close(now(), grace=3.0)


if __name__ == "__main__":
    with ExitStack() as stack:
        main("".join(sys.argv[1:]) or os.environ.get("ZK_HOSTS") or stack.enter_context(open_server()).hosts)
