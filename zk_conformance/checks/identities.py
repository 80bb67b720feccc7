"""Who the client is: credentials, and what access control makes of them."""

from __future__ import annotations

from collections.abc import Awaitable

import zk_sansio as zk

from .._port import Harness, World
from .._run import check
from .._tools import away, raises

BOB = zk.Id("digest", "bob")


@check
async def check_add_auth(harness: Harness, world: World) -> None:
    """What one identity may do is refused to another, until it shows the same credentials."""
    async with harness.open_client(world.hosts) as client, harness.open_client(world.hosts) as other:
        assert BOB not in await client.whoami()
        await client.add_auth("digest", "bob:secret")
        assert BOB in await client.whoami()
        path = await client.create(f"{world.root}/a", b"data", acl=zk.CREATOR_ALL)
        assert list((await client.get_acl(path)).acl) == [zk.digest_acl("bob", "secret")]
        calls: list[Awaitable[object]] = [other.get(path), other.set(path, b""), other.create(f"{path}/b")]
        for call in (*calls, other.set_acl(path, zk.OPEN), other.get_children(path)):
            with raises(zk.NoAuthError) as caught:
                await call
            assert caught.value.code == -102
        await other.add_auth("digest", b"bob:secret")
        assert (await other.get(path)).data == b"data"


@check
async def check_auth_from_the_start(harness: Harness, world: World) -> None:
    """Credentials given to ``open_client``, and those added later, count on every connection."""
    with world.proxy() as proxy:
        auth: list[tuple[str, bytes | str]] = [("digest", "bob:secret"), ("digest", b"pass\xc3\xa9:word")]
        async with harness.open_client(proxy.hosts, auth=auth, session_timeout=2) as client:
            path = await client.create(f"{world.root}/a", b"1", acl=[zk.digest_acl("bob", "secret")])
            await client.add_auth("digest", "carol:word")
            expected = {BOB, zk.Id("digest", "passé"), zk.Id("digest", "carol")}
            assert expected <= set(await client.whoami())
            async with away(harness, client, proxy):
                pass
            assert (await client.get(path)).data == b"1"
            assert expected <= set(await client.whoami())
            async with away(harness, client, proxy):
                # What is added without a connection is shown on the next one.
                with raises(TimeoutError):
                    await harness.within(0.02, lambda: client.add_auth("digest", "dave:word"))
            assert expected <= set(await client.whoami())


@check
async def check_wrong_credentials(harness: Harness, world: World) -> None:
    """A scheme that the server does not know ends the session, and tells no secret."""
    async with harness.open_client(world.hosts) as client:
        with raises(zk.AuthFailedError) as caught:
            await client.add_auth("nosuch", "secret-words")
        assert caught.value.code == -115
        assert "secret-words" not in repr(caught.value) + str(caught.value)
        assert client.state is zk.SessionState.AUTH_FAILED
        with raises(zk.AuthFailedError):
            await client.get(world.root)
    with raises(zk.AuthFailedError):
        async with harness.open_client(world.hosts, auth=[("nosuch", b"")]):
            raise AssertionError("it opened")


@check
async def check_refused_lists(harness: Harness, world: World) -> None:
    """Access control lists that no server accepts."""
    path = world.create(f"{world.root}/a")
    async with harness.open_client(world.hosts) as client:
        for acl in ([], zk.CREATOR_ALL, [zk.ACL(zk.Perms.ALL, zk.Id("nosuch", "x"))]):
            for call in (client.set_acl(path, acl), client.create(f"{path}/b", acl=acl)):
                with raises(zk.InvalidAclError, zk.InvalidRequestError) as caught:
                    await call
                if isinstance(caught.value, zk.InvalidAclError):
                    assert caught.value.code == -114
        assert world.children(path) == []
        assert (await client.get_acl(path)).stat.aversion == 0
