"""The state machine driven by hand: one thread, one blocking socket, no adapter.

    python examples/sans_io.py 127.0.0.1:2181 /

It lists the children of a znode and ends. An adapter does the same with tasks instead of a loop, dials side by side,
and reads and writes at the same time.
"""

import random
import socket
import sys
import time

from zk_sansio.paths import Chroot
from zk_sansio.session import (
    Attempt,
    Call,
    Dial,
    Notice,
    Probe,
    Resolve,
    Session,
    SessionOptions,
    StateChanged,
    parse_hosts,
)
from zk_sansio.wire import GetChildren


def list_children(hosts: str, path: str, give_up_after: float = 15.0) -> list[str]:
    """Read the names of the children of *path*.

    Raises:
        ZooKeeperError: the server refused, or the session could not be had.
        TimeoutError: no server answered in time.
    """
    servers, chroot = parse_hosts(hosts)
    session = Session(servers, SessionOptions(), random.SystemRandom())
    call = session.submit(GetChildren(Chroot(chroot).to_server(path)))  # encoded now, sent when there is a connection
    give_up = time.monotonic() + give_up_after
    sock: socket.socket | None = None
    try:
        while not session.state.over:
            # Deadlines that have passed; then whatever the session wants to be tried.
            session.handle_timeout(time.monotonic())
            while (attempt := session.next_attempt(time.monotonic())) is not None:
                sock = carry_out(session, attempt) or sock
            # Bytes out, then bytes in: at the latest when the next deadline is due.
            if sock is not None and session.connected:
                exchange(session, sock)
            else:
                time.sleep(max(0.0, min(session.next_timeout() - time.monotonic(), 0.1)))
            # The session has given up the connection, or it was closed.
            if sock is not None and not session.connected:
                sock.close()
                sock = None
            # What has happened, in order.
            for event in session.events():
                match event:
                    case Call() if event is call:
                        session.close(time.monotonic(), grace=3.0)
                    case StateChanged(old, new, error):
                        print(f"{old.value} -> {new.value}{f' ({error})' if error else ''}")
                    case Notice(message):
                        print(message)
            if time.monotonic() > give_up:
                raise TimeoutError(f"no server has answered: {session.failures}")
    finally:
        if sock is not None:
            sock.close()
    if call.error is not None:
        raise call.error
    return call.result


def carry_out(session: Session, attempt: Attempt) -> socket.socket | None:
    """Do what the session wants to be tried, and report how it went; return a connection that it wants."""
    match attempt:
        case Resolve(hosts):
            found, errors = {}, {}
            for host in hosts:
                try:
                    infos = socket.getaddrinfo(host.host, host.port, type=socket.SOCK_STREAM)
                    found[host] = [str(info[4][0]) for info in infos]
                except OSError as error:
                    errors[host] = str(error)
            session.resolved(attempt, found, errors, time.monotonic())
        case Dial(server, deadline):
            left = max(0.01, deadline - time.monotonic())
            try:
                sock = socket.create_connection((server.address, server.host.port), timeout=left)
            except OSError as error:
                session.attempt_failed(attempt, error, time.monotonic())
                return None
            if session.connection_made(attempt, time.monotonic()):
                return sock
            sock.close()
        case Probe():  # asked for in read-only mode only
            session.attempt_failed(attempt, "not supported here", time.monotonic())
    return None


def exchange(session: Session, sock: socket.socket) -> None:
    """Send what there is to send; receive what comes before the next deadline."""
    try:
        if data := session.data_to_send(time.monotonic()):
            sock.sendall(data)
        sock.settimeout(max(0.001, min(session.next_timeout() - time.monotonic(), 0.1)))
        session.receive_data(sock.recv(65536), time.monotonic())  # b"" is the end of the stream, for both
    except TimeoutError:
        pass  # silence is judged by handle_timeout
    except OSError as error:
        session.connection_lost(error, time.monotonic())


if __name__ == "__main__":
    print(list_children(sys.argv[1], sys.argv[2]))
