"""Connectors against the official results, the plain computation, and each other."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from videollama2.errors import RequestError
from videollama2.model.connectors import CONNECTOR_TYPES, Connector, build_connector, num_tokens
from videollama2.model.connectors.base import as_grid
from videollama2.model.connectors.plain import plain_forward
from videollama2.model.connectors.sampler import StridedConv3d, still_plan

GOLDEN = Path(__file__).parents[1] / "golden" / "connectors"
RECORD = json.loads((GOLDEN / "connectors.json").read_text())
TOLERANCE = 1e-5  # relative to the largest magnitude: two correct fp32 implementations


def make(kind: str, mm_hidden_size: int = 24, hidden_size: int = 32, **extra: int) -> Connector:
    torch.manual_seed(0)
    config = SimpleNamespace(mm_projector_type=kind, mm_hidden_size=mm_hidden_size, hidden_size=hidden_size, **extra)
    return build_connector(config)


def golden(kind: str) -> tuple[Connector, dict[str, torch.Tensor]]:
    tensors = load_file(GOLDEN / f"{kind}.safetensors")
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
    connector = make(kind, 32 if kind.startswith("spatial") else 24)
    connector.load_state_dict(weights, strict=True)
    return connector, tensors


def deviation(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("kind", CONNECTOR_TYPES)
def test_outputs_equal_the_official_ones(kind: str) -> None:
    connector, tensors = golden(kind)
    cases = RECORD["types"][kind]["cases"]
    assert len(cases) >= 5
    for case in cases:
        name = f"case{case['case']}"
        if "error" in case:
            with pytest.raises(RequestError, match="window"):
                connector(torch.zeros(case["b"], case["t"], case["h"], case["w"], 32)[..., :24])
            continue
        with torch.no_grad():
            output = connector(tensors[f"{name}.input"])
            plain = plain_forward(connector, tensors[f"{name}.input"])
        assert deviation(output, tensors[f"{name}.output"]) < TOLERANCE, name
        assert deviation(plain, tensors[f"{name}.output"]) < TOLERANCE, name
        assert output.shape[1] == case["tokens"] == num_tokens(kind, case["t"], case["h"], case["w"])


@pytest.mark.parametrize("kind", CONNECTOR_TYPES)
def test_gradients_equal_the_official_ones(kind: str) -> None:
    connector, tensors = golden(kind)
    record = RECORD["types"][kind]
    x = tensors["case0.input"].requires_grad_()
    loss = connector(x).square().mean()
    loss.backward()
    assert loss.item() == pytest.approx(record["case0_loss"], rel=TOLERANCE)
    assert x.grad is not None
    assert deviation(x.grad, tensors["case0.input_grad"]) < TOLERANCE
    norms = {k: p.grad.norm().item() for k, p in connector.named_parameters() if p.grad is not None}
    assert norms.keys() == record["case0_grad_norms"].keys()
    assert norms == pytest.approx(record["case0_grad_norms"], rel=1e-4)


@pytest.mark.parametrize("kind", CONNECTOR_TYPES)
def test_tokens_at_real_sizes(kind: str) -> None:
    for name, expected in RECORD["types"][kind].get("tokens_at_size", {}).items():
        t, h, w = (int(n) for n in name.split("x"))
        if isinstance(expected, int):
            assert num_tokens(kind, t, h, w) == expected
        else:
            with pytest.raises(RequestError, match="window"):
                num_tokens(kind, t, h, w)


@pytest.mark.parametrize("kind", CONNECTOR_TYPES)
@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 5, 8, 16])
def test_a_still_image_equals_copies_of_one_frame(kind: str, num_frames: int) -> None:
    connector = make(kind, 32)
    frame = torch.randn(2, 5, 7, 32)
    copies = frame.unsqueeze(1).expand(-1, num_frames, -1, -1, -1)
    try:
        expected = connector(copies)
    except RequestError:
        assert num_frames == 1
        assert kind in ("stc_connector_v35", "stp_connector")
        with pytest.raises(RequestError, match="window"):
            connector.still_stage(connector.frame_stage(frame), num_frames)
        return
    still = connector.still_stage(connector.frame_stage(frame), num_frames)
    assert deviation(still, expected) < TOLERANCE


def test_a_still_image_computes_few_slots() -> None:
    assert still_plan(16, kernel=2, padding=0) == (2, [0] * 8)
    assert still_plan(16, kernel=2, padding=1) == (4, [0, *[1] * 7, 2])
    assert still_plan(5, kernel=2, padding=1) == (3, [0, 1, 1])
    assert still_plan(4, kernel=1, padding=1) == (1, [0, 1, 1, 1, 1, 0])


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("kernel", [(2, 2, 2), (1, 2, 2)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, TOLERANCE), (torch.bfloat16, 2e-2)])
def test_conv3d_as_matrix_product(
    kernel: tuple[int, int, int], padding: int, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    conv = StridedConv3d(12, kernel, padding).to(dtype)
    x = torch.randn(2, 5, 7, 4, 12, dtype=dtype)
    results = {}
    for method in ("matmul", "conv"):
        conv.method = method
        conv.zero_grad()
        y = conv(x)
        y.float().square().mean().backward()
        assert conv.weight.grad is not None
        results[method] = (y.float(), conv.weight.grad.float())
    for fast, plain in zip(results["matmul"], results["conv"]):
        assert deviation(fast, plain) < tolerance  # bf16: one rounding step of 2^-8 either way


@pytest.mark.parametrize("kind", CONNECTOR_TYPES)
def test_bf16_stays_close_to_fp32(kind: str) -> None:
    connector, tensors = golden(kind)
    x = tensors["case0.input"]
    with torch.no_grad():
        output = connector.bfloat16()(x.bfloat16()).float()
    # Eight mantissa bits through up to 26 layers: a few percent of the largest magnitude.
    assert deviation(output, tensors["case0.output"]) < 5e-2


def test_inner_width_and_depth() -> None:
    connector = make("stc_connector_v35", 40, 48, mm_connector_width=16, mm_connector_depth=2)
    assert connector(torch.randn(1, 8, 49, 40)).shape == (1, 36, 48)
    shapes = {k: tuple(p.shape) for k, p in connector.named_parameters()}
    assert shapes["sampler.0.weight"] == (16, 16, 2, 2, 2)
    assert shapes["readout.0.weight"] == (48, 16)
    assert "s1.b2.conv1.conv.weight" in shapes
    assert "s1.b3.conv1.conv.weight" not in shapes


@pytest.mark.parametrize("kind", ["spatial_conv", "spatial_pool"])
def test_depth_zero_needs_equal_widths(kind: str) -> None:
    with pytest.raises(RequestError, match="mm_connector_width=24"):
        make(kind, 24, 32)
    assert make(kind, 24, 32, mm_connector_width=24)(torch.randn(1, 4, 16, 24)).shape[-1] == 32


@pytest.mark.parametrize("kind", ["", "identity", "mlp0x_gelu", "qformer"])
def test_unknown_types_are_named(kind: str) -> None:
    with pytest.raises(RequestError, match="stc_connector_v35"):
        make(kind)
    with pytest.raises(RequestError, match="stc_connector_v35"):
        num_tokens(kind, 8, 6, 6)


def test_grids_must_be_square_unless_given() -> None:
    with pytest.raises(RequestError, match="square"):
        as_grid(torch.zeros(1, 2, 6, 3))
    assert as_grid(torch.zeros(1, 2, 9, 3)).shape == (1, 2, 3, 3, 3)
