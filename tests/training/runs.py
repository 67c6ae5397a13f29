"""Data, recipes and processes for tests that train for real, on the tiny golden checkpoints."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors import safe_open
from torch import Tensor

from helpers.media_files import make_video, tone

GOLDEN = Path(__file__).parents[1] / "golden"
SCRIPT = Path(__file__).with_name("run_recipe.py")
WORDS = ("red", "ball", "left", "then", "right", "dog", "barks", "twice", "a", "small", "green", "car", "stops")


def write_rows(folder: Path, *, audio: bool = False, num_text: int = 8) -> Path:
    """A file of rows of every kind with their media: videos, images, text, on request sounds."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []

    def say(number: int, tag: str = "", **media: str) -> None:
        answer = " ".join(WORDS[(number * 3 + i) % len(WORDS)] for i in range(2 + 5 * (number % 4)))
        turns = [{"from": "human", "value": f"{tag}what is it {number}?"}, {"from": "gpt", "value": answer}]
        rows.append({"id": f"row{number}", **media, "conversations": turns})

    for n in range(3):
        (folder / f"v{n}.mp4").write_bytes(make_video(20 + 7 * n, fps=10, sound=tone(1.0) if audio else None))
        for question in range(2):
            say(len(rows) + question, "<video>\n", video=f"v{n}.mp4")
    for n in range(4):
        pixels = np.random.default_rng(n).integers(0, 255, (40 + n, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"i{n}.png")
        say(len(rows), "<image>\n", image=f"i{n}.png")
    if audio:
        import soundfile

        soundfile.write(folder / "a.wav", tone(1.0), 16000)
        say(len(rows), "<audio>\n", audio="a.wav")
    for _ in range(num_text):
        say(len(rows))
    path = folder / "rows.json"
    path.write_text(json.dumps(rows))
    return path


def write_recipe(folder: Path, rows: Path, checkpoint: str = "VideoLLaMA2.1-tiny-qwen2-16F", **fields: Any) -> Path:
    """A recipe file: 6 samples a step, in fp32, a state every second step."""
    recipe: dict[str, Any] = {
        "name": "tiny",
        "model": {"from": str(GOLDEN / "checkpoints" / checkpoint)},
        "train": {"connector": 1.0e-3, "language_model": 1.0e-3},
        "data": [{"path": str(rows), "folder": str(rows.parent)}],
        "num_frames": 4,
        "batch": {"samples": 6, "micro": 2},
        "schedule": {"max_steps": 6, "warmup_ratio": 0.2},
        "precision": "fp32",
        "gradient_checkpointing": False,
        "workers": 0,
        "save": {"folder": str(folder / "run"), "every": 2},
        "log": {"tensorboard": False},
    }
    path = folder / "recipe.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**recipe, **fields}))
    return path


def start(recipe: Path, *overrides: str, processes: int = 1, slow: float = 0.0) -> list[subprocess.Popen]:
    """Start a run's processes, as torchrun does."""
    command = [sys.executable, str(SCRIPT), *(["--slow", str(slow)] if slow else []), str(recipe), *overrides]
    base = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "GLOO_SOCKET_IFNAME": "lo"}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        base.pop(name, None)
    port = str(free_port())
    started = []
    for rank in range(processes):
        many = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {**base, **(many | place if processes > 1 else {})}
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    return started


def finish(started: list[subprocess.Popen], timeout: float = 300.0) -> dict[str, Any]:
    """Wait for a run's processes, all of which must end well; the first one's outcome."""
    outputs = []
    try:
        outputs = [process.communicate(timeout=timeout) for process in started]
    finally:
        for process in started:
            process.kill()
    said = "\n=====\n".join(errors[-3000:] for _, errors in outputs)
    assert [process.returncode for process in started] == [0] * len(started), said
    return json.loads(outputs[0][0].strip().splitlines()[-1])


def run(recipe: Path, *overrides: str, processes: int = 1) -> dict[str, Any]:
    """Train to the end."""
    return finish(start(recipe, *overrides, processes=processes))


def weights_of(folder: Path) -> dict[str, Tensor]:
    """All trained weights of the newest state under a run's folder, whole."""
    from videollama2.training.state import SavedState, latest

    newest = latest(folder)
    assert newest is not None, list(folder.iterdir()) if folder.exists() else folder
    saved = SavedState(newest)
    return {name: saved.read(name) for name in saved.shapes if name.startswith("weights/")}


def tensors_in(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def largest_difference(ours: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Over all tensors of two equal sets of names."""
    assert ours.keys() == other.keys()
    assert ours
    return max(float((ours[n].double() - other[n].double()).abs().max()) for n in ours if ours[n].numel())


def free_port() -> int:
    """A port nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def result_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a result."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found.update({f"{path.name}/{name}": tensor for name, tensor in tensors_in(path).items()})
    return found
