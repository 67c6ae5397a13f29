"""EfficientNet-Lite0 against a second, plain implementation that keeps batch norms apart."""

import math

import pytest
import torch
from torch.nn import functional as F

from videollama2.checkpoints.default.convert import convert_frame_encoder
from videollama2.model.vision.base import build_vision_tower
from videollama2.model.vision.efficientnet import LITE0, STEM_WIDTH, EfficientNetLite0Tower


def published_weights(seed=0):
    """Random weights under the published names, batch norms with lively statistics."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}

    def conv(name, norm, num_out, num_in, kernel):
        scale = 1.0 / math.sqrt(num_in * kernel * kernel)
        weights[name + ".weight"] = torch.randn(num_out, num_in, kernel, kernel, generator=generator) * scale
        weights[norm + ".weight"] = torch.rand(num_out, generator=generator) + 0.5
        weights[norm + ".bias"] = torch.randn(num_out, generator=generator) * 0.2
        weights[norm + ".running_mean"] = torch.randn(num_out, generator=generator) * 0.1
        weights[norm + ".running_var"] = torch.rand(num_out, generator=generator) + 0.5
        weights[norm + ".num_batches_tracked"] = torch.tensor(7)

    conv("_conv_stem", "_bn0", STEM_WIDTH, 3, 3)
    width, index = STEM_WIDTH, 0
    for stage in LITE0:
        for _ in range(stage.num_blocks):
            block, inner = f"_blocks.{index}.", width * stage.expansion
            if stage.expansion > 1:
                conv(block + "_expand_conv", block + "_bn0", inner, width, 1)
            conv(block + "_depthwise_conv", block + "_bn1", inner, 1, stage.kernel)
            conv(block + "_project_conv", block + "_bn2", stage.width, inner, 1)
            width, index = stage.width, index + 1
    conv("_conv_head", "_bn1", 1280, width, 1)
    weights["_fc.weight"] = torch.randn(1000, 1280, generator=generator) * 0.02
    weights["_fc.bias"] = torch.randn(1000, generator=generator)
    return weights


def plain_forward(weights, pixels):
    """TensorFlow's rules written out: explicit SAME padding, convolution, batch norm with epsilon 1e-3, ReLU6."""

    def layer(x, conv, norm, stride=1, depthwise=False, activate=True):
        weight = weights[conv + ".weight"]
        kernel, size = weight.shape[-1], x.shape[-1]
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] if depthwise else 1)
        keys = ("running_mean", "running_var", "weight", "bias")
        x = F.batch_norm(x, *(weights[f"{norm}.{key}"] for key in keys), eps=1e-3)
        return x.clamp(0, 6) if activate else x

    x = layer(pixels, "_conv_stem", "_bn0", stride=2)
    strides = [stage.stride if i == 0 else 1 for stage in LITE0 for i in range(stage.num_blocks)]
    for index, stride in enumerate(strides):
        block, skip = f"_blocks.{index}.", x
        if block + "_expand_conv.weight" in weights:
            x = layer(x, block + "_expand_conv", block + "_bn0")
        x = layer(x, block + "_depthwise_conv", block + "_bn1", stride, depthwise=True)
        x = layer(x, block + "_project_conv", block + "_bn2", activate=False)
        if x.shape == skip.shape:
            x = x + skip
    x = layer(x, "_conv_head", "_bn1")
    return x, F.linear(x.mean((2, 3)), weights["_fc.weight"], weights["_fc.bias"]).softmax(-1)


@pytest.fixture(scope="module")
def weights():
    return published_weights()


@pytest.fixture(scope="module")
def tower(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "net.pth"
    torch.save(weights, path)
    built = build_vision_tower({"tower": "efficientnet_lite0"}).eval()
    built.load_state_dict(convert_frame_encoder(path))
    return built


@pytest.mark.parametrize("size", [224, 97])
def test_equals_plain_implementation(tower, weights, size):
    pixels = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    with torch.no_grad():
        grid, tags = plain_forward(weights, pixels)
        features = tower(pixels)
    assert features.grid.shape == (3, math.ceil(size / 32), math.ceil(size / 32), 1280)
    # Folding norms reorders fp32 sums over 17 layers; the grid's values lie in [0, 6].
    torch.testing.assert_close(features.grid, grid.permute(0, 2, 3, 1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.tags, tags, atol=1e-5, rtol=1e-4)
    assert features.grid.std() > 0.1


def test_frames_do_not_depend_on_their_company(tower):
    pixels = torch.randn(5, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        together = tower(pixels)
        alone = [tower(frame[None]) for frame in pixels]
    torch.testing.assert_close(together.grid, torch.cat([one.grid for one in alone]), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(together.tags, torch.cat([one.tags for one in alone]), atol=1e-6, rtol=1e-4)


def test_gradient_reaches_the_stem(tower):
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    tower.zero_grad()
    tower(pixels).grid.sum().backward()
    assert tower.stem.conv.weight.grad.abs().sum() > 0
    tower.zero_grad()


def test_no_frames_give_an_empty_grid(tower):
    with torch.no_grad():
        features = tower(torch.zeros(0, 3, 224, 224))
    assert features.grid.shape == (0, 7, 7, 1280)
    assert features.tags.shape == (0, 1000)


def test_bf16_stays_near_fp32(tower):
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(4)).clamp(-1, 1)
    half = EfficientNetLite0Tower().eval()
    half.load_state_dict(tower.state_dict())
    half.to(torch.bfloat16)
    with torch.no_grad():
        full, rough = tower(pixels).grid, half(pixels.bfloat16())
    assert rough.grid.dtype == rough.tags.dtype == torch.bfloat16
    assert F.cosine_similarity(full.flatten(), rough.grid.float().flatten(), dim=0) > 0.99
