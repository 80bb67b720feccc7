"""How a test server is configured: options, and the files and the command line made of them."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.support.certificates import Certificates

SUPER = ("super", "secret")
SASL_PROVIDER = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
X509_PROVIDER = "org.apache.zookeeper.server.auth.X509AuthenticationProvider"
NETTY_FACTORY = "org.apache.zookeeper.server.NettyServerCnxnFactory"
# A binary release logs through logback, which without a configuration prints every detail.
LOGBACK = """\
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %p %c - %m%n</pattern></encoder>
  </appender>
  <root level="{level}"><appender-ref ref="OUT"/></root>
</configuration>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may differ between test servers.

    Attributes:
        tick_ms: The tick; sessions last at least two of them, and expire with the granularity of one.
        read_only_mode: Serve read-only clients when there is no quorum.
        local_sessions: Sessions are known to their server only, until they make an ephemeral node.
        certificates: Also listen with TLS, with these.
        client_auth: Whether TLS clients need a certificate.
        sasl_users: Users and passwords for DIGEST-MD5.
        require_sasl: Refuse sessions that have not logged in by SASL.
        config: More lines of zoo.cfg; they replace ours of the same name.
        properties: More Java properties; they replace ours of the same name.
        log_level: How much the server logs.
    """

    tick_ms: int = 500
    read_only_mode: bool = False
    local_sessions: bool = False
    certificates: Certificates | None = None
    client_auth: Literal["need", "want", "none"] = "need"
    sasl_users: Mapping[str, str] = field(default_factory=dict)
    require_sasl: bool = False
    config: Mapping[str, str | int] = field(default_factory=dict)
    properties: Mapping[str, str | int] = field(default_factory=dict)
    log_level: Literal["error", "warn", "info", "debug"] = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports of one server; 0 for one that it does not have."""

    client: int
    secure: int = 0
    quorum: int = 0
    election: int = 0


def super_digest() -> str:
    """Make the value of superDigest for `SUPER`."""
    user, password = SUPER
    digest = base64.b64encode(hashlib.sha1(f"{user}:{password}".encode(), usedforsecurity=False).digest())
    return f"{user}:{digest.decode()}"


def config_lines(options: Options, folder: Path, ports: Ports) -> dict[str, str | int]:
    """Make the content of zoo.cfg.

    A member of an ensemble has its client port in the dynamic file, with the other members.
    """
    lines: dict[str, str | int] = {
        "tickTime": options.tick_ms,
        "dataDir": str(folder / "data"),
        "maxSessionTimeout": 60000,
        "maxClientCnxns": 0,
        "4lw.commands.whitelist": "*",
        "admin.enableServer": "false",
        "extendedTypesEnabled": "true",
        "reconfigEnabled": "true",
        "forceSync": "no",
        "preAllocSize": 1024,
    }
    if ports.quorum:
        lines |= {
            "dynamicConfigFile": str(folder / "zoo.cfg.dynamic"),
            "standaloneEnabled": "false",
            "initLimit": max(10, 5000 // options.tick_ms),
            "syncLimit": max(5, 2500 // options.tick_ms),
        }
    else:
        lines |= {"clientPort": ports.client, "clientPortAddress": "127.0.0.1"}
    if options.local_sessions:
        lines |= {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}
    if options.certificates is not None:
        lines |= {
            "secureClientPort": ports.secure,
            "secureClientPortAddress": "127.0.0.1",
            "serverCnxnFactory": NETTY_FACTORY,
            "ssl.keyStore.location": str(options.certificates.server_pem),
            "ssl.keyStore.type": "PEM",
            "ssl.trustStore.location": str(options.certificates.ca_pem),
            "ssl.trustStore.type": "PEM",
            "ssl.clientAuth": options.client_auth,
            "authProvider.x509": X509_PROVIDER,
        }
    if options.sasl_users:
        lines["authProvider.1"] = SASL_PROVIDER
    if options.require_sasl:
        lines |= {"enforce.auth.enabled": "true", "enforce.auth.schemes": "sasl"}
    return lines | dict(options.config)


def jaas(users: Mapping[str, str]) -> str:
    """Make the content of the JAAS file for DIGEST-MD5."""
    entries = "\n".join(f'  user_{user}="{password}"' for user, password in users.items())
    return f"Server {{\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n{entries};\n}};\n"


def jvm_arguments(options: Options, folder: Path) -> list[str]:
    """Make the arguments of java that come before the class path: small, quick to start, nothing left elsewhere."""
    properties: dict[str, str | int] = {
        "java.io.tmpdir": str(folder),
        "org.slf4j.simpleLogger.defaultLogLevel": options.log_level,
        "org.slf4j.simpleLogger.showDateTime": "true",
        "znode.container.checkIntervalMs": 500,
        "zookeeper.DigestAuthenticationProvider.superDigest": super_digest(),
    }
    if options.read_only_mode:
        properties["readonlymode.enabled"] = "true"
    if options.sasl_users:
        properties["java.security.auth.login.config"] = str(folder / "jaas.conf")
    properties |= dict(options.properties)
    return [
        "-Xmx128m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+PerfDisableSharedMem",
        *(f"-D{name}={value}" for name, value in properties.items()),
    ]


def write_files(options: Options, folder: Path, ports: Ports) -> None:
    """Write the configuration of a server into its folder."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    lines = config_lines(options, folder, ports)
    (folder / "zoo.cfg").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    (folder / "logback.xml").write_text(LOGBACK.format(level=options.log_level))
    if options.sasl_users:
        (folder / "jaas.conf").write_text(jaas(options.sasl_users))
