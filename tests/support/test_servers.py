"""The servers themselves: that they start, hold data, can be maltreated, and are gone afterwards."""

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import java
from tests.support.certificates import Certificates
from tests.support.ensemble import Ensemble, member_line
from tests.support.leaks import running
from tests.support.processes import Processes
from tests.support.raw import EPHEMERAL, NO_NODE, RawClient, RawError, expire, four_letter
from tests.support.servers import HOST, ServerFailedError, ZooKeeperServer
from tests.support.settings import Options
from tests.support.waiting import blocking, eventually

REPOSITORY = Path(__file__).parents[2]
MakeServer = Callable[[Options], ZooKeeperServer]
MakeEnsemble = Callable[[int, Options], Ensemble]

HOLDER = """
import os, signal, sys, time
from tests.support.servers import ZooKeeperServer
signal.signal(signal.SIGINT, signal.SIG_IGN)
server = ZooKeeperServer()
server.start()
if "pause" in sys.argv:
    server.pause()
if "fork" in sys.argv and os.fork() == 0:
    time.sleep(20)
    os._exit(0)
print(server._owner.pid, server.pid, server.port, server.folder, flush=True)
time.sleep(60)
"""


@contextmanager
def holder(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int, int, int, Path]]:
    """Run a Python process that holds a server; gives it, the ids of supervisor and java, the port, the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            supervisor, java_pid, port, folder = process.stdout.readline().split()
            yield process, int(supervisor), int(java_pid), int(port), Path(folder)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.server
@pytest.mark.parametrize("arguments", [(), ("pause",), ("fork",)])
def test_killed_test_process_leaves_nothing(arguments: tuple[str, ...]) -> None:
    """Also when the server is paused, and when a forked child has inherited the pipe to the supervisor."""
    with holder(*arguments) as (process, supervisor, java_pid, _, folder):
        assert running(java_pid)
        assert running(supervisor)
        assert folder.exists()
        process.kill()
        eventually(lambda: not running(java_pid), 5)
        eventually(lambda: not running(supervisor), 5)
        assert not folder.parent.exists()


@pytest.mark.server
def test_interrupt_of_the_process_group_does_not_reach_the_servers() -> None:
    with holder() as (process, supervisor, java_pid, port, _):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2)
        assert "Mode: standalone" in four_letter(HOST, port, "srvr")
        process.kill()
        eventually(lambda: not running(java_pid) and not running(supervisor), 5)


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_supervisor_takes_the_server_along(number: signal.Signals) -> None:
    with holder() as (_, supervisor, java_pid, _, folder):
        os.kill(supervisor, number)
        eventually(lambda: not running(java_pid), 5)
        eventually(lambda: not running(supervisor), 5)
        if number == signal.SIGKILL:  # Then nobody was left to remove it.
            shutil.rmtree(folder.parent)
        assert not folder.parent.exists()


def test_processes_report_what_goes_wrong(tmp_path: Path) -> None:
    with Processes() as processes:
        folder = processes.folder
        with pytest.raises(RuntimeError, match="No such file"):
            processes.spawn(["/no/such/program"], cwd=tmp_path, log=tmp_path / "log")
        process = processes.spawn([sys.executable, "-c", "print('hello')"], cwd=tmp_path, log=tmp_path / "log")
        assert process.wait(10) == 0
        assert (tmp_path / "log").read_text() == "hello\n"
        process.send_signal(signal.SIGKILL)  # It has ended: nothing happens.
        with pytest.raises(TimeoutError):
            processes.spawn(["sleep", "60"], cwd=tmp_path, log=tmp_path / "log").wait(0.05)
    assert not folder.exists()
    processes.close()
    with pytest.raises(RuntimeError, match="closed"):
        processes.ask("folder")


def test_missing_jars_and_java_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOKEEPER_JARS", str(tmp_path))
    with pytest.raises(java.MissingServerError, match="apt-get install zookeeper"):
        ZooKeeperServer()
    for name in ("zookeeper-3.9.5", "zookeeper-jute-3.9.5", "slf4j-api-2.0.13", "netty-handler-4.1", "snappy-java-1"):
        (tmp_path / f"{name}.jar").touch()
    with pytest.raises(java.MissingServerError, match="missing: metrics-core"):
        ZooKeeperServer()
    monkeypatch.delenv("ZOOKEEPER_JARS")
    monkeypatch.setattr(java, "DEBIAN", tmp_path)
    with pytest.raises(java.MissingServerError, match=r"zookeeper\.jar is missing"):
        java.class_path()
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(java.MissingServerError, match="Java is looked for"):
        java.java_command()


@pytest.mark.server
def test_start_and_stop_are_quick(make_server: MakeServer) -> None:
    server = make_server(Options())
    starts, stops = [], []
    for _ in range(3):  # The machine may be busy with something else for a while.
        server.stop()
        began = time.monotonic()
        server.start()
        starts.append(time.monotonic() - began)
        began = time.monotonic()
        server.stop()
        stops.append(time.monotonic() - began)
    assert min(starts) < 1.5
    assert min(stops) < 1.5


@pytest.mark.server
def test_life_of_a_server(make_server: MakeServer) -> None:
    server = make_server(Options(tick_ms=100))
    assert server.mode() == "standalone"
    assert server.version_info >= (3, 8)
    pid, hosts = server.pid, server.hosts
    with server.raw() as client:
        client.create("/kept", b"data")
    server.restart()
    with server.raw() as client:
        assert client.get("/kept") == b"data"
    server.restart(kill=True)
    assert server.hosts == hosts
    assert not running(pid)
    with server.raw() as client:
        assert client.get("/kept") == b"data"
    server.pause()
    assert (server.alive, server.paused, server.mode()) == (True, True, None)
    with pytest.raises(TimeoutError):
        server.four_letter("ruok", timeout=0.2)
    server.resume()
    assert server.four_letter("ruok") == "imok"
    server.pause()
    server.stop()
    assert (server.alive, server.paused, server.mode()) == (False, False, None)
    with pytest.raises(ConnectionRefusedError):
        server.raw()
    server.wipe()
    server.start()
    with server.raw() as client:
        assert client.exists("/kept") is None
    with pytest.raises(RuntimeError, match="stop the server first"):
        server.wipe()
    server.pause()
    server.kill()
    assert (server.alive, server.paused) == (False, False)
    server.heal()
    assert server.mode() == "standalone"


@pytest.mark.server
def test_server_that_cannot_start_shows_its_log(make_server: MakeServer) -> None:
    with pytest.raises(ServerFailedError, match=r"it ended \(exit code 2\)[^$]*nvalid config"):
        make_server(Options(config={"tickTime": "nonsense"}))


@pytest.mark.server
def test_short_sessions_expire(make_server: MakeServer) -> None:
    server = make_server(Options(tick_ms=100))
    client = server.raw(session_ms=1)
    assert client.session_ms == 200
    client.create("/ephemeral", flags=EPHEMERAL)
    client.abandon()
    with server.raw() as witness:
        eventually(lambda: witness.exists("/ephemeral") is None, 5)
    with pytest.raises(RawError, match="-112"):
        server.raw(session=(client.session_id, client.password))


@pytest.mark.server
def test_raw_client(server: ZooKeeperServer, root: str) -> None:
    with server.raw() as client:
        path = client.create(f"{root}/a", None)
        assert path == f"{root}/a"
        assert client.get(path) is None
        assert client.set(path, b"x").version == 1
        assert client.get(path) == b"x"
        for name in ("c", "b"):
            client.create(f"{path}/{name}", b"")
        assert client.children(path) == ["b", "c"]
        stat = client.exists(path)
        assert stat is not None
        assert stat.num_children == 2
        assert client.create(f"{path}/d", flags=3).startswith(f"{path}/d000")
        with pytest.raises(RawError) as caught:
            client.delete(f"{root}/none")
        assert caught.value.code == NO_NODE
        client.add_auth("digest", b"user:password")
        client.create(f"{root}/locked", acl=((31, "auth", ""),))
        with server.raw() as other, pytest.raises(RawError, match="-102"):
            other.get(f"{root}/locked")
        client.delete_all(path)
        assert client.exists(path) is None
        expire(HOST, server.port, (client.session_id, client.password))
        with pytest.raises(RawError, match="-112"):
            server.raw(session=(client.session_id, client.password))
    client.close()


@pytest.mark.server
def test_super_user(server: ZooKeeperServer, root: str) -> None:
    with server.raw() as client:
        client.create(f"{root}/locked", acl=((1, "digest", "nobody:x"),))
        client.add_auth("digest", b"super:secret")
        client.set(f"{root}/locked", b"by super")
        assert client.get(f"{root}/locked") == b"by super"


@pytest.mark.server
def test_killed_shared_server_is_healed(server: ZooKeeperServer, root: str) -> None:
    server.kill()
    assert not server.alive


@pytest.mark.server
def test_tls(make_server: MakeServer, certificates: Certificates) -> None:
    server = make_server(Options(certificates=certificates))
    context = certificates.client_context()
    assert "Mode: standalone" in server.four_letter("srvr", context=context)
    with RawClient("localhost", server.secure_port, context=context) as client:
        client.create("/tls", b"x", acl=((31, "x509", certificates.client_id),))
        assert client.get("/tls") == b"x"
    with server.raw() as plain, pytest.raises(RawError, match="-102"):
        plain.get("/tls")
    # TLS 1.2 refuses in the handshake, TLS 1.3 after it, and the alert may be overtaken by a reset.
    with pytest.raises((ssl.SSLError, ConnectionError)):
        server.four_letter("srvr", context=certificates.client_context(certificate=False))
    with pytest.raises(ssl.SSLCertVerificationError):
        server.four_letter("srvr", context=ssl.create_default_context())


@pytest.mark.server
def test_sasl(make_server: MakeServer) -> None:
    server = make_server(Options(sasl_users={"bob": "bobsecret"}, require_sasl=True))
    assert server.mode() == "standalone"
    with pytest.raises(RawError, match="-124"), server.raw() as client:
        client.get("/")


@pytest.mark.server
def test_ensemble_elects_a_new_leader(ensemble: Ensemble) -> None:
    leader = ensemble.wait_for_leader()
    assert len(ensemble.followers()) == 2
    assert len(ensemble) == 3
    assert ensemble.hosts.count(",") == 2
    with leader.raw() as client:
        client.create("/shared", b"x")
    killed = ensemble.kill(ensemble.servers.index(leader))
    assert killed is leader
    assert not killed.alive
    new = ensemble.wait_for_leader(other_than=leader)
    assert new is not leader
    with new.raw() as client:
        assert client.get("/shared") == b"x"
    ensemble.start(ensemble.servers.index(leader))
    eventually(lambda: len(ensemble.followers()) == 2)


@pytest.mark.server
def test_ensemble_is_healed_between_tests(ensemble: Ensemble) -> None:
    ensemble.wait_for_leader()
    assert len(ensemble.followers()) == 2
    ensemble[0].pause()
    ensemble.kill(1)


@pytest.mark.server
def test_paused_leader_is_replaced(ensemble: Ensemble) -> None:
    leader = ensemble.wait_for_leader()
    leader.pause()
    assert ensemble.wait_for_leader(other_than=leader) is not leader


@pytest.mark.server
@pytest.mark.slow
def test_read_only_member_and_newcomer(make_ensemble: MakeEnsemble) -> None:
    ensemble = make_ensemble(3, Options(tick_ms=200, read_only_mode=True, local_sessions=True))
    newcomer = ensemble.newcomer()
    newcomer.wait_until_serving()
    assert newcomer.mode() in {"observer", "follower"}
    assert newcomer not in ensemble.servers
    assert member_line(newcomer).startswith("server.4=127.0.0.1:")
    newcomer.kill()
    ensemble.kill(0)
    ensemble.kill(1)
    eventually(lambda: ensemble[2].mode() == "read-only", 15)
    assert ensemble[2].four_letter("isro") == "ro"


@pytest.mark.server
@pytest.mark.trio
async def test_blocking_calls_from_trio(server: ZooKeeperServer) -> None:
    await blocking(server.restart, kill=True)
    assert await blocking(server.mode) == "standalone"
