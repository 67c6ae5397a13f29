"""Choice of device and number type: explicit where asked, the best safe one where "auto"."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from videollama2.errors import RequestError

DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Turns a device name into a device that exists here.

    Args:
        device: "auto" (CUDA, then MPS, then CPU), or a torch device name such as "cpu" or "cuda:1".

    Raises:
        RequestError: The name is unknown or there is no such device here.
    """
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise RequestError(f"unknown device {device!r}: use auto, cpu, mps, cuda or cuda:N") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise RequestError(f"device {device!r} asked for, but this machine shows {count} CUDA devices: use cpu or auto")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise RequestError("device 'mps' asked for, but this machine has none: use cpu or auto")
    return chosen


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Turns a dtype name into a torch dtype.

    Args:
        dtype: "auto", a name ("bf16", "float32", ...) or a torch dtype. Auto is bfloat16 on CUDA devices that have it
            and on CPUs with bfloat16 arithmetic (AVX-512 BF16 or AMX), where it is 2-3 times faster than float32;
            float16 on MPS and older CUDA devices; float32 else. Never float16 on a CPU unless asked for.
        device: Where the model will run.

    Raises:
        RequestError: Unknown name.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype in DTYPES:
        return DTYPES[dtype]
    if dtype != "auto":
        raise RequestError(f"unknown dtype {dtype!r}: use auto, {', '.join(sorted(DTYPES))}")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32


def cpu_has_bfloat16(cpuinfo: str | Path = "/proc/cpuinfo") -> bool:
    """Whether this CPU multiplies in bfloat16 (AVX-512 BF16, AMX, or Arm's bf16).

    torch's own probe is asked first; where it is missing, the flags the Linux kernel lists.
    """
    probes: list[Any] = [
        getattr(torch.cpu, "_is_avx512_bf16_supported", None),
        getattr(torch.cpu, "_is_amx_tile_supported", None),
    ]
    if any(probe() for probe in probes if probe is not None):
        return True
    if not os.path.exists(cpuinfo):
        return False
    flags = {word for line in Path(cpuinfo).read_text(errors="replace").splitlines() for word in line.split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def available_memory(device: torch.device) -> int:
    """Bytes that can be allocated on the device now (an estimate; free memory on CUDA, available memory else)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 4 << 30
