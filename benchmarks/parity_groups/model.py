"""The three tiny official checkpoints, loaded as users load them: features, embeddings, logits, losses, texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from videollama2.checkpoints.load import LoadedCheckpoint, load_checkpoint
from videollama2.model.splice import sentinels_of
from videollama2.processing.prompt import official_prompt
from videollama2.processing.tokenizer import decode_ids

from .measure import GOLDEN, MODEL, MODULE, Table, golden_json, golden_tensors
from .text import BRANCHES

CHECKPOINTS = ("VideoLLaMA2-tiny-mistral", "VideoLLaMA2.1-tiny-qwen2-16F", "VideoLLaMA2.1-tiny-AV")
_GRADIENT_GROUPS = {
    "mm_projector": "model.mm_projector.",
    "mm_projector_a": "model.mm_projector_a.",
    "lm_head": "lm_head",
    "layers": "model.language_model.layers",
    "embed": "model.language_model.embed_tokens",
    "vision_tower": "model.vision_tower",
}


def load(name: str) -> LoadedCheckpoint:
    """A golden checkpoint with its towers beside it."""
    config = golden_json(f"checkpoints/{name}/config.json")
    towers = {"vision_tower": "mm_vision_tower", "audio_tower": "mm_audio_tower"}
    parts = {part: GOLDEN / config[key] for part, key in towers.items() if config.get(key)}
    return load_checkpoint(GOLDEN / "checkpoints" / name, dtype=torch.float32, offline=True, parts=parts)


def models(table: Table) -> None:
    """Every recorded quantity of every checkpoint."""
    for name in CHECKPOINTS:
        loaded, record, tensors = (
            load(name),
            golden_json(f"model/{name}.json"),
            golden_tensors(f"model/{name}.safetensors"),
        )
        _encoders(table, name, loaded.model, tensors)
        for case, content in record["cases"].items():
            if case.startswith("batch_"):
                _batch(table, name, loaded.model, case, content, tensors)
            else:
                _single(table, name, loaded, BRANCHES[record["branch"]], case, content, tensors)


def _encoders(table: Table, group: str, model: Any, tensors: dict[str, Tensor]) -> None:
    image, video = _pixels(tensors, "image"), _pixels(tensors, "video")
    with torch.no_grad():
        for key, frames in (("vision.image.features", image), ("vision.video.features_frames0_1", video[:2])):
            grid = model.model.vision_tower(frames).grid.flatten(1, 2)
            table.close(group, "vision tower", key, grid, tensors[key], MODULE)
        ours = model.encode_visual(torch.cat([image, video]), [1, len(video)], [True, False])
        table.close(group, "tokens of image and video", "image", ours[0], tensors["mm.image"][0], MODULE)
        table.close(group, "tokens of image and video", "video", ours[1], tensors["mm.video"][0], MODULE)
        for key in [key.removeprefix("mm.") for key in tensors if key.startswith("mm.audio")]:
            fbank = tensors[f"in.{key}"].float()
            features = model.model.audio_tower(fbank, torch.tensor([fbank.shape[1]]))[0]
            table.close(group, "BEATs", key, features, tensors[f"beats.{key}.features"][0], MODULE)
            table.close(group, "tokens of sound", key, model.encode_audio(fbank)[0], tensors[f"mm.{key}"][0], MODULE)


def _single(
    table: Table,
    group: str,
    loaded: LoadedCheckpoint,
    branch: Any,
    case: str,
    content: dict[str, Any],
    tensors: dict[str, Tensor],
) -> None:
    model = loaded.model
    if "error" in content:  # ours can do what the official code cannot here; there is nothing to compare with
        table.row(group, "requests that only ours answers", "information").add(case, 0.0)
        return
    prompt = official_prompt(loaded.tokenizer, loaded.model_type, content["modal"], content["instruct"], branch)
    table.equal(group, "prompt ids", case, list(prompt.input_ids), content["input_ids"])
    ids = torch.tensor([content["input_ids"]])
    arguments = _arguments(tensors, [] if content["media"] is None else [content["media"]])
    with torch.no_grad():
        spliced = model.model.splice_media(ids, **arguments)
        logits = model(ids, **arguments).logits[0, content["logit_positions"]]
    table.close(group, "inputs_embeds", case, spliced.inputs_embeds[0], tensors[f"{case}.inputs_embeds"], MODULE)
    mask = spliced.attention_mask[0].long()
    table.equal(group, "attention masks", case, mask, tensors[f"{case}.attention_mask"].long())
    table.close(group, "logits", case, logits, tensors[f"{case}.logits"], MODEL, "absolute")
    for key, settings in (
        ("generated_ids", {}),
        ("generated_ids_repetition_penalty_1", {"repetition_penalty": 1.0}),
    ):
        pad, length = loaded.tokenizer.pad_token_id, content["max_new_tokens"]
        options = {"do_sample": False, "pad_token_id": pad, "max_new_tokens": length, **settings, **arguments}
        generated = model.generate(ids, **options)[0].tolist()
        table.equal(group, "greedy ids", f"{case} {key}", generated, content[key])
        if not settings:
            table.equal(group, "texts", case, decode_ids(loaded.tokenizer, generated).strip(), content["text"])


def _batch(
    table: Table, group: str, model: Any, case: str, content: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    ids, mask, labels = (tensors[f"{case}.{key}"] for key in ("input_ids", "attention_mask", "labels"))
    # The official code feeds a dummy to every row without media; ours has nothing to feed.
    media = [entry[0] for entry in content["media"] if entry[0] != "zeros3d"]
    table.equal(group, "media of a batch", case, len(sentinels_of(ids, mask)), len(media))
    arguments = _arguments(tensors, media)
    spliced = model.model.splice_media(ids, mask, labels, **arguments)
    visible = tensors[f"{case}.out.attention_mask"]
    table.equal(group, "attention masks", case, spliced.attention_mask, visible)
    table.equal(group, "labels", case, spliced.labels, tensors[f"{case}.out.labels"])
    table.close(group, "inputs_embeds", case, spliced.inputs_embeds, tensors[f"{case}.out.inputs_embeds"], MODULE)

    model.zero_grad()
    output = model(ids, attention_mask=mask, labels=labels, **arguments)
    output.loss.backward()
    table.close(group, "losses", case, output.loss, content["loss"], MODEL)
    for row, last in enumerate(visible.long().cumsum(1).argmax(1).tolist()):
        expected = tensors[f"{case}.logits_last"][row]
        table.close(group, "logits", case, output.logits[row, last - 3 : last + 1], expected, MODEL, "absolute")
    norms = {key: p.grad.norm().item() for key, p in model.named_parameters() if p.grad is not None}
    for part, prefix in _GRADIENT_GROUPS.items():
        norm = sum(value**2 for key, value in norms.items() if key.startswith(prefix)) ** 0.5
        table.close(group, "gradient norms by part", f"{case} {part}", norm, content["grad_norm"][part], MODEL)
    expected_norms = content["mm_projector_param_grad_norms"]
    keys = sorted(expected_norms)
    # Relative to the largest norm of the projector, as elements of one long gradient vector.
    ours = [norms.get(key, 0.0) for key in keys]
    golden = [expected_norms[key] for key in keys]
    table.close(group, "gradient norms by projector parameter", case, ours, golden, MODEL)
    model.zero_grad()


def _pixels(tensors: dict[str, Tensor], name: str) -> Tensor:
    return tensors[f"in.{name}"].float() / 127.5 - 1


def _arguments(tensors: dict[str, Tensor], media: list[Any]) -> dict[str, Tensor]:
    """Arguments for media in order of their sentinels; an entry is a name, or a video's and its sound's name."""
    frames, flags, sounds = [], [], []
    for entry in media:
        names = entry if isinstance(entry, dict) else {"audio" if entry.startswith("audio") else "video": entry}
        if "video" in names:
            frames.append(_pixels(tensors, names["video"]))
            flags.append("audio" in names)
        if "audio" in names:
            sounds.append(tensors[f"in.{names['audio']}"].float())
    arguments: dict[str, Tensor] = {}
    if frames:
        arguments["pixel_values"] = torch.cat(frames)
        arguments["num_frames"] = torch.tensor([len(item) for item in frames])
        arguments["video_has_audio"] = torch.tensor(flags)
    if sounds:
        arguments["audio_values"] = torch.cat(sounds)
        arguments["audio_lengths"] = torch.tensor([sound.shape[1] for sound in sounds])
    return arguments
