# Sourced by the scripts beside it. Finds or makes what they need, says what it does, and explains what it cannot do:
#
#   use_venv EXTRA...   a virtual environment with the project and these extras, its programs first on PATH
#   ensure_zookeeper    a real Apache ZooKeeper for the tests to start, and a Java to run it
#
# What a user may set:
#
#   PYTHON              the Python to use, 3.11 or newer     (otherwise the first one found on PATH)
#   ZK_VENV             where the virtual environment is     (otherwise .venv in the checkout)
#   ZOOKEEPER_JARS      a folder with ZooKeeper's jars       (otherwise the Debian package)
#   JAVA_HOME           the Java to use                      (otherwise the one on PATH)

unset CDPATH # otherwise `cd` may go elsewhere, and talk
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${ZK_VENV:-$checkout/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac

# Nothing of the user's own Python gets in.
unset PYTHONPATH PYTHONHOME
export PYTHONNOUSERSITE=1 PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "$*" >&2; }

die() {
    say ""
    printf 'error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

# --- Installing with apt-get, where that is allowed ---

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_use_apt() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null
}

# apt_install PACKAGE...
apt_install() {
    local log
    log=$(mktemp)
    say "Installing with apt-get: $*"
    # A repository that cannot be refreshed need not be the one that is wanted: what counts is the installation.
    if {
        as_root apt-get update || true
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
            install -y --no-install-recommends "$@"
    } >"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        say "apt-get failed. The end of what it said:"
        tail -n 20 "$log" | sed 's/^/  | /' >&2
        rm -f "$log"
        return 1
    fi
}

# --- Python ---

is_suitable_python() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Sets $python.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_suitable_python "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 or newer."
        python=$PYTHON
        return
    fi
    for python in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if is_suitable_python "$python"; then return; fi
    done
    die "There is no Python 3.11 or newer on PATH." \
        "Install one (Debian 12, Ubuntu 24.04 and newer:  sudo apt-get install python3 python3-venv)," \
        "or name it:  PYTHON=/path/to/python3 $0"
}

version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])'; }

# Its Python runs, is new enough, and has pip.
is_complete_venv() {
    "$venv/bin/python" -c '
import sys
from importlib.util import find_spec
sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix or find_spec("pip") is None)
' >/dev/null 2>&1
}

make_venv() {
    local package
    if [ -d "$stamps" ]; then
        rm -rf "$venv" # one of ours, unfinished or of a Python that is gone
    elif [ -e "$venv" ] && [ -n "$(ls -A "$venv")" ]; then
        die "$venv is in the way: it is no virtual environment with pip and a Python 3.11 or newer." \
            "Remove it, or set ZK_VENV to another folder."
    fi
    find_python
    say "Making a virtual environment in $venv with Python $(version_of "$python")"
    # Debian keeps what `venv` needs to install pip in a package of its own.
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        if ! { may_use_apt && apt_install "$package"; }; then
            die "$python cannot make a virtual environment: its modules venv and ensurepip are not installed." \
                "Debian and Ubuntu:   sudo apt-get install $package" \
                "or another Python:   PYTHON=/path/to/python3 $0"
        fi
    fi
    mkdir -p "$stamps"
    "$python" -m venv "$venv" || die "The virtual environment could not be made; see above."
}

stamp() { printf '# %s\n' "$checkout" && cat "$checkout/pyproject.toml"; }

use_venv() {
    local extra missing="" stamps=$venv/.zk-sansio
    if ! is_complete_venv; then
        make_venv
    elif [ -n "${PYTHON:-}" ]; then
        find_python
        [ "$(version_of "$python")" = "$(version_of "$venv/bin/python")" ] ||
            die "$venv has Python $(version_of "$venv/bin/python"), but PYTHON=$PYTHON is $(version_of "$python")." \
                "Remove that folder, or set ZK_VENV to another one."
    fi
    # Installed again when pyproject.toml has changed, or when the checkout has moved and took its .venv along.
    for extra in "$@"; do
        [ "$(stamp)" = "$(cat "$stamps/$extra" 2>/dev/null)" ] || missing=$missing,$extra
    done
    if [ -n "$missing" ]; then
        say "Installing zk-sansio[${missing#,}] into $venv"
        "$venv/bin/python" -m pip install --quiet --editable "${checkout}[${missing#,}]" ||
            die "pip could not install what is needed; see above."
        mkdir -p "$stamps"
        for extra in "$@"; do stamp >"$stamps/$extra"; done
    fi
    export VIRTUAL_ENV=$venv PATH="$venv/bin:$PATH"
}

# --- ZooKeeper ---

has_java() { java -version >/dev/null 2>&1; }

has_zookeeper() {
    local folder=${ZOOKEEPER_JARS:-/usr/share/java}
    [ -e "$folder/zookeeper.jar" ] || compgen -G "$folder/zookeeper-[0-9]*.jar" >/dev/null
}

# Whether the tests find ZooKeeper complete is theirs to say: tests/support/java.py.
ensure_zookeeper() {
    local packages=""
    [ -z "${JAVA_HOME:-}" ] || export PATH="$JAVA_HOME/bin:$PATH"
    has_java || packages="default-jre-headless"
    # The server's jars. The package `zookeeper` would add scripts that are not used here, and a Java for desktops.
    has_zookeeper || [ -n "${ZOOKEEPER_JARS:-}" ] || packages="$packages libzookeeper-java"
    # shellcheck disable=SC2086  # it is a list
    if [ -n "$packages" ] && may_use_apt; then
        apt_install $packages || true # what is lacking then is said below
    fi
    if ! has_java || ! has_zookeeper; then
        explain_what_is_missing
    fi
}

explain_what_is_missing() {
    set --
    if ! has_zookeeper && [ -n "${ZOOKEEPER_JARS:-}" ]; then
        set -- "- Apache ZooKeeper: there is no zookeeper-<version>.jar in the folder ZOOKEEPER_JARS=$ZOOKEEPER_JARS"
    elif ! has_zookeeper; then
        set -- "- Apache ZooKeeper, as a Debian or Ubuntu package:" \
            "      sudo apt-get install --no-install-recommends libzookeeper-java" \
            "  or as a folder of jars named by ZOOKEEPER_JARS: lib/ of a binary release from https://zookeeper.apache.org," \
            "  or from Maven Central org.apache.zookeeper:zookeeper with what it depends on, and" \
            "  io.dropwizard.metrics:metrics-core and org.xerial.snappy:snappy-java"
    fi
    has_java || set -- "$@" \
        "- Java 11 or newer, on PATH or in JAVA_HOME. As a Debian or Ubuntu package:" \
        "      sudo apt-get install --no-install-recommends default-jre-headless"
    die "A real ZooKeeper server cannot be started on this machine yet. It lacks:" "$@"
}
