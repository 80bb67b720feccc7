"""Opening a client: it may fail at each step, and nothing is left then. Four-letter words fail likewise."""

from __future__ import annotations

import errno
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

import zk_blocking as zk
from tests.blocking.tools import Background, Peer, Played, blocked, descriptors, driver_of, refusing, signals
from tests.support.peer import PASSWORD, buffer
from tests.support.proxy import ChaosProxy
from tests.support.servers import HOST, AnyServer
from tests.support.waiting import eventually
from zk_blocking import ConnectError, FourLetterError, SocketOptions, four_letter_word
from zk_blocking._driver import Driver, ask, resolve
from zk_blocking._stream import Stop, dial
from zk_sansio.session import HostPort, Probe, Server

CA = trustme.CA()


def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost").configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CA.cert_pem.bytes().decode())


class Names:
    """What names resolve to; look-ups of some hang until the test is over."""

    def __init__(self) -> None:
        self.known: dict[str, list[str] | Exception] = {}
        self.hang: set[str] = set()
        self.asked: list[str] = []
        self.goes_on = threading.Event()
        self._real = socket.getaddrinfo

    def look_up(self, host: str, port: int, *rest: Any, **more: Any) -> Any:
        if host not in self.known and host not in self.hang:
            return self._real(host, port, *rest, **more)
        if more.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        self.asked.append(host)
        if host in self.hang:
            self.goes_on.wait(20)
        found = self.known.get(host, [])
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.look_up)
    yield made
    made.goes_on.set()
    eventually(lambda: "zk-resolve" not in [thread.name for thread in threading.enumerate()])


def fails(hosts: str, error: type[BaseException] = ConnectError, **settings: Any) -> BaseException:
    """Check that opening fails, leaves nothing at that moment, and gives SIGINT back."""
    threads, open_files = set(threading.enumerate()), descriptors()
    settings.setdefault("open_timeout", 0.2)
    with pytest.raises(error) as caught:
        with zk.open_client(hosts, **settings):
            pytest.fail("it was opened")
    left = set(threading.enumerate()) - threads
    assert not [thread for thread in left if thread.name != "zk-resolve" and not thread.name.startswith("test-")]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(descriptors() - open_files) <= 2  # of a server that is played in this process
    return caught.value


# --- each step


def test_wrong_settings() -> None:
    fails("a:b:c", zk.InvalidRequestError)
    fails("a:1", zk.InvalidRequestError, session_timeout=-1)
    fails("a:1", TypeError, sesion_timeout=1)


def test_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    fails("a:1", RuntimeError)


def test_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing() as hosts:
        real = socket.socket

        def make(*arguments: Any, **more: Any) -> socket.socket:
            if len(arguments) == 2:
                raise OSError(errno.EMFILE, "Too many open files")
            return real(*arguments, **more)

        monkeypatch.setattr(socket, "socket", make)
        error = fails(hosts)
        assert isinstance(error, ConnectError)
        assert error.failures == {hosts: "Too many open files"}


