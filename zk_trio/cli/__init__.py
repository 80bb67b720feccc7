"""The command line: ``python -m zk_trio``. It needs the extra ``cli``."""

from ._app import main

__all__ = ["main"]
