"""Error codes of servers: each is the error that says so. Those that a healthy server answers are seen elsewhere."""

from __future__ import annotations

import zk_sansio as zk

from .._port import Harness, World
from .._run import check
from .._tools import raises

CODES: dict[int, type[zk.ZooKeeperError]] = {
    -1: zk.ServerSystemError,
    -2: zk.RuntimeInconsistencyError,
    -3: zk.DataInconsistencyError,
    -5: zk.MarshallingError,
    -6: zk.UnimplementedError,
    -7: zk.OperationTimeoutError,
    -8: zk.BadArgumentsError,
    -13: zk.NewConfigNoQuorumError,
    -14: zk.ReconfigInProgressError,
    -100: zk.ApiError,
    -101: zk.NoNodeError,
    -102: zk.NoAuthError,
    -103: zk.BadVersionError,
    -108: zk.NoChildrenForEphemeralsError,
    -110: zk.NodeExistsError,
    -111: zk.NotEmptyError,
    -114: zk.InvalidAclError,
    -118: zk.SessionMovedError,
    -119: zk.NotReadOnlyError,
    -120: zk.EphemeralOnLocalSessionError,
    -121: zk.NoWatcherError,
    -122: zk.RequestTimeoutError,
    -123: zk.ReconfigDisabledError,
    -125: zk.QuotaExceededError,
    -127: zk.ThrottledError,
    -999: zk.ServerError,
}


@check
async def check_error_codes(harness: Harness, world: World) -> None:
    """Every error code of a reply is raised as its error, with the facts, and the client works on."""
    with world.refusing(list(CODES)) as hosts:
        async with harness.open_client(hosts, retry=zk.RetryPolicy(max_attempts=1)) as client:
            session = client.session_id
            for code, kind in CODES.items():
                with raises(kind) as caught:
                    await client.set("/a", b"")
                assert type(caught.value) is kind
                if isinstance(caught.value, zk.ServerError):
                    assert (caught.value.code, caught.value.path, caught.value.operation) == (code, "/a", "set")
                    assert str(code) in str(caught.value)
            assert (client.state, client.session_id) == (zk.SessionState.CONNECTED, session)


@check
async def check_throttled(harness: Harness, world: World) -> None:
    """What an overloaded server refuses is made again, a little later."""
    with world.refusing([-127, -127, -101]) as hosts:
        async with harness.open_client(hosts, retry=zk.RetryPolicy(pause=0.01)) as client:
            with raises(zk.NoNodeError):
                await client.set("/a", b"")


@check
async def check_reconfig_refused(harness: Harness, world: World) -> None:
    """A standalone server does not offer it, an ensemble refuses a client that may not."""
    async with harness.open_client(world.hosts) as client:
        with raises(zk.UnimplementedError, zk.NoAuthError, zk.ReconfigDisabledError):
            await client.reconfig(leaving="1")
        with raises(zk.InvalidRequestError):
            await client.reconfig(joining="server.2=127.0.0.1:1:2;3", new_members="server.2=127.0.0.1:1:2;3")
