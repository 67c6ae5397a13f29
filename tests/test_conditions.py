"""The conditions that every test runs under hold themselves."""

import socket
import subprocess
import sys

import pytest


def test_sockets_are_closed():
    with socket.socket() as inet, pytest.raises(RuntimeError, match="a test"):
        inet.connect(("127.0.0.1", 9))
    with pytest.raises(RuntimeError, match="a test"):
        socket.create_connection(("localhost", 9), timeout=1)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets on this system")
def test_unix_sockets_are_open(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen(1)
        client.connect(path)
        assert client.getpeername() == path


def test_one_thread_here_and_in_subprocesses():
    import torch

    assert torch.get_num_threads() == 1
    code = "import os; print(os.environ['OMP_NUM_THREADS'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1\n"


def test_the_hub_is_off():
    import huggingface_hub.constants

    assert huggingface_hub.constants.HF_HUB_OFFLINE
