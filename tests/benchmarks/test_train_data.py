"""The benchmarks of training data: what they promise about packing holds, and their sides hold the same samples."""

import pytest

from benchmarks.speed import train_data
from benchmarks.speed.timing import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(runs=1, cache=tmp_path)


def test_packing_computes_a_quarter_fewer_positions(settings):
    (result,) = train_data.packing_positions(settings)
    assert result.extra["positions_ratio"] >= 1.3
    assert result.extra["packed_waste"] < result.extra["grouped_waste"] < result.extra["padded_waste"]
    assert result.extra["packed_waste"] < 0.03


def test_packed_and_padded_steps_have_one_loss(settings):
    (result,) = train_data.packing(settings)
    assert result.check["deviation"] <= train_data.LOSS_TOLERANCE
    assert result.extra["packed_waste"] < 0.1 < result.extra["padded_waste"]
