"""SASL and TLS."""

import ssl
from collections.abc import Iterator

import pytest
import trio

import zk_trio as zk
from tests.conftest import Shared, open_server
from tests.support.certificates import Certificates
from tests.support.proxy import ChaosProxy
from tests.support.servers import AnyServer, ZooKeeperServer
from tests.support.settings import Options
from tests.support.waiting import blocking

pytestmark = pytest.mark.trio

USERS = {"bob": "bobsecret", "alice": "pässwörd"}
SASL = Options(sasl_users=USERS)
SASL_ONLY = Options(sasl_users=USERS, require_sasl=True)


@pytest.fixture(scope="module")
def sasl(zookeeper: str, shared: Shared) -> Iterator[AnyServer]:
    """A server that offers SASL."""
    with shared.open(open_server(zookeeper, SASL)) as server:
        yield server


@pytest.fixture(scope="module")
def sasl_only(zookeeper: str, shared: Shared) -> Iterator[AnyServer]:
    """A server that demands SASL."""
    with shared.open(open_server(zookeeper, SASL_ONLY)) as server:
        yield server


@pytest.fixture(scope="module")
def tls(shared: Shared, certificates: Certificates) -> Iterator[ZooKeeperServer]:
    """A server with TLS that demands client certificates."""
    with shared.open(ZooKeeperServer(Options(certificates=certificates))) as server:
        yield server


async def test_sasl(sasl: AnyServer) -> None:
    async with zk.open_client(sasl.hosts, sasl=zk.digest_md5("bob", "bobsecret")) as client:
        assert set(await client.whoami()) == {zk.Id("sasl", "bob"), zk.Id("ip", "127.0.0.1")}
        await client.create("/bobs", b"data", acl=[zk.sasl_acl("bob")])
        assert (await client.get("/bobs")).data == b"data"
        await client.create("/mine", acl=zk.CREATOR_ALL)
        assert list((await client.get_acl("/mine")).acl) == [zk.sasl_acl("bob")]
        async with zk.open_client(sasl.hosts) as anonymous:
            with pytest.raises(zk.NoAuthError):
                await anonymous.get("/bobs")
    async with zk.open_client(sasl.hosts, sasl=zk.digest_md5("alice", "pässwörd")) as client:
        assert zk.Id("sasl", "alice") in await client.whoami()
        with pytest.raises(zk.NoAuthError):
            await client.get("/bobs")


async def test_sasl_after_a_reconnect(sasl: AnyServer) -> None:
    with ChaosProxy(sasl.port) as proxy:
        auth = [("digest", "carol:word")]
        async with zk.open_client(proxy.hosts, sasl=zk.digest_md5("bob", "bobsecret"), auth=auth) as client:
            for _ in range(3):
                assert {zk.Id("sasl", "bob"), zk.Id("digest", "carol")} <= set(await client.whoami())
                proxy.cut()


@pytest.mark.parametrize("user, password", [("bob", "wrong-secret"), ("nobody", "wrong-secret")])
@pytest.mark.parametrize("required", [False, True])
async def test_wrong_password(sasl: AnyServer, sasl_only: AnyServer, user: str, password: str, required: bool) -> None:
    server = sasl_only if required else sasl
    with trio.fail_after(5), pytest.raises(zk.AuthFailedError) as caught:
        async with zk.open_client(server.hosts, sasl=zk.digest_md5(user, password)):
            pytest.fail("it opened")
    assert caught.value.code == -115
    assert password not in repr(caught.value) + str(caught.value)


async def test_server_that_demands_sasl(sasl_only: AnyServer) -> None:
    async with zk.open_client(sasl_only.hosts, sasl=zk.digest_md5("bob", "bobsecret")) as client:
        await client.create("/a", b"data")
        assert (await client.get("/a")).data == b"data"
    with trio.fail_after(10):
        async with zk.open_client(sasl_only.hosts, session_timeout=1) as anonymous:
            with pytest.raises(zk.AuthFailedError) as caught:
                await anonymous.get("/a")
            assert caught.value.path in (None, "/a")
            assert anonymous.state is zk.SessionState.AUTH_FAILED
        # A ping is refused as well.
        async with (
            zk.open_client(sasl_only.hosts, session_timeout=1) as anonymous,
            anonymous.states() as states,
        ):
            assert [state async for state in states][-1] is zk.SessionState.AUTH_FAILED


async def test_server_without_sasl(server: AnyServer) -> None:
    with trio.fail_after(5), pytest.raises(zk.AuthFailedError):
        async with zk.open_client(server.hosts, sasl=zk.digest_md5("bob", "bobsecret")):
            pytest.fail("it opened")


@pytest.mark.server("TLS")
async def test_tls(tls: ZooKeeperServer, certificates: Certificates) -> None:
    context = certificates.client_context()
    async with zk.open_client(tls.secure_hosts, ssl=context) as client:
        identity = zk.Id("x509", certificates.client_id)
        assert identity in await client.whoami()
        await client.create("/tls", b"data", acl=[zk.x509_acl(certificates.client_id)])
        assert (await client.get("/tls")).data == b"data"
        large = bytes(range(256)) * 4000
        await client.create("/large", large)
        assert (await client.get("/large")).data == large
        pipeline = client.pipeline()
        for n in range(1_000):
            pipeline.create(f"/large/{n}", b"x" * 500)
        assert all(isinstance(made, zk.Created) for made in await pipeline.run())
        async with client.watch("/large") as changes:
            await client.set("/large", b"")
            assert isinstance(await anext(changes), zk.WatchEvent)
        async with zk.open_client(tls.hosts) as plain:
            with pytest.raises(zk.NoAuthError):
                await plain.get("/tls")
    assert "Mode: standalone" in await zk.four_letter_word(tls.secure_hosts, "srvr", ssl=context)
    async with zk.open_client(f"127.0.0.1:{tls.secure_port}", ssl=context) as client:
        assert identity in await client.whoami()


@pytest.mark.server("TLS")
async def test_tls_reconnects_with_a_fresh_context(tls: ZooKeeperServer, certificates: Certificates) -> None:
    made = []

    def renew() -> ssl.SSLContext:
        made.append(certificates.client_context())
        return made[-1]

    async with zk.open_client(tls.secure_hosts, ssl=renew) as client:
        await client.create("/e", ephemeral=True)
        session = client.session_id
        before = len(made)
        assert before >= 1
        await blocking(tls.restart, kill=True)
        with trio.fail_after(20):
            assert (await client.exists("/e")) is not None
        assert client.session_id == session
        assert len(made) > before


async def refused(hosts: str, context: ssl.SSLContext | None) -> str:
    """Why the one server is of no use."""
    with trio.fail_after(10), pytest.raises(zk.ConnectError) as caught:
        async with zk.open_client(hosts, ssl=context, open_timeout=0.7):
            pytest.fail("it opened")
    (reason,) = caught.value.failures.values()
    assert reason in str(caught.value)
    return reason


@pytest.mark.server("TLS")
async def test_tls_that_one_side_refuses(tls: ZooKeeperServer, certificates: Certificates) -> None:
    """The error says what to do. TLS 1.2 refuses in the handshake, TLS 1.3 with the first bytes: all the same."""
    without = certificates.client_context(certificate=False)
    assert "load_cert_chain" in await refused(tls.secure_hosts, without)
    untrusting = ssl.create_default_context()
    untrusting.load_cert_chain(certificates.client_pem)
    assert "load_verify_locations" in await refused(tls.secure_hosts, untrusting)
    assert "secureClientPort" in await refused(tls.hosts, certificates.client_context())
    assert "closed by the server" in await refused(tls.secure_hosts, None)
