"""Golden data of the processing room: where it lies and how it is read."""

import json
from functools import cache
from pathlib import Path

from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@cache
def golden_json(name: str):
    return json.loads((GOLDEN / name).read_text())


@cache
def golden_tensors(name: str):
    return load_file(GOLDEN / name)
