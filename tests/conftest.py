"""What holds for every test: no network, and one thread, for `make test` runs several workers beside each other."""

import os
import socket

import pytest

# Set before torch and the hub's library are imported: both look once. Subprocesses inherit them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


class NetworkUsedError(RuntimeError):
    """A test tried to reach the network; no OSError, so that no code takes it for a network that is down."""


@pytest.fixture(autouse=True)
def closed_sockets(monkeypatch):
    """Connections other than to processes of this machine (unix sockets) fail."""
    connect = socket.socket.connect

    def refuse(self, address):
        if self.family == getattr(socket, "AF_UNIX", None):
            return connect(self, address)
        raise NetworkUsedError(f"a test connects to {address}")

    def refuse_name(host, *args, **kwargs):
        raise NetworkUsedError(f"a test looks up {host}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse_name)


@pytest.fixture(autouse=True)
def offline_hub(monkeypatch):
    """Whatever a test before this one did to the environment."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
