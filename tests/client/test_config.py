from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk_sansio.client import EnsembleConfig, EnsembleMember, parse_config

ENSEMBLE = b"""server.1=localhost:2888:3888:participant;127.0.0.1:2181
server.2=[2001:db8::2]:2888:3888:observer;2182
server.3=zk3:2888:3888:participant
group.1=1:2:3
version=100000003"""


def test_an_ensemble() -> None:
    config = parse_config(ENSEMBLE)
    assert config == EnsembleConfig(
        members=(
            EnsembleMember(
                id=1, spec="localhost:2888:3888:participant", role="participant", client_address="127.0.0.1:2181"
            ),
            EnsembleMember(
                id=2, spec="[2001:db8::2]:2888:3888:observer", role="observer", client_address="0.0.0.0:2182"
            ),
            EnsembleMember(id=3, spec="zk3:2888:3888:participant", role="participant", client_address=None),
        ),
        version=0x100000003,
        text=ENSEMBLE.decode(),
    )


@pytest.mark.parametrize("data", [None, b""])
def test_a_standalone_server_has_none(data: bytes | None) -> None:
    assert parse_config(data) == EnsembleConfig(members=(), version=None, text="")


@pytest.mark.parametrize("line", ["version=", "version=zz", "server.=a;1", "server.x=a", " ", "=", "version=0x"])
def test_what_is_not_known_is_left_to_the_text(line: str) -> None:
    config = parse_config(line.encode())
    assert (config.members, config.version, config.text) == ((), None, line)


@given(st.one_of(st.binary(), st.text("server.version=0123456789abc:;\n").map(str.encode)))
def test_nothing_that_a_server_sends_raises(data: bytes) -> None:
    parse_config(data)
