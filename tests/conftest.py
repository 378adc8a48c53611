"""No test reaches the network or a user's own folders: data and caches lie in the test's own folder."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("DPKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DPKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to reach {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def python(tmp_path):
    """Run code in a fresh Python that knows dpkit; returns the finished process."""

    def run(code, *arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=environment, cwd=tmp_path,
                              capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture(scope="session")
def digits():
    """The first 200 handwritten digits."""
    from dpkit.data import load

    return load("digits", device="cpu").first(200)
