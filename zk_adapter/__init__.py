"""Parts of an adapter that never wait: sockets, TLS, addresses. Standard library only.

`zk_trio`, `zk_anyio` and `zk_blocking` add the waiting, and so does whoever drives the core in a loop of their own.
"""

from zk_sansio._names import publish

from ._four_letter import PROBE_LIMIT, probes, server_to_ask
from ._groups import plain_errors
from ._resolving import TOO_LATE, addresses, numeric, unresolved
from ._sasl import digest_md5
from ._tasks import TaskDriver
from ._transport import TlsSource, Transport, Want, open_socket, tls_layer

__all__ = [
    "PROBE_LIMIT",
    "TOO_LATE",
    "TaskDriver",
    "TlsSource",
    "Transport",
    "Want",
    "addresses",
    "digest_md5",
    "numeric",
    "open_socket",
    "plain_errors",
    "probes",
    "server_to_ask",
    "tls_layer",
    "unresolved",
]

publish(globals(), __all__)
