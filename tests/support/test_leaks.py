"""The check that nothing outlives a test finds what does."""

import subprocess
import sys
import threading

import pytest

from tests.support import leaks


def test_threads_and_processes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE", 0.05)
    check = leaks.LeakCheck()
    assert check.leaked() == []
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="lost")
    thread.start()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            assert check.leaked([process.pid]) == ["thread lost"]
            found = check.leaked()
            assert found[0] == "thread lost"
            assert found[1].startswith(f"process {process.pid}: ")
            assert "input()" in found[1]
            assert leaks.running(process.pid)
        finally:
            stop.set()
            thread.join()
            process.kill()
    assert check.leaked() == []
    assert not leaks.running(process.pid)
    assert leaks.command(process.pid) == "ended"
