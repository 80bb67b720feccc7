"""A forked child must not touch the parent's session, and is told so."""

from __future__ import annotations

from tests.blocking.tools import script
from tests.support.servers import AnyServer

PARENT = """
def check(condition, what):
    if not condition:
        print(what, flush=True)

def end(pid):
    _, status = os.waitpid(pid, 0)
    check(os.waitstatus_to_exitcode(status) == 0, f"child: {os.waitstatus_to_exitcode(status)}")

def refused(call, *arguments):
    try:
        call(*arguments)
    except zk.LocalProtocolError as error:
        check("belongs to process" in str(error), str(error))
    else:
        print("not refused:", call, flush=True)
"""


def good(text: str, server: AnyServer, root: str) -> None:
    done = script(PARENT + text, server.hosts, root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_call_of_the_child_is_refused(server: AnyServer, root: str) -> None:
    """While other threads of the parent lead, follow and hold the mutex, or not; the parent goes on."""
    good(
        """
with zk.open_client(hosts + root) as client:
    client.create("/mine", ephemeral=True)
    session = client.session_id
    changes, states, watch = client.watch("/watched"), client.states(), client.watch_data("/")
    with changes, states, watch, client.lock("/lock") as lock:
        states.next()
        waiting = [threading.Thread(target=client.wait_for, args=("/end",)) for _ in range(3)]
        waiting.append(threading.Thread(target=changes.next))
        for thread in waiting:
            thread.start()
        while len(client._runner._runtime.parked) < 3:
            time.sleep(0.001)
        for held in (False, True):
            if held:
                holds, holder_ends = threading.Event(), threading.Event()
                def hold():
                    with client._runner._runtime.mutex:
                        holds.set()
                        holder_ends.wait()
                holder = threading.Thread(target=hold)
                holder.start()
                holds.wait()
            pid = os.fork()
            if pid == 0:
                calls = [
                    (client.get, "/"), (client.create, "/never"), (client.get_many, ["/"]), (client.set_hosts, "a:1"),
                    (client.watch("/").__enter__,), (client.lock("/other").__enter__,), (client.wait_for, "/x"),
                    (client.lock("/other").try_acquire().__enter__,), (client.transaction().check("/").commit,),
                    (client.pipeline().run,), (client.multi_read().run,), (lock.guarded().commit,),
                    (lock.contenders,), (changes.next,), (changes.close,), (states.next,), (watch.fired,),
                    (client.close,), (next, client.walk()), (client.at("/x").get, "/"), (client.add_auth, "a", "b"),
                ]
                for call in calls:
                    refused(*call)
                check(client.session_id == session, "its session")
                check("zk" not in str(threading.enumerate()), "its threads")
                break
            end(pid)
            if held:
                holder_ends.set()
                holder.join()
        else:
            check(client.session_id == session, "the parent's session")
            check(client.get("/").data == b"", "the parent's call")
            lock.check()
            check(client.exists("/mine"), "the ephemeral is gone")
            client.create("/end")
            client.create("/watched")
            for thread in waiting:
                thread.join()
if pid == 0:
    gc.collect()
    sys.exit()  # through everything that runs at the end of an interpreter
""",
        server,
        root,
    )


def test_the_child_leaves_all_scopes_by_an_exception(server: AnyServer, root: str) -> None:
    good(
        """
class Away(Exception):
    pass

pid = -1
try:
    with zk.open_client(hosts + root) as client:
        with client.lock("/lock") as lock, client.watch("/") as changes, client.lock("/o").try_acquire() as other:
            walking = client.walk()
            next(walking)
            pid = os.fork()
            if pid == 0:
                raise Away
            end(pid)
            lock.check()
            other.check()
            check(client.lock("/lock").contenders() == [lock.node.split("/")[-1]], "the queue")
            client.set("/", b"x")
            check(changes.next(timeout=5).path in ("/", "/lock"), "the change")
            check([path for path, _ in walking] != [], "the walk")
except Away:
    check(pid == 0, "who is away")
    del walking
    gc.collect()
""",
        server,
        root,
    )


def test_the_child_drops_what_it_has(server: AnyServer, root: str) -> None:
    good(
        """
scope = zk.open_client(hosts + root)
client = scope.__enter__()
walking = client.walk()
next(walking)
pid = os.fork()
if pid == 0:
    walking.close()
    del client, scope, walking
    gc.collect()
    check(not zk._runner._RUNNERS, "a runner")
    sys.exit()
end(pid)
check(client.get("/").data == b"", "the parent's call")
scope.__exit__(None, None, None)
""",
        server,
        root,
    )


def test_the_child_opens_a_client_of_its_own(server: AnyServer, root: str) -> None:
    """Also when it was forked by a thread that is not the main one; then that is the main thread of the child."""
    good(
        """
with zk.open_client(hosts + root) as client:
    session = client.session_id

    def child():
        pid = os.fork()
        if pid:
            end(pid)
            return
        code = 1
        try:
            with zk.open_client(hosts + root) as own:
                check(own.session_id != session, "the session")
                own.create("/child", ephemeral=True)
                check(own.exists("/child"), "its ephemeral")
                refused(client.get, "/")
                # Ctrl-C belongs to this thread now.
                here = threading.get_ident()
                threading.Timer(0.1, signal.pthread_kill, [here, signal.SIGINT]).start()
                try:
                    own.wait_for("/nothing")
                except KeyboardInterrupt:
                    code = 0
                own.get("/")
        finally:
            os._exit(code)

    thread = threading.Thread(target=child)
    thread.start()
    thread.join()
    child()
    check(client.get_children("/") == [], "the child's ephemeral")
    check(client.session_id == session, "the parent's session")
""",
        server,
        root,
    )


def test_the_parents_main_thread_was_in_a_call(server: AnyServer, root: str) -> None:
    """The child is not: an interrupt is not held back there for ever."""
    good(
        """
with zk.open_client(hosts + root) as client:
    def fork():
        while zk._interrupts.INTERRUPTS.wake is None:
            time.sleep(0.001)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                code = 0
            os._exit(code)
        end(pid)
        client.create("/end")

    thread = threading.Thread(target=fork)
    thread.start()
    client.wait_for("/end")
    thread.join()
""",
        server,
        root,
    )


def test_multiprocessing(server: AnyServer, root: str) -> None:
    good(
        """
import multiprocessing

def work(client, results):
    refused(client.get, "/")
    with zk.open_client(hosts + root) as own:
        results.put(own.create("/from-child-", sequential=True))

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    with zk.open_client(hosts + root) as client:
        session = client.session_id
        results = context.SimpleQueue()
        waiting = threading.Thread(target=client.wait_for, args=("/from-child-0000000001",))
        waiting.start()
        for _ in range(2):
            process = context.Process(target=work, args=(client, results))
            process.start()
            process.join()
            check(process.exitcode == 0, f"exit code {process.exitcode}")
            check(client.exists(results.get()), "what the child has made")
        waiting.join()
        check(client.session_id == session, "the session")
        results.close()
""",
        server,
        root,
    )


def test_while_there_is_no_connection(server: AnyServer, root: str) -> None:
    """Attempts under way are the parent's, too."""
    good(
        """
import socket
with socket.create_server(("127.0.0.1", 0)) as silent:
    with zk.open_client(f"127.0.0.1:{silent.getsockname()[1]}", open_timeout=0) as client:
        accepted, _ = silent.accept()
        pid = os.fork()
        if pid == 0:
            refused(client.get, "/")
        else:
            end(pid)
            accepted.settimeout(5)
            check(accepted.recv(100), "the handshake")
        accepted.close()
""",
        server,
        root,
    )
