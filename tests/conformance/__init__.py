"""Every adapter of this project, against the checks of `zk_conformance`."""
