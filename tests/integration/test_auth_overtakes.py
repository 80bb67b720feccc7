"""Replies to credentials overtake those of the requests before them: no answer may go to the wrong question."""

import pytest
import trio

import zk_trio as zk
from tests.support.raw import RawClient
from tests.support.servers import AnyServer

pytestmark = pytest.mark.trio

ROUNDS = 20
REQUESTS = 1_000


async def test_credentials_in_the_middle_of_a_thousand_requests(
    server: AnyServer, root: str, witness: RawClient
) -> None:
    for n in range(50):
        witness.create(f"{root}/{n}", b"%d" % n)
    async with zk.open_client(server.hosts, max_in_flight=2 * REQUESTS) as client:

        async def ask(count: int) -> None:
            """Reads and writes in turn, each with an answer that only it can have."""
            pipeline = client.pipeline()
            for n in range(count):
                match n % 4:
                    case 0:
                        pipeline.get(f"{root}/{n % 50}")
                    case 1:
                        pipeline.set(f"{root}/{n % 50}", b"%d" % (n % 50))
                    case 2:
                        pipeline.exists(f"{root}/none-{n}")
                    case 3:
                        pipeline.create(f"{root}/{n % 50}/-", sequential=True)
            outcomes = await pipeline.run()
            assert len(outcomes) == count
            for n, outcome in enumerate(outcomes):
                match n % 4:
                    case 0:
                        assert outcome.data == b"%d" % (n % 50)
                    case 1:
                        assert outcome.data_length == len(str(n % 50))
                    case 2:
                        assert isinstance(outcome, zk.NoNodeError)
                        assert outcome.path == f"{root}/none-{n}"
                    case 3:
                        assert outcome.path.startswith(f"{root}/{n % 50}/-")

        async def show(number: int) -> None:
            await client.add_auth("digest", f"user-{number}:password")
            assert zk.Id("digest", f"user-{number}") in await client.whoami()

        for number in range(ROUNDS):
            async with trio.open_nursery() as nursery:
                # In whatever order the three begin; twice it is in the middle of what is sent together.
                nursery.start_soon(ask, REQUESTS // 2)
                nursery.start_soon(show, number)
                nursery.start_soon(ask, REQUESTS // 2)
        assert client.state is zk.SessionState.CONNECTED
        assert len(await client.whoami()) == 1 + ROUNDS
        await client.delete(root, recursive=True)


async def test_credentials_between_single_calls(client: zk.Client, root: str, witness: RawClient) -> None:
    """A thousand callers, and in between those who show who they are."""
    for n in range(50):
        witness.create(f"{root}/{n}", b"%d" % n)
    answers = 0

    async def ask(n: int) -> None:
        nonlocal answers
        if n % 50 == 25:
            await client.add_auth("digest", f"user-{n}:password")
        elif n % 3:
            assert (await client.get(f"{root}/{n % 50}")).data == b"%d" % (n % 50)
        else:
            assert (await client.set(f"{root}/{n % 50}", b"%d" % (n % 50))).data_length == len(str(n % 50))
        answers += 1

    async with trio.open_nursery() as nursery:
        for n in range(1_000):
            nursery.start_soon(ask, n)
    assert answers == 1_000
    assert len(await client.whoami()) == 1 + 20
