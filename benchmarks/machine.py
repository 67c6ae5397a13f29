"""What a figure was measured on: processor, cores, library versions, command."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("videollama2", "torch", "transformers", "numpy", "pillow", "av", "scipy", "soundfile")


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, threads of torch, system."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": cpu_name(),
        "cores": cores,
        "torch_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide about numbers and speed."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def command() -> str:
    """The command line, as one would type it again."""
    name = Path(sys.argv[0])
    module = ".".join(name.with_suffix("").parts[-2:]).removesuffix(".__main__")
    return " ".join(["python -m", module, *sys.argv[1:]])


def cpu_name() -> str:
    """Model of the processor as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
