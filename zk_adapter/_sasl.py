"""SASL mechanisms that need nothing but the standard library."""

from __future__ import annotations

from functools import partial
from os import urandom

from zk_sansio.session import SaslFactory
from zk_sansio.session import digest_md5 as digest_md5_with_nonces

__all__ = ["digest_md5"]


def digest_md5(user: str, password: str) -> SaslFactory:
    """SASL with DIGEST-MD5, for ``open_client(sasl=...)``: the same user and password for every server.

    Args:
        user: the user name.
        password: the password.

    Raises:
        InvalidRequestError: a name or password that no server can know.
    """
    return digest_md5_with_nonces(user, password, partial(urandom, 16))
