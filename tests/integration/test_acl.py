"""Access control lists and identities."""

import pytest

import zk_trio as zk
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient
from tests.support.servers import AnyServer
from tests.support.settings import SUPER

pytestmark = pytest.mark.trio


async def test_get_and_set(client: zk.Client, root: str, witness: RawClient) -> None:
    path = witness.create(f"{root}/a")
    found = await client.get_acl(path)
    assert tuple(found.acl) == zk.OPEN
    assert tuple(found.stat) == witness.exists(path)
    acl = [zk.digest_acl("bob", "secret"), zk.ip_acl("127.0.0.1", zk.Perms.READ | zk.Perms.ADMIN)]
    stat = await client.set_acl(path, acl, version=0)
    assert (stat.aversion, stat.version) == (1, 0)
    found = await client.get_acl(path)
    assert list(found.acl) == acl
    assert found.acl[0].id.id == "bob:fyVmFCwVbTJYrznoSu1koqYEYF0="
    with pytest.raises(zk.BadVersionError) as caught:
        await client.set_acl(path, zk.OPEN, version=0)
    assert caught.value.operation == "set ACL"
    assert (await client.set_acl(path, zk.OPEN)).aversion == 2
    for missing in (client.get_acl(f"{root}/none"), client.set_acl(f"{root}/none", zk.OPEN)):
        with pytest.raises(zk.NoNodeError):
            await missing


async def test_digest(client: zk.Client, server: AnyServer, root: str) -> None:
    await client.add_auth("digest", "bob:secret")
    path = await client.create(f"{root}/a", b"data", acl=zk.CREATOR_ALL)
    assert list((await client.get_acl(path)).acl) == [zk.digest_acl("bob", "secret")]
    async with zk.open_client(server.hosts) as other:
        for forbidden in (
            other.get(path),
            other.set(path, b""),
            other.set_acl(path, zk.OPEN),
            other.get_children(path),
        ):
            with pytest.raises(zk.NoAuthError) as caught:
                await forbidden
            assert (caught.value.code, caught.value.path) == (-102, path)
        for forbidden_create in (other.create(f"{path}/b"), other.get_acl(path)):
            with pytest.raises(zk.NoAuthError):
                await forbidden_create
        await other.add_auth("digest", b"eve:secret")
        with pytest.raises(zk.NoAuthError):
            await other.get(path)
        await other.add_auth("digest", b"bob:secret")
        assert (await other.get(path)).data == b"data"
        assert set(await other.whoami()) == {
            zk.Id("ip", "127.0.0.1"),
            zk.Id("digest", "eve"),
            zk.Id("digest", "bob"),
        }
        # Secrets of others are masked for who may read but not administrate.
        await other.set_acl(path, [zk.digest_acl("bob", "secret", zk.Perms.READ)])
        assert (await other.get_acl(path)).acl[0].id == zk.Id("digest", "bob:x")


async def test_exists_of_what_may_not_be_read(client: zk.Client, server: AnyServer, root: str) -> None:
    path = await client.create(f"{root}/a", acl=[zk.digest_acl("bob", "secret")])
    if server.version_info >= (3, 9, 2):
        with pytest.raises(zk.NoAuthError):
            await client.exists(path)
    else:
        assert await client.exists(path) is not None


async def test_credentials_from_the_start_and_after_reconnect(proxy: ChaosProxy, root: str) -> None:
    auth: list[tuple[str, bytes | str]] = [("digest", "bob:secret"), ("digest", b"pass\xc3\xa9:w\xc3\xb6rd")]
    async with zk.open_client(proxy.hosts, auth=auth) as client:
        path = await client.create(f"{root}/a", b"1", acl=[zk.digest_acl("bob", "secret")])
        await client.add_auth("digest", "carol:word")
        expected = {zk.Id("digest", "bob"), zk.Id("digest", "passé"), zk.Id("digest", "carol")}
        assert set(await client.whoami()) >= expected
        proxy.cut()
        assert (await client.get(path)).data == b"1"
        assert set(await client.whoami()) >= expected
        # What is known already is no harm, and neither is an identity shown while the connection is away.
        proxy.cut()
        await client.add_auth("digest", "bob:secret")
        await client.add_auth("digest", "dave:word")
        assert set(await client.whoami()) >= expected | {zk.Id("digest", "dave")}


