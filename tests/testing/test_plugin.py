"""The fixtures for users' own tests."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from tests.blocking.tools import REPOSITORY
from zk_pytest import zk_client, zk_server  # noqa: F401 - the checkout need not be installed

pytest_plugins = ["pytester"]

# By its module: the checkout need not be installed; and if it is, not twice.
PLUGIN = ("-p", "no:zk_sansio", "-p", "zk_pytest", "-p", "no:cacheprovider")

OURS = """
import anyio
import pytest
import trio

import zk_anyio
import zk_blocking
import zk_trio
import zk_trio.testing


def test_plain(zk_client, zk_server):
    zk_client.create("/here", b"it is")
    assert zk_server.get("/here") == b"it is"
    assert isinstance(zk_client, zk_blocking.Client)


def test_fresh(zk_server):
    assert zk_server.children() == ["zookeeper"]
    assert zk_server.size == 1


@pytest.mark.trio
async def test_trio(zk_server):
    async with zk_trio.open_client(zk_server.hosts) as client:
        await client.create("/here")
        assert zk_server.exists("/here")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_anyio(zk_server, anyio_backend):
    async with zk_anyio.open_client(zk_server.hosts) as client:
        await client.create("/here")
        assert zk_server.exists("/here")


@pytest.mark.trio
async def test_in_memory(autojump_clock):
    async with zk_trio.testing.open_server() as server, server.open_client() as client:
        await client.create("/here", ephemeral=True)
        await trio.sleep(3600)
        assert server.exists("/here")


def test_the_server_goes_first(zk_client, zk_server):
    zk_server.stop()


@pytest.mark.zk_server(3, profile="3.8")
class TestMarked:
    def test_by_the_class(self, zk_server):
        assert zk_server.size == 3
        zk_server.lose_quorum()

    @pytest.mark.zk_server(size=1, max_session_timeout=1.0)
    def test_by_both(self, zk_server):
        assert zk_server.size == 1
        assert zk_server.ensemble.options.profile.name == "3.8"
        with zk_server.open_client() as client:
            assert client.session_timeout == 1
"""

WRONG = """
import pytest

@pytest.mark.zk_server(nonsense=1)
def test_unknown(zk_server): ...

@pytest.mark.zk_server(1, 2)
def test_two_sizes(zk_server): ...

@pytest.mark.zk_server(3, size=5)
def test_a_size_by_its_name_too(zk_server): ...

@pytest.mark.zk_server(profile="4")
def test_profile(zk_server): ...
"""


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes find this checkout."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def test_the_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(OURS)
    options = ("--strict-markers", "-W", "error", "-p", "pytest_trio")
    pytester.runpytest_subprocess(*PLUGIN, *options, timeout=60).assert_outcomes(passed=9)


def test_the_fixtures_here(request: pytest.FixtureRequest) -> None:
    client, server = request.getfixturevalue("zk_client"), request.getfixturevalue("zk_server")
    client.create("/here")
    assert server.exists("/here")
    assert server.size == 1


def test_wrong_marks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(WRONG)
    result = pytester.runpytest_subprocess(*PLUGIN, timeout=60)
    result.assert_outcomes(errors=4)
    output = result.stdout.str()
    sizes = "not (1, 2)", "one size, not 3 and 5"
    for said in "does not know nonsense", *sizes, "profile is one of 3.5, 3.8, 3.9, keeper":
        assert said in output


def test_the_marker_is_explained(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess(*PLUGIN, "--markers", timeout=60)
    result.stdout.fnmatch_lines(["@pytest.mark.zk_server(size=1, ?*options): how the ZooKeeper*"])


def test_nothing_is_loaded_before_it_is_used() -> None:
    program = "import pytest, sys; before = {*sys.modules}; import zk_pytest; print(sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "['zk_pytest']\n"


def test_pytest_finds_it() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"zk_sansio": "zk_pytest"}
    assert "zk_pytest" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
