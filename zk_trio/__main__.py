"""``python -m zk_trio``."""

import sys
from importlib.util import find_spec

if __name__ == "__main__":
    missing: list[str] = [name for name in ("cyclopts", "rich") if find_spec(name) is None]
    if missing:
        sys.exit(f"the command line needs {' and '.join(missing)}: pip install 'zk-sansio[trio,cli]'")
    from zk_trio.cli import main

    sys.exit(main())
