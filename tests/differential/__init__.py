"""The in-memory server against a real Apache ZooKeeper: the same random programs, and every byte of both compared."""
