"""Tests of the served in-memory ZooKeeper."""
