"""The benchmarks: plain versions equal the fast ones, unequal results are never timed, lines hold what they promise."""

import json

import av
import pytest
import torch
from av.video.frame import PictureType

from benchmarks import __main__ as command_line
from benchmarks.speed import clips, inference, media, model
from benchmarks.speed.plain_beats import plain_beats
from benchmarks.speed.plain_fbank import plain_fbank
from benchmarks.speed.timing import Result, Settings, in_turns
from videollama2.media import load_video
from videollama2.model.audio import build_audio_tower
from videollama2.model.presets import CLIP_VIT_L_14_336
from videollama2.model.vision import build_vision_tower
from videollama2.processing.fbank import kaldi_fbank

SMALL_VIT = {
    **CLIP_VIT_L_14_336,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "image_size": 42,
}
SMALL_BEATS = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 2, "encoder_layers": 2}


def test_unequal_results_are_not_timed():
    with pytest.raises(AssertionError, match=r"thing: results differ by 1\.00e\+00"):
        in_turns(
            "thing", lambda: torch.ones(2), lambda: torch.zeros(2), runs=1, tolerance=1e-5, sizes={}, unit="absolute"
        )


def test_a_line_has_medians_spread_and_ratio():
    calls = []
    result = in_turns(
        "thing",
        lambda: calls.append("fast") or torch.ones(2),
        lambda: calls.append("plain") or torch.ones(2),
        runs=3,
        tolerance=0,
        sizes={"n": 2},
    )
    assert calls == ["fast", "plain"] * 4
    line = json.loads(json.dumps(result.to_dict()))
    assert line["runs"] == 3
    low, high = line["fast_spread_s"]
    assert low <= line["fast_s"] <= high
    assert {"ratio", "cpu_ratio", "plain_cpu_s", "check", "sizes"} <= line.keys()


def test_plain_beats_equals_the_tower():
    torch.manual_seed(0)
    tower = build_audio_tower({"tower": "beats", "finetuned_model": False, "embed_dim": 16, **SMALL_BEATS}).eval()
    fbank = torch.randn(1, 400, 128) * 6 + 15
    with torch.no_grad():
        torch.testing.assert_close(plain_beats(tower, fbank), tower.extract_features(fbank), atol=1e-5, rtol=1e-5)


def test_plain_fbank_equals_the_vectorised_one():
    wave = torch.randn(8000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3000
    torch.testing.assert_close(plain_fbank(wave), kaldi_fbank(wave), atol=2e-3, rtol=0)


def test_all_layers_give_what_the_used_ones_give():
    torch.manual_seed(0)
    tower = build_vision_tower({**SMALL_VIT, "num_hidden_layers": 3, "keep_unused_layers": True}).eval()
    frames = torch.randn(2, 3, 42, 42)
    with torch.no_grad():
        used = tower(frames).grid.flatten(1, 2)
        assert torch.equal(model.all_layers(tower, frames, attention="sdpa"), used)
        torch.testing.assert_close(model.all_layers(tower, frames), used)
        assert torch.equal(tower(frames).grid.flatten(1, 2), used)  # the tower keeps its own attention


def test_clips_are_made_once_and_decode_alike(tmp_path):
    path = clips.moving_clip(tmp_path, 1, width=160, height=96, fps=10)
    made = path.stat().st_mtime_ns
    assert clips.moving_clip(tmp_path, 1, width=160, height=96, fps=10).stat().st_mtime_ns == made
    with av.open(str(path)) as container:
        assert container.streams.audio
        assert any(frame.pict_type == PictureType.B for frame in container.decode(video=0))
    ours = load_video(path, 4).frames
    assert all((a == b).all() for a, b in zip(ours, media.decode_everything(path, 4), strict=True))
    assert (ours[0] != ours[-1]).any()


def test_import_is_measured_in_a_fresh_interpreter(tmp_path):
    (result,) = inference.import_time(Settings(runs=3, cache=tmp_path))
    assert result.check["torch_imported"] is False
    assert len(result.fast) == 3


def test_a_failed_comparison_is_a_line_and_an_exit_code(monkeypatch, capsys, tmp_path):
    def unequal(settings):
        yield Result("first", {}, {})
        raise AssertionError("results differ")

    monkeypatch.setitem(command_line.BENCHMARKS, "import", unequal)
    assert command_line.main(["import", "--cache", str(tmp_path), "--markdown", str(tmp_path / "page.md")]) == 1
    assert "| import | results differ | | | | | FAIL |" in (tmp_path / "page.md").read_text()
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["benchmark"] == "first"
    assert second["error"] == "results differ"
    assert {"machine", "versions", "command"} <= second.keys()
    with pytest.raises(SystemExit) as stop:
        command_line.main(["nothing"])
    assert stop.value.code == 2
