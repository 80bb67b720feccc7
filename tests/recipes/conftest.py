"""A fake ZooKeeper in place of the network."""

from tests.trio.conftest import fake as fake
