"""How an operation fails inside a server."""

from __future__ import annotations

from ..errors import ErrorCode

__all__ = ["RefusedError"]


class RefusedError(Exception):
    """A request is answered with an error code.

    Attributes:
        code: which.
        body: what follows the reply's header nevertheless.
    """

    def __init__(self, code: ErrorCode, body: bytes = b"") -> None:
        super().__init__(code)
        self.code = code
        self.body = body
