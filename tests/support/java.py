"""Where Java and the jars of ZooKeeper come from: `ZOOKEEPER_JARS`, or Debian's packages.

A missing piece is an error that says what to install: tests that need a real server fail without one, they are not
skipped.
"""

import os
import shutil
from pathlib import Path

DEBIAN = Path("/usr/share/java")
NEEDED = ("zookeeper-jute", "slf4j-api", "metrics-core", "snappy-java", "netty-handler")
ADVICE = """\
Real ZooKeeper servers are needed for this test. Either
  - install them: apt-get install zookeeper (jars in /usr/share/java, and a Java runtime); or
  - set ZOOKEEPER_JARS to a folder with the jars: `lib` of a binary release of Apache ZooKeeper, or what Maven copies
    for org.apache.zookeeper:zookeeper, io.dropwizard.metrics:metrics-core and org.xerial.snappy:snappy-java (the pom of
    the first marks the other two as "provided"; without them a server does not start, or starts and never serves).
The logs of the servers are shown when the folder has a logger for slf4j, such as org.slf4j:slf4j-simple.
Java is looked for in JAVA_HOME, then in PATH; 11 or newer is needed."""


class MissingServerError(RuntimeError):
    """Java or the jars of ZooKeeper are not installed."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}\n{ADVICE}")


def java_command() -> str:
    """Find the program `java`.

    Raises:
        MissingServerError: There is none.
    """
    home = os.environ.get("JAVA_HOME")
    candidates = [str(Path(home, "bin", "java"))] if home else []
    for candidate in [*candidates, "java"]:
        if found := shutil.which(candidate):
            return found
    raise MissingServerError("There is no java, neither in JAVA_HOME nor in PATH.")


def class_path() -> str:
    """Make the class path of a server.

    Raises:
        MissingServerError: The jars are missing or incomplete.
    """
    if folder := os.environ.get("ZOOKEEPER_JARS"):
        return _folder_class_path(Path(folder))
    return _debian_class_path()


def _folder_class_path(folder: Path) -> str:
    names = [jar.name for jar in folder.glob("*.jar")]
    if not any(name == "zookeeper.jar" or (name.startswith("zookeeper-") and name[10].isdigit()) for name in names):
        raise MissingServerError(f"ZOOKEEPER_JARS={folder}: there is no zookeeper-<version>.jar.")
    if missing := [needed for needed in NEEDED if not any(name.startswith(needed) for name in names)]:
        raise MissingServerError(f"ZOOKEEPER_JARS={folder}: these jars are missing: {', '.join(missing)}.")
    return f"{folder.resolve()}/*"


def _debian_class_path() -> str:
    # The manifest of zookeeper.jar names the others, except netty-codec.jar, which TLS needs, and a logger.
    jars = [DEBIAN / "zookeeper.jar", DEBIAN / "netty-codec.jar"]
    for jar in jars:
        if not jar.exists():
            raise MissingServerError(f"{jar} is missing.")
    logger = DEBIAN / "slf4j-simple.jar"
    return ":".join(str(jar) for jar in [*jars, *([logger] if logger.exists() else [])])