async def test_super_user(client: zk.Client, root: str) -> None:
    path = await client.create(f"{root}/a", b"1", acl=[zk.ACL(zk.Perms.NONE, zk.ANYONE)])
    with pytest.raises(zk.NoAuthError):
        await client.get(path)
    await client.add_auth("digest", ":".join(SUPER))
    assert (await client.get(path)).data == b"1"
    assert zk.Id("super", "") in await client.whoami()


async def test_delete_asks_the_parent_only(client: zk.Client, root: str, witness: RawClient) -> None:
    await client.create(f"{root}/a", acl=[zk.digest_acl("bob", "secret")])
    await client.delete(f"{root}/a")
    await client.create(f"{root}/b", acl=zk.READ_ONLY)
    witness.create(f"{root}/c")
    await client.create(f"{root}/c/d")
    await client.set_acl(f"{root}/c", [zk.ACL(zk.Perms.ALL & ~zk.Perms.DELETE, zk.ANYONE)])
    with pytest.raises(zk.NoAuthError):
        await client.delete(f"{root}/c/d")
    with pytest.raises(zk.NoAuthError):
        await client.create(f"{root}/b/x")


async def test_lists_that_servers_refuse(client: zk.Client, root: str, witness: RawClient) -> None:
    path = witness.create(f"{root}/a")
    refused: list[list[zk.ACL]] = [
        [],
        list(zk.CREATOR_ALL),  # nobody has logged in
        [zk.ACL(zk.Perms.ALL, zk.Id("nosuch", "x"))],
        [zk.ACL(zk.Perms.ALL, zk.Id("digest", "no-colon"))],
        [zk.ACL(zk.Perms.ALL, zk.Id("world", "somebody"))],
        [zk.ACL(zk.Perms.ALL, zk.Id("ip", "not an address"))],
    ]
    for acl in refused:
        for call in (client.set_acl(path, acl), client.create(f"{root}/b", acl=acl)):
            with pytest.raises((zk.InvalidAclError, zk.InvalidRequestError)) as caught:
                await call
            if isinstance(caught.value, zk.InvalidAclError):
                assert caught.value.code == -114
    assert witness.children(root) == ["a"]
    # Where the client does not look, the server's own answer.
    with pytest.raises(zk.InvalidAclError):
        await client.set_acl(path, zk.CREATOR_ALL)
    assert (await client.get_acl(path)).stat.aversion == 0


async def test_unusual_permissions_and_names_come_back(client: zk.Client, root: str) -> None:
    acl = [
        zk.ACL(zk.Perms.ALL, zk.ANYONE),
        zk.ACL(64 | 1, zk.Id("digest", "漢😀:x")),
        zk.ACL(0, zk.Id("ip", "10.0.0.0/8")),
    ]
    path = await client.create(f"{root}/a", acl=acl)
    assert list((await client.get_acl(path)).acl) == acl


async def test_refused_credentials_end_the_session(server: AnyServer, root: str) -> None:
    async with zk.open_client(server.hosts) as client:
        with pytest.raises(zk.AuthFailedError) as caught:
            await client.add_auth("nosuch", b"secret-words")
        assert caught.value.code == -115
        assert "secret-words" not in repr(caught.value) + str(caught.value)
        assert client.state is zk.SessionState.AUTH_FAILED
        with pytest.raises(zk.AuthFailedError):
            await client.get(root)
    with pytest.raises(zk.AuthFailedError):
        async with zk.open_client(server.hosts, auth=[("nosuch", b"")]):
            pytest.fail("it opened")
