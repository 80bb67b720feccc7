"""Checks for adapters of the client, written once: whoever embeds it in another event loop can run them.

An adapter is checked through a `Harness`, the server is looked at through a `World`. With pytest::

    class MyHarness:
        cancels = True
        def run(self, check): my_loop.run(check)
        def open_client(self, hosts, **settings): return my_adapter.open_client(hosts, **settings)
        async def together(self, *functions): ...        # a task for each
        async def sleep(self, seconds): await my_loop.sleep(seconds)
        async def within(self, seconds, function): ...   # TimeoutError if it takes longer
        async def interrupt(self, step, function): ...   # `stopped_at` does most of it
        def leftovers(self): return self.before.added()  # `Leftovers`, and the tasks of the loop

    @pytest.mark.parametrize("name", zk_conformance.CHECKS)
    def test_conformance(name, world): zk_conformance.run_check(name, MyHarness(), world)

Failures are told best behind ``pytest.register_assert_rewrite("zk_conformance")``.
"""

from zk_sansio._names import publish

from . import checks as checks
from ._leftovers import Leftovers
from ._port import Check, Function, Harness, Proxy, World
from ._run import CHECKS, check, check_each, first_error, run_check, stopped_at

__all__ = [
    "CHECKS",
    "Check",
    "Function",
    "Harness",
    "Leftovers",
    "Proxy",
    "World",
    "check",
    "check_each",
    "first_error",
    "run_check",
    "stopped_at",
]

publish(globals(), __all__)
