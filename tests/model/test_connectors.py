"""Connectors against the official results, the plain computation, and each other."""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from videollama2.errors import RequestError
from videollama2.model.connectors import CONNECTOR_TYPES, Connector, build_connector, num_tokens
from videollama2.model.connectors import product as product_module
from videollama2.model.connectors.base import as_grid
from videollama2.model.connectors.plain import plain_forward
from videollama2.model.connectors.product import few_frames_at_a_time, product
from videollama2.model.connectors.sampler import StridedConv3d, window_kinds

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
@pytest.mark.parametrize("grad", [False, True])
def test_a_still_image_equals_copies_of_one_frame(kind: str, num_frames: int, grad: bool) -> None:
    connector = make(kind, 32).requires_grad_(grad)
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
    with torch.set_grad_enabled(grad):
        still = connector.still_stage(connector.frame_stage(frame), num_frames)
    assert deviation(still, expected) < TOLERANCE
    if grad:
        compared = [p for p in connector.parameters() if p.requires_grad]
        gradients = [torch.autograd.grad(y.square().mean(), compared) for y in (still, expected)]
        for name, a, b in zip(dict(connector.named_parameters()), *gradients):
            assert deviation(a, b) < 1e-4, name


@pytest.mark.parametrize("kind", CONNECTOR_TYPES)
def test_a_still_image_equals_copies_in_bf16(kind: str) -> None:
    connector = make(kind, 32).bfloat16()
    frame = torch.randn(2, 5, 7, 32).bfloat16()
    with torch.no_grad():
        still = connector.still_stage(connector.frame_stage(frame), 8)
        copies = connector(frame.unsqueeze(1).expand(-1, 8, -1, -1, -1))
    # A slot that is the sum of two rounds twice, and 13 layers follow.
    assert deviation(still.float(), copies.float()) < 5e-2


@pytest.mark.parametrize("kind", CONNECTOR_TYPES)
@pytest.mark.parametrize("chunk_bytes", [1, 2**30])
@pytest.mark.parametrize("shape", [(1, 8, 6, 6), (2, 5, 7, 4), (3, 2, 3, 9)])
def test_equal_to_the_plain_computation(
    kind: str, chunk_bytes: int, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product_module, "CPU_CHUNK_BYTES", chunk_bytes)
    connector = make(kind, 32)
    x = torch.randn(*shape, 32)
    with torch.no_grad():
        expected = plain_forward(connector, x)
        assert deviation(connector(x), expected) < TOLERANCE
        rounded = copy.deepcopy(connector).bfloat16()(x.bfloat16()).float()
    assert deviation(rounded, expected) < 5e-2
    x.requires_grad_()
    compared = [x, *connector.parameters()]
    gradients = [
        torch.autograd.grad(f(x).square().mean(), compared) for f in (connector, partial(plain_forward, connector))
    ]
    for name, a, b in zip(["input", *dict(connector.named_parameters())], *gradients):
        assert deviation(a, b) < 1e-4, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [None, torch.randn(6)])
def test_products_equal_linear_layers(dtype: torch.dtype, bias: torch.Tensor | None) -> None:
    weight = torch.randn(6, 5).to(dtype)
    bias = None if bias is None else bias.to(dtype)
    inputs = (
        torch.randn(3, 4, 5),
        torch.randn(5, 4, 3).permute(1, 2, 0),
        torch.randn(2, 4, 10)[..., ::2],
        torch.randn(0, 5),
    )
    for x in inputs:
        x = x.to(dtype)
        expected = F.linear(x, weight, bias)
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                torch.testing.assert_close(product(x, weight, bias), expected)
    weight.requires_grad_()
    assert product(inputs[0].to(dtype), weight, bias).requires_grad


def test_frames_pass_in_pieces_only_without_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_module, "CPU_CHUNK_BYTES", 200)
    pieces = []

    def double(x: torch.Tensor) -> torch.Tensor:
        pieces.append(len(x))
        return 2 * x

    x = torch.randn(5, 3)
    with torch.no_grad():
        assert torch.equal(few_frames_at_a_time(double, x, frame_bytes=100), 2 * x)
        assert pieces == [2, 2, 1]
        few_frames_at_a_time(double, x[:0], frame_bytes=0)
        few_frames_at_a_time(double, x, frame_bytes=1000)
    few_frames_at_a_time(double, x, frame_bytes=100)
    assert pieces == [2, 2, 1, 0, *[1] * 5, 5]


def test_a_still_image_computes_few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, yes, no = [], True, False
    convolve = StridedConv3d._convolve
    monkeypatch.setattr(
        StridedConv3d, "_convolve", lambda self, x, padding: seen.append(x.shape[1]) or convolve(self, x, padding)
    )
    for kernel, padding, frames, slots in (
        (2, 0, 2, [0] * 8),  # all windows alike
        (2, 1, 4, [0, *[1] * 7, 2]),  # the two ends; what is between is their sum
        (1, 1, 2, [0, *[1] * 16, 0]),  # padding alone, the frame alone
    ):
        _, indices = StridedConv3d(4, (kernel, 2, 2), padding).still(torch.randn(1, 4, 4, 4), 16)
        assert indices == slots
        assert seen.pop() == frames
    assert window_kinds(5, kernel=2, padding=1) == [(no, yes), (yes, yes), (yes, yes)]


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
    for method in ("product", "conv"):
        conv.method = method
        conv.zero_grad()
        y = conv(x)
        y.float().square().mean().backward()
        assert conv.weight.grad is not None
        results[method] = (y.float(), conv.weight.grad.float())
    for fast, plain in zip(results["product"], results["conv"]):
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
