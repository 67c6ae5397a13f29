"""Sampling rules, frames and pixels, waveforms and filterbanks."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from PIL import Image

from videollama2.media import load_audio, load_image, load_video
from videollama2.media.sampling import clip_bounds, fps_indices, ordered_bounds, uniform_indices
from videollama2.media.types import VideoClip
from videollama2.media.windows import official_video_clips
from videollama2.processing.audio import AudioSpec, audio_features
from videollama2.processing.pixels import PixelSpec, preprocess_frames

from .measure import FBANK, GOLDEN, MODULE, PIXELS, Scale, Table, bf16_steps, golden_json, golden_tensors

LEVELS = PIXELS * 127.5  # the pixel tolerance in levels of 0..255


def sampling(table: Table) -> None:
    """Which frames are taken, as pure arithmetic."""
    record = golden_json("sampling/frame_sample.json")
    for num_frames, by_duration in record["uniform"].items():
        for duration, expected in by_duration.items():
            ours = uniform_indices(int(duration), int(num_frames))
            table.equal("sampling", "uniform indices", f"{num_frames} of {duration}", ours, expected)
    for case in record["fps"]:
        name = f"{case['duration']} at {case['fps']}"
        if isinstance(case["indices"], str):  # the official code divides by zero below one frame per second
            table.row("sampling", "slow sources that only ours samples", "information").add(name, 0.0)
        else:
            ours = fps_indices(case["duration"], case["fps"])
            if isinstance(case["indices"], dict):  # long lists are recorded by their length and ends
                ours = {"len": len(ours), "first": ours[:5], "last": ours[-5:]}
            table.equal("sampling", "fps indices", name, ours, case["indices"])


def media(table: Table) -> None:
    """Files to frames to the vision tower's input."""
    specs = {
        path.name: PixelSpec.from_preprocessor_config(golden_json(f"processors/{path.name}/preprocessor_config.json"))
        for path in (GOLDEN / "processors").iterdir()
    }
    for case in golden_json("media_golden/media.json")["cases"]:
        group = f"media {case['kind']}s" + (" (official)" if case["file"].startswith("official:") else "")
        source = _source_of(table, case["file"])
        if source is None:
            table.row(group, "pixels after the processor", "absolute", PIXELS).not_shipped += 1
            continue
        if "error" in case:
            table.refuses(group, str(case["case"]), lambda case=case, source=source: _load(case, source))
            continue
        _compare_frames(table, group, case, _load(case, source), specs[case["processor"]])


def _source_of(table: Table, name: str) -> Any:
    """The source of a case: a path, or the list or array that its text describes."""
    if "of " not in name:
        return table.find(name)
    folder = GOLDEN / "media" / "frames"
    if name.startswith("list of 3 PIL"):
        return [Image.open(folder / f"{i}.png") for i in (1, 2, 3)]
    if name.startswith("list of paths"):
        return [folder / f"{i}.png" for i in (1, 2, 3, 4)]
    numbers = [1] * 40 if "40 copies" in name else range(1, 11)
    return np.stack([np.asarray(Image.open(folder / f"{i}.png").convert("RGB")) for i in numbers])


def _load(case: dict[str, Any], source: Any) -> VideoClip:
    if case["kind"] == "image":
        return load_image(source)
    args = case["args"]
    return load_video(source, args["num_frames"], start=args.get("s"), end=args.get("e"))


def _compare_frames(table: Table, group: str, case: dict[str, Any], clip: VideoClip, spec: PixelSpec) -> None:
    name, args = f"case {case['case']}", case["args"]
    pad = args["aspect_ratio"] == "pad"
    if case["kind"] == "video" and case["sampled_relative"] is not None:
        start, end, _ = ordered_bounds(args.get("s"), args.get("e"))
        rate = 25.0 if case["file"].endswith(".gif") else clip.fps
        first = clip_bounds(clip.num_source_frames, rate, start, end)[0] if {"s", "e"} & args.keys() else 0
        ours = [index - first for index in clip.indices if index >= 0]
        if case["file"].endswith(".gif"):  # the official reader meets each frame once
            table.equal(group, "frame indices", name, ours, sorted(set(case["sampled_relative"])))
        else:
            table.equal(group, "frame indices", name, ours, case["sampled_relative"])
    frames = [_square(frame, spec.background) if pad else frame for frame in clip.frames]
    sizes = {(frame.shape[1], frame.shape[0]) for frame in frames}
    table.equal(group, "frame sizes", name, sizes, {tuple(size) for size in case["frame_sizes_wh"]})
    means = [float(frame.mean()) for frame in frames]
    table.close(group, "frame means (levels)", name, means, case["frame_mean"], LEVELS, "absolute")
    digests = [hashlib.sha256(np.ascontiguousarray(frame).tobytes()).hexdigest()[:16] for frame in frames]
    row = table.row(group, "sources with a frame that is not bit-identical", "information")
    row.cases, row.deviation = row.cases + 1, row.deviation + (digests != case["frame_sha256"])

    pixels = preprocess_frames(clip.frames, spec, pad=pad)
    table.equal(group, "shape", name, list(pixels.shape), case["shape"])
    if list(pixels.shape) != case["shape"]:
        return
    for quantity, ours in (("mean", pixels.mean((1, 2, 3))), ("std", pixels.flatten(1).std(1))):
        table.close(group, "pixel mean and deviation", name, ours, case[quantity], PIXELS, "absolute")
    tensors = golden_tensors("media_golden/media.safetensors")
    stored = case.get("stored_frames", [0])
    for key, sample in (("pixels_s16", pixels[stored][:, :, 5::16, 5::16]), ("row100", pixels[0, :, 100, :])):
        expected = tensors.get(f"case{case['case']}.{key}")
        if expected is not None:
            sample = sample.reshape(expected.shape) if sample.numel() == expected.numel() else sample
            table.close(group, "pixels after the processor", name, sample, expected, PIXELS, "absolute")
    raw = tensors.get(f"case{case['case']}.raw0_s8")
    if raw is not None:
        ours = torch.from_numpy(frames[0][::8, ::8].copy())
        table.close(group, "first frame before the processor (levels)", name, ours, raw, LEVELS, "absolute")


