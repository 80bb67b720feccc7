"""Every adapter of this project, against the checks of `zk_conformance`."""

import pytest

pytest.register_assert_rewrite("zk_conformance")
