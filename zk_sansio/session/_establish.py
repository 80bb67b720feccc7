"""From an accepted session to one that is served: the SASL exchange, then credentials and watches.

Nothing else may be sent meanwhile, or it would be executed without the identities it counts on.
"""

from __future__ import annotations

from typing import Any

from ..errors import AuthFailedError
from ..wire import Auth, Sasl
from ._calls import Call
from ._hosts import HostPort
from ._sasl import SaslExchange, SaslFactory, make_mechanism

__all__ = ["Establishment", "refusal"]


class Establishment:
    """What one connection has still to be told before it serves.

    Args:
        sasl: makes the mechanism; None for no SASL.
        host: the server's name.
    """

    __slots__ = ("_exchange", "_host", "_outstanding", "_sasl")

    def __init__(self, sasl: SaslFactory | None, host: HostPort) -> None:
        self._sasl = sasl
        self._host = host
        self._exchange: SaslExchange | None = None
        self._outstanding: set[Call[Any]] = set()

    def first_token(self) -> Sasl | None:
        """What to send first; None if there is no SASL.

        Raises:
            AuthFailedError: the mechanism cannot begin, and never will.
            ConnectError: it cannot begin now.
        """
        if self._sasl is None:
            return None
        self._exchange = SaslExchange(make_mechanism(self._sasl, self._host))
        return Sasl(self._exchange.start())

    def next_token(self, call: Call[bytes | None]) -> Sasl | None:
        """What to send after the server's answer; None if both sides are satisfied.

        Raises:
            AuthFailedError: one of them is not.
        """
        assert self._exchange is not None
        answer = self._exchange.receive(call.result)
        return None if answer is None else Sasl(answer)

    def expect(self, call: Call[Any]) -> None:
        """*call* restores something; the connection serves when all such calls are answered."""
        self._outstanding.add(call)

    def settle(self, call: Call[Any]) -> None:
        """*call* is answered, or its caller is gone."""
        self._outstanding.discard(call)

    @property
    def complete(self) -> bool:
        """Whether everything that was expected is answered."""
        return not self._outstanding


def refusal(call: Call[Any]) -> AuthFailedError:
    """Why the session is over, after a server has refused *call* for lack of the right credentials."""
    if isinstance(call.request, Auth):
        scheme = call.request.scheme
        return AuthFailedError(f"the server refused the credentials of scheme {scheme!r}; does it know the scheme?")
    assert isinstance(call.error, AuthFailedError)
    return call.error