def _square(frame: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    height, width = frame.shape[:2]
    side = max(height, width)
    canvas = np.full((side, side, 3), colour, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top : top + height, left : left + width] = frame
    return canvas


def audio(table: Table) -> None:
    """Files and sound tracks to waveforms to filterbanks."""
    tensors = golden_tensors("audio/audio.safetensors")
    for case in golden_json("audio/audio.json")["cases"]:
        group = "sound files" if case["kind"] == "audio_file" else "sound of videos"
        name = f"case {case['case']}"
        path = table.find(case["file"])
        if path is None:
            table.row(group, "fbank", "absolute", FBANK).not_shipped += 1
            continue
        policy = "official-file" if case["kind"] == "audio_file" else "official-video"
        clip = load_audio(path, policy, seed=0)
        wave = torch.from_numpy(clip.waveform).double() * 2**15
        stored = {
            key.split(".", 1)[1]: value for key, value in tensors.items() if key.startswith(f"case{case['case']}.")
        }
        table.equal(group, "waveform length", name, len(wave), case["wave_len"])
        for key, ours in (("wave_s97", wave[::97]), ("wave_first800", wave[:800])):
            table.close(group, "waveform", name, ours.float(), stored[key], MODULE)
        table.close(group, "waveform mean magnitude", name, float(wave.abs().mean()), case["wave_abs_mean"], MODULE)
        if case["clips"] is not None and clip.status != "absent":
            expected = [(Fraction(a), Fraction(b)) for a, b in case["clips"]]
            table.equal(group, "windows (exact fractions)", name, official_video_clips(clip.duration), expected)
        exact, rounded = audio_features(clip, AudioSpec(dtype="float32")), audio_features(clip, AudioSpec())
        table.equal(group, "fbank shape", name, [1, *exact.shape], case["shape"])
        for quantity, ours in (
            ("mean", exact.mean()),
            ("std", exact.std()),
            ("min", exact.min()),
            ("max", exact.max()),
        ):
            table.close(group, "fbank statistics", name, ours, case[f"fbank_{quantity}"], FBANK, "absolute")
        ours_f32, ours_bf16 = exact[::101], rounded[::41]
        if case["kind"] != "audio_file":
            ours_f32 = _without_decoder_steps(table, group, ours_f32, stored["fbank_f32_r101"], "absolute")
            ours_bf16 = _without_decoder_steps(table, group, ours_bf16, stored["fbank_bf16_r41"].float(), "bf16 steps")
        table.close(group, "fbank", name, ours_f32, stored["fbank_f32_r101"], FBANK, "absolute")
        table.close(group, "fbank in bf16", name, ours_bf16, stored["fbank_bf16_r41"], 1, "bf16 steps")
        if "fbank_full_bf16_first320" in stored:
            first = stored["fbank_full_bf16_first320"]
            table.close(group, "fbank in bf16", name, rounded[:320], first, 1, "bf16 steps")


def _without_decoder_steps(
    table: Table, group: str, ours: torch.Tensor, golden: torch.Tensor, scale: Scale
) -> torch.Tensor:
    """Set to golden what one sample on the neighbouring 16-bit level explains; count the windows it happens in.

    Builds of FFmpeg decode lossy sound to slightly different floats, so that a few samples in ten thousand round to the
    neighbouring level. Such a unit impulse changes a bin of power e^v by the order of e^(-v/2).
    """
    off = (ours - golden).abs()
    if scale == "bf16 steps":
        far, rounding = (bf16_steps(ours) - bf16_steps(golden)).abs() > 1, golden.abs() * 2**-7
    else:
        far, rounding = off > FBANK, torch.zeros_like(golden)
    explained = far & (off <= 16 * torch.exp(-golden / 2) + rounding)
    row = table.row(group, "fbank windows with a decoded sample one 16-bit step off", "information")
    row.cases += len(ours)
    row.deviation += int(explained.any(1).sum())
    return torch.where(explained, golden, ours)