def test_names_that_do_not_resolve(names: Names) -> None:
    names.known["nobody.example"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    names.known["bad.example"] = UnicodeError("label too long")
    error = fails("nobody.example:1,bad.example:2")
    assert isinstance(error, ConnectError)
    assert error.failures["nobody.example:1"] == "the name cannot be resolved: Name or service not known"
    assert error.failures["bad.example:2"] == "this is no name that can be resolved"


def test_a_name_server_that_does_not_answer(names: Names) -> None:
    """The deadline is kept, and closing waits for nothing; the thread that asks cannot be helped."""
    names.hang.add("slow.example")
    began = time.monotonic()
    error = fails("slow.example:1", open_timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 1.5
    assert isinstance(error, ConnectError)
    assert error.failures == {"slow.example:1": "no answer yet"}


def test_one_name_that_hangs_holds_nobody_up_for_ever(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others' addresses are used when the time for names is over."""
    names.hang.add("slow.example")

    def play(server: Played) -> None:
        server.accept_session()
        server.serve()

    with Peer(play) as peer:
        names.known["good.example"] = ["127.0.0.1"]
        port = peer.hosts.rpartition(":")[2]
        with zk.open_client(f"slow.example:1,good.example:{port}", session_timeout=4, open_timeout=10) as client:
            assert client.server is not None
            assert client.server.startswith("good.example")
            assert client.get("/a").data == b"/a"


def test_a_late_answer_of_the_name_server_disturbs_nobody(names: Names) -> None:
    names.hang.add("slow.example")
    names.known["slow.example"] = ["127.0.0.1"]
    stop = Stop()
    host = HostPort("slow.example", 1)
    found, errors = resolve([host, HostPort("127.0.0.1", 2)], time.monotonic() + 0.02, stop)
    assert found == {HostPort("127.0.0.1", 2): ["127.0.0.1"]}
    assert errors == {host: "the name was not resolved in time"}
    names.goes_on.set()
    eventually(lambda: "zk-resolve" not in [thread.name for thread in threading.enumerate()])
    assert host not in found
    stop.close()


def test_resolving_is_stopped(names: Names) -> None:
    names.hang.add("slow.example")
    stop = Stop()
    waiting = Background(lambda: resolve([HostPort("slow.example", 1)], time.monotonic() + 60, stop))
    eventually(lambda: names.asked)
    stop.set()
    assert waiting.result()[0] == {}
    stop.close()


def test_a_port_that_refuses() -> None:
    with refusing() as hosts:
        error = fails(hosts)
        assert isinstance(error, ConnectError)
        assert error.failures == {hosts: "Connection refused"}


def test_an_address_that_cannot_be_used() -> None:
    with refusing() as hosts:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            error = fails(hosts, socket=SocketOptions(local_address=taken.getsockname()))
        assert isinstance(error, ConnectError)
        assert error.failures == {hosts: "Address already in use"}


def test_options_of_the_socket() -> None:
    def play(server: Played) -> None:
        server.accept_session()
        server.serve()

    options = SocketOptions(nodelay=False, keepalive=False, send_buffer=20_000, receive_buffer=30_000)
    with Peer(play) as peer:
        with zk.open_client(peer.hosts, socket=options) as client:
            stream = driver_of(client)._stream
            assert stream is not None
            assert stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
            assert not stream.sock.getblocking()


def test_a_server_that_says_nothing() -> None:
    with Peer(lambda server: server.read_frame() and server.read_frame()) as peer:
        began = time.monotonic()
        error = fails(peer.hosts)
        assert time.monotonic() - began < 2
        assert isinstance(error, ConnectError)
        assert error.failures == {peer.hosts: "no answer yet"}


def test_a_server_that_hangs_up() -> None:
    with Peer(lambda server: server.read_frame() and None) as peer:
        error = fails(peer.hosts)
        assert isinstance(error, ConnectError)
        assert error.failures == {peer.hosts: "closed by the server"}


@pytest.mark.parametrize("context", [client_context, ssl.create_default_context])
def test_tls_that_does_not_work_out(context: Callable[[], ssl.SSLContext]) -> None:
    """There is another name in the certificate, or nobody knows who has signed it."""
    with Peer(lambda server: server.accept_session(), tls=server_context()) as peer:
        error = fails(peer.hosts, ssl=context, open_timeout=1)
        assert isinstance(error, ConnectError)
        assert "not accepted" in str(error.failures)


def test_a_tls_handshake_that_does_not_end() -> None:
    def play(server: Played) -> None:
        while server.sock.recv(65536):
            pass

    with Peer(play) as peer:
        began = time.monotonic()
        fails(peer.hosts, ssl=client_context())
        assert time.monotonic() - began < 2


def test_a_context_that_cannot_be_made() -> None:
    def broken() -> ssl.SSLContext:
        raise FileNotFoundError(errno.ENOENT, "there are no certificates")

    with refusing() as hosts:
        error = fails(hosts, ssl=broken)
        assert isinstance(error, ConnectError)
        assert error.failures == {hosts: "there are no certificates"}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        error = fails(hosts, ssl=context)
        assert isinstance(error, ConnectError)
        assert "no TLS with" in error.failures[hosts]


def test_a_bug_in_what_makes_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is no failure to connect ends the client, and is told."""
    reported: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_value))

    def broken() -> ssl.SSLContext:
        raise ZeroDivisionError

    with refusing() as hosts:
        began = time.monotonic()
        error = fails(hosts, RuntimeError, ssl=broken, open_timeout=10)
        assert time.monotonic() - began < 5
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert [type(each) for each in reported] == [ZeroDivisionError]


def test_credentials_that_are_refused(server: AnyServer) -> None:
    fails(server.hosts, zk.AuthFailedError, auth=[("no-such-scheme", "x")], open_timeout=5)


def test_a_session_that_is_over(server: AnyServer) -> None:
    ticket = zk.SessionTicket(session_id=0x1234, password=bytes(16), last_zxid=0)
    fails(server.hosts, zk.SessionExpiredError, ticket=ticket, open_timeout=5)


def test_opening_without_waiting(proxy: ChaosProxy, root: str) -> None:
    with zk.open_client(proxy.hosts + root, open_timeout=0) as client:
        assert client.get("/", timeout=10).data == b""
    with zk.open_client(proxy.hosts + root, open_timeout=None) as client:
        assert client.state is zk.SessionState.CONNECTED


def test_attempts_end_when_they_are_told_to() -> None:
    """Dialling and asking stop at once, and leave no socket."""

    def play(server: Played) -> None:
        server.sock.recv(100)
        asked.set()
        server.sock.recv(1)

    asked = threading.Event()
    with Peer(play) as peer:
        host = HostPort(HOST, int(peer.hosts.rpartition(":")[2]))
        stop = Stop()
        probe = Probe(Server(host, HOST), time.monotonic() + 60, b"isro")
        waiting = Background(lambda: ask(probe, SocketOptions(), None, stop))
        assert asked.wait(5)
        stop.set()
        assert isinstance(waiting.outcome(), TimeoutError)
        with pytest.raises(TimeoutError):
            dial(Server(host, HOST), SocketOptions(), client_context(), time.monotonic() + 60, stop)
        stop.close()


# --- read-only servers are left for better ones: probes


def test_a_read_only_server_is_left_for_a_better_one() -> None:
    better = threading.Event()
    answers: list[bytes] = []

    def read_only(server: Played) -> None:
        server.read_frame()
        server.send_frame(struct.pack(">iiq", 0, 30_000, 0x77) + buffer(PASSWORD) + b"\1")
        server.serve()

    def read_write(server: Played) -> None:
        if server.sock.recv(4, socket.MSG_PEEK) == b"isro":
            answers.append(server.sock.recv(4))
            server.sock.sendall(b"rw" if better.is_set() else b"ro")
        elif better.is_set():
            server.accept_session()
            server.serve()

    with Peer(read_only) as first, Peer(read_write) as second, refusing() as nobody:
        hosts = f"{first.hosts},{nobody},{second.hosts}"
        with zk.open_client(hosts, read_only=True, open_timeout=10) as client:
            assert client.state is zk.SessionState.READ_ONLY
            eventually(lambda: answers)
            better.set()
            eventually(lambda: client.state is zk.SessionState.CONNECTED, 20)
            assert client.server == second.hosts


# --- four-letter words


def test_four_letter_words(server: AnyServer) -> None:
    assert four_letter_word(server.hosts, "ruok") == "imok"
    assert "Mode: standalone" in four_letter_word(server.hosts, "srvr")
    assert "zk_version" in four_letter_word(f"localhost:{server.port}", "mntr", socket=SocketOptions(nodelay=False))


@pytest.mark.parametrize(
    "host, word, message",
    [("a:1,b:2", "ruok", "one server"), ("a:1/x", "ruok", "one server"), ("a:1", "hello", "four letters")],
)
def test_words_that_make_no_sense(host: str, word: str, message: str) -> None:
    with pytest.raises(FourLetterError, match=message):
        four_letter_word(host, word)


def test_words_that_nobody_answers(names: Names) -> None:
    with refusing() as hosts:
        with pytest.raises(ConnectError, match="Connection refused"):
            four_letter_word(hosts, "ruok")
    names.known["nobody.example"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(ConnectError, match="Name or service not known"):
        four_letter_word("nobody.example:1", "ruok")
    names.hang.add("slow.example")
    began = time.monotonic()
    with pytest.raises(ConnectError, match="not resolved in time"):
        four_letter_word("slow.example:1", "ruok", within=0.1)
    with Peer(lambda server: server.sock.recv(4) and server.sock.recv(4)) as peer:
        with pytest.raises(FourLetterError, match=r"no answer from .* within 0\.1 s"):
            four_letter_word(peer.hosts, "ruok", within=0.1)
    assert time.monotonic() - began < 3
    with Peer(lambda server: server.sock.recv(4) and None) as peer:
        with pytest.raises(FourLetterError):
            four_letter_word(peer.hosts, "ruok")


def test_a_word_over_tls() -> None:
    def play(server: Played) -> None:
        assert server.sock.recv(4) == b"ruok"
        server.sock.sendall(b"im")
        server.sock.sendall(b"ok")

    with Peer(play, tls=server_context()) as peer:
        host = f"localhost:{peer.hosts.rpartition(':')[2]}"
        assert four_letter_word(host, "ruok", ssl=client_context()) == "imok"
        assert four_letter_word(host, "ruok", ssl=client_context) == "imok"
        with pytest.raises(ConnectError, match="certificate is not accepted"):
            four_letter_word(host, "ruok", ssl=ssl.create_default_context())


@pytest.mark.parametrize("code", [errno.ETIMEDOUT, errno.EHOSTUNREACH])
def test_a_word_goes_to_the_next_address(names: Names, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Also when it is the kernel that gives up on one, with an error that Python calls a timeout."""

    def dial_but(server: Server, *rest: Any) -> Any:
        if server.address == "127.0.0.2":
            raise OSError(code, "gave up")
        return dial(server, *rest)

    monkeypatch.setattr("zk_blocking._driver.dial", dial_but)

    def play(server: Played) -> None:
        server.sock.recv(4)
        server.sock.sendall(b"imok")

    with Peer(play) as peer:
        names.known["both.example"] = ["127.0.0.2", "127.0.0.1"]
        assert four_letter_word(f"both.example:{peer.hosts.rpartition(':')[2]}", "ruok") == "imok"
        names.known["both.example"] = ["127.0.0.2"]
        with pytest.raises(ConnectError, match="gave up"):
            four_letter_word("both.example:1", "ruok")


@pytest.mark.parametrize("within_a_client", [False, True])
def test_a_word_is_interrupted(within_a_client: bool, names: Names) -> None:
    """Nothing holds Ctrl-C back here: it strikes where the word waits."""
    asked = threading.Event()

    def play(server: Played) -> None:
        if server.sock.recv(4) == b"ruok":
            asked.set()
            server.sock.recv(1)

    names.hang.add("slow.example")
    with refusing() as nobody, Peer(play) as peer:
        scope = zk.open_client(nobody, open_timeout=0)
        if within_a_client:
            scope.__enter__()
        try:
            with pytest.raises(KeyboardInterrupt):
                with signals(asked.is_set):
                    four_letter_word(peer.hosts, "ruok", within=20)
            with pytest.raises(KeyboardInterrupt):
                with signals(lambda: names.asked):
                    four_letter_word("slow.example:1", "ruok", within=20)
        finally:
            if within_a_client:
                scope.__exit__(None, None, None)
    assert not blocked()


def test_the_drivers_thread_is_its_own() -> None:
    """A driver that was never started may be stopped, joined and nudged."""
    scope: Any = zk.open_client("a:1")
    driver: Driver = scope._driver
    driver.stop()
    driver.join()
    driver.nudge()
    driver.stop()
