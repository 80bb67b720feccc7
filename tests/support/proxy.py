"""A TCP proxy for tests, with faults by name.

It runs in a thread of its own, in real time: it works the same for blocking code and for trio tests, and takes no part
in their event loop or clock. Its methods return when the fault is in effect, within a moment.
"""

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Literal, Self, TypeVar

from tests.support.proxy_link import BLOCKED, Faults, Link, Seen, Stage, Trap
from tests.support.servers import HOST, reserve_port

T = TypeVar("T")
Direction = Literal["both", "requests", "replies"]
ANSWER = 10.0


class ChaosProxy:
    """Passes connections on to a server, until told to misbehave. Close it in the end, or use it under `with`.

    Faults last until `heal`, except `cut` and `reset`, which happen at once, and the traps (`cut_before_request` and
    its like), which spring once. It knows the frames of the protocol; anything else, such as four-letter words or TLS,
    is passed on as it comes, and is out of reach for what needs frames.

    Attributes:
        port: Where clients connect to; the port stays the proxy's own while it refuses connections.
        target: The server's host and port; may be changed, for new connections.
    """

    def __init__(self, target_port: int, *, target_host: str = HOST) -> None:
        self.target = (target_host, target_port)
        self._faults = Faults()
        self._seen = Seen()
        self._links: list[Link] = []
        self._commands: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()  # No command is added when the thread has ended.
        self._ended = False
        self._failure: BaseException | None = None
        self._stopping = False
        self._listener: socket.socket | None = None
        with contextlib.ExitStack() as stack:
            reserved = stack.enter_context(reserve_port())
            self.port: int = reserved.getsockname()[1]
            self._wake, self._woken = socket.socketpair()
            stack.enter_context(self._wake).setblocking(False)
            stack.enter_context(self._woken).setblocking(False)
            self._listen()
            self._cleanup = stack.pop_all()
        self._thread = threading.Thread(target=self._run, name=f"ChaosProxy {self.port}", daemon=True)
        self._thread.start()

    # What clients and tests ask.

    @property
    def hosts(self) -> str:
        """The connect string."""
        return f"{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections have been accepted."""
        return self._seen.connections

    @property
    def live(self) -> int:
        """How many connections are open."""
        return self._do(lambda: sum(not link.closed for link in self._links))

    @property
    def requests(self) -> int:
        """How many requests have arrived, handshakes not counted."""
        return self._seen.requests

    @property
    def replies(self) -> int:
        """How many replies have arrived, neither handshakes nor notifications counted."""
        return self._seen.replies

    @property
    def notifications(self) -> int:
        """How many notifications have arrived."""
        return self._seen.notifications

    @property
    def opcodes(self) -> list[int]:
        """The opcodes of the requests that have arrived, in order."""
        return list(self._seen.opcodes)

    @property
    def cuts(self) -> int:
        """How many traps have sprung."""
        return self._seen.sprung.total()

    # Faults.

    def heal(self) -> None:
        """End all faults, and disarm all traps. What was held back is passed on, as TCP would after a partition."""

        def heal() -> None:
            self._faults.clear()
            self._listen()

        self._do(heal)

    def black_hole(self, direction: Direction = "both") -> None:
        """Pass nothing on, and close nothing: new connections are accepted, and lead nowhere.

        Args:
            direction: Only what clients send, or only what the server sends; new connections are made then.
        """

        def fault() -> None:
            self._faults.hold_requests = direction in ("both", "requests")
            self._faults.hold_replies = direction in ("both", "replies")

        self._do(fault)

    def cut(self) -> None:
        """Close all connections, on both sides (FIN)."""
        self._do(lambda: self._end_all(reset=False))

    def reset(self) -> None:
        """Reset all connections, on both sides (RST)."""
        self._do(lambda: self._end_all(reset=True))

    def refuse(self) -> None:
        """Refuse new connections, until `listen_again` or `heal`; those there are stay."""

        def fault() -> None:
            self._accept()  # Who has got in stays in.
            self._stop_listening()

        self._do(fault)

    def listen_again(self) -> None:
        """Accept connections again."""
        self._do(self._listen)

    def cut_before_request(self, k: int | None = None, *, op: int | None = None, reset: bool = False) -> None:
        """Cut a connection instead of forwarding a request: the client has sent it, the server never gets it.

        Which one is told by *k*, by *op*, or by both; without either it is the next that is no handshake and no ping.

        Args:
            k: The request's number on its connection, the handshake being 0.
            op: Its opcode.
            reset: Cut by RST instead of FIN.
        """
        self._arm(Trap(stage=Stage.BEFORE_REQUEST, k=k, op=op, reset=reset))

    def cut_after_request(self, k: int | None = None, *, op: int | None = None, reset: bool = False) -> None:
        """Cut a connection as soon as a request is forwarded: the server may or may not carry it out.

        The arguments are those of `cut_before_request`.
        """
        self._arm(Trap(stage=Stage.AFTER_REQUEST, k=k, op=op, reset=reset))

    def cut_before_reply(self, k: int | None = None, *, op: int | None = None, reset: bool = False) -> None:
        """Cut a connection when a request's reply arrives, instead of passing it on: the server has carried it out.

        Requests behind it are not forwarded. The arguments are those of `cut_before_request`.
        """
        self._arm(Trap(stage=Stage.BEFORE_REPLY, k=k, op=op, reset=reset))

    def drop_reply_when(self, predicate: Callable[[bytes], bool]) -> None:
        """Swallow every frame from the server for which *predicate* is true; the connection stays.

        Args:
            predicate: Gets the frame without its length, in the proxy's thread; what it raises comes out of `close`.
        """
        self._do(lambda: self._faults.drop.append(predicate))

    def delay(self, seconds: float) -> None:
        """Let everything take that much longer, in each direction."""

        def fault() -> None:
            self._faults.delay = seconds

        self._do(fault)

    def throttle(self, bytes_per_second: float) -> None:
        """Limit the speed of each direction of each connection."""
        size = max(1, int(bytes_per_second / 100))
        self._pace(size, size / bytes_per_second)

    def dribble(self, pause: float = 0.001) -> None:
        """Write one byte at a time, with a pause after each."""
        self._pace(1, pause)

    # Life.

    def close(self) -> None:
        """Close all connections and end the thread. May be called twice.

        Raises:
            BaseException: What a predicate has raised.
        """
        if self._thread.is_alive():
            self._stopping = True
            self._nudge()
            self._thread.join()
        self._cleanup.close()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _arm(self, trap: Trap) -> None:
        self._do(lambda: self._faults.traps.append(trap))

    def _pace(self, size: int, pause: float) -> None:
        def fault() -> None:
            self._faults.size, self._faults.pause = size, pause

        self._do(fault)

    def _do(self, action: Callable[[], T]) -> T:
        """Have the proxy's thread do something, and wait for it."""
        if threading.current_thread() is self._thread:
            return action()
        answer: Future[T] = Future()

        def command() -> None:
            try:
                answer.set_result(action())
            except BaseException as error:
                answer.set_exception(error)

        with self._lock:
            if self._ended:
                raise RuntimeError("the proxy has ended") from self._failure
            self._commands.append(command)
        self._nudge()
        return answer.result(ANSWER)

    def _nudge(self) -> None:
        with contextlib.suppress(*BLOCKED):  # It is awake already.
            self._wake.send(b"\0")

    # The proxy's thread.

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._round()
        except BaseException as error:
            self._failure = error
        finally:
            with self._lock:
                self._ended = True
            while self._commands:
                self._commands.popleft()()
            self._end_all(reset=False)
            self._stop_listening()

    def _round(self) -> None:
        """Write what is due, wait for something to happen, and see to it."""
        now = time.monotonic()
        waiting: dict[int, tuple[int, Callable[[], None]]] = {self._woken.fileno(): (select.POLLIN, self._command)}
        if self._listener is not None:
            waiting[self._listener.fileno()] = (select.POLLIN, self._accept)
        wake_up: list[float] = []
        for link in self._links:
            self._prepare(link, now, waiting, wake_up)
        self._links = [link for link in self._links if not link.closed]
        poll = select.poll()
        for fd, (events, _) in waiting.items():
            poll.register(fd, events)
        # Rounded up: a timeout of 0 for the last half of a millisecond would be a busy loop.
        timeout = max(0, int((min(wake_up) - time.monotonic()) * 1000) + 1) if wake_up else None
        for fd, _ in poll.poll(timeout):
            waiting[fd][1]()

    def _prepare(
        self, link: Link, now: float, waiting: dict[int, tuple[int, Callable[[], None]]], wake_up: list[float]
    ) -> None:
        """Write what is due on one connection, and note what to wait for."""
        faults = self._faults
        if link.server is None and not faults.black_hole:
            link.dial(self.target)
        if link.closed or link.server is None:
            return
        if link.dialing:
            waiting[link.server.fileno()] = (select.POLLOUT, link.dialed)
            return
        flows = (
            (link.to_server, link.client, link.server, faults.hold_requests),
            (link.to_client, link.server, link.client, faults.hold_replies),
        )
        for flow, _, sink, hold in flows:
            if not hold and flow.due(now):
                link.write(to_client=sink is link.client, now=now)
        if link.settle():
            return
        for flow, source, sink, hold in flows:
            if hold:
                continue
            if flow.readable:
                self._await(waiting, source, select.POLLIN, link)
            if (when := flow.next_write()) is not None:
                if when <= now:
                    self._await(waiting, sink, select.POLLOUT, link)
                else:
                    wake_up.append(when)

    def _await(
        self, waiting: dict[int, tuple[int, Callable[[], None]]], side: socket.socket, events: int, link: Link
    ) -> None:
        from_client = side is link.client
        flow = link.to_server if from_client else link.to_client

        def ready() -> None:
            # What is writable is written in the next round.
            if not link.closed and flow.readable and not self._held(from_client):
                link.receive(from_client=from_client, now=time.monotonic())

        before = waiting.get(side.fileno(), (0, ready))[0]
        waiting[side.fileno()] = (before | events, ready)

    def _held(self, from_client: bool) -> bool:
        return self._faults.hold_requests if from_client else self._faults.hold_replies

    def _command(self) -> None:
        with contextlib.suppress(*BLOCKED):
            self._woken.recv(4096)
        while self._commands:
            self._commands.popleft()()

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                client, _ = self._listener.accept()
            except BLOCKED:
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._seen.connections += 1
            self._links.append(Link(client, self._faults, self._seen))

    def _listen(self) -> None:
        if self._listener is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, self.port))
            listener.listen(100)
            listener.setblocking(False)
            self._listener = listener

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _end_all(self, *, reset: bool) -> None:
        for link in self._links:
            link.close(reset=reset)
        self._links = []
