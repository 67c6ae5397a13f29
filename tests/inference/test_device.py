import pytest
import torch

from videollama2.errors import RequestError
from videollama2.inference.device import available_memory, choose_device, choose_dtype, cpu_has_bfloat16

CPU = torch.device("cpu")


def test_auto_prefers_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_device(CPU) is CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", None, 3.5])
def test_missing_devices_are_refused(name):
    with pytest.raises(RequestError, match="use"):
        choose_device(name)


def test_auto_on_a_cpu_is_never_half(monkeypatch):
    monkeypatch.setattr("videollama2.inference.device.cpu_has_bfloat16", lambda: True)
    assert choose_dtype("auto", CPU) == torch.bfloat16
    monkeypatch.setattr("videollama2.inference.device.cpu_has_bfloat16", lambda: False)
    assert choose_dtype("auto", CPU) == torch.float32
    assert choose_dtype("fp16", CPU) == torch.float16
    assert choose_dtype(torch.float32, CPU) == torch.float32
    with pytest.raises(RequestError, match="bfloat16"):
        choose_dtype("int3", CPU)


def test_flags_of_the_kernel_are_read(tmp_path, monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    info = tmp_path / "cpuinfo"
    info.write_text("flags : fpu avx512_bf16 sse\n")
    assert cpu_has_bfloat16(info)
    info.write_text("flags : fpu avx512f sse\n")
    assert not cpu_has_bfloat16(info)
    assert not cpu_has_bfloat16(tmp_path / "missing")


def test_memory_is_a_plausible_number():
    assert 1 << 20 < available_memory(CPU) < 1 << 50
