"""`load_checkpoint`: any checkpoint of any format to a model that is ready to run, with every weight accounted for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from videollama2.checkpoints import facts, keymaps
from videollama2.checkpoints.detect import BEATS, OURS, OURS_LORA, describe
from videollama2.checkpoints.files import read_json
from videollama2.checkpoints.fill import empty_weights, fill, move_buffers, still_empty, tied_names, weight_targets
from videollama2.checkpoints.hashing import hash_weights
from videollama2.checkpoints.hub import Progress
from videollama2.checkpoints.lora import attach
from videollama2.checkpoints.quantize import Quantizer
from videollama2.checkpoints.resolve import Resolved, resolve
from videollama2.checkpoints.sources import Sources, gather
from videollama2.checkpoints.tokenizer import load_tokenizer
from videollama2.checkpoints.verify import WeightReport
from videollama2.errors import CheckpointError, MissingDependencyError

# Our folders keep the front end of the audio tower in this file (pixel rules are in preprocessor_config.json).
AUDIO_PREPROCESSING_FILE = "audio_preprocessor_config.json"
PREPROCESSING_FILE = "preprocessor_config.json"
# Key of our config.json: the official model_type whose prompt rules hold.
PROMPT_KEY = "mm_prompt_model_type"
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclass(kw_only=True)
class LoadedCheckpoint:
    """A model and all that belongs to it.

    Attributes:
        model: `VideoLLaMA2ForConditionalGeneration` (inside a peft model with `merge_lora=False`), in eval mode.
        config: Its `VideoLLaMA2Config`.
        tokenizer: Its tokenizer.
        preprocessor_config: Pixel rules of the vision tower, as in `preprocessor_config.json`; None without one.
        audio_preprocessing: Fields of `processing.AudioSpec`; None for a model without ears.
        generation_config: The checkpoint's own (all EOS ids, repetition penalty), also set on the model.
        report: What became of every weight.
        model_hash: Fingerprint of the weights, hex; see `hashing`.
        kind: Format of the checkpoint, one of `detect.KINDS`.
        model_type: The model_type whose prompt rules hold: the official one.
        family: `VideoLLaMA2`, `VideoLLaMA2.1` or `VideoLLaMA2.1-AV`.
        modalities: Of text, image, video, audio.
        path: Local folder.
        tokenizer_folder: Where the tokenizer's own files are; None where there are none.
        sources: The tensors on disk the model was made from; None for a model made otherwise.
    """

    model: Any
    config: Any
    tokenizer: Any
    preprocessor_config: dict[str, Any] | None
    audio_preprocessing: dict[str, Any] | None
    generation_config: Any
    report: WeightReport
    model_hash: str
    kind: str
    model_type: str
    family: str
    modalities: tuple[str, ...]
    path: Path
    tokenizer_folder: Path | None = None
    sources: Sources | None = field(default=None, repr=False)


def load_checkpoint(
    path_or_id: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
    attn_implementation: str | None = None,
    quantization: str | None = None,
    offline: bool | None = None,
    parts: Mapping[str, str | Path] | None = None,
    strict: bool = True,
    merge_lora: bool = True,
    progress: Progress | None = None,
) -> LoadedCheckpoint:
    """Loads a checkpoint.

    Reads the official full, Base (pre-training) and LoRA formats, `.safetensors` or pickles, sharded or not, and ours.
    A weight that is missing, misshapen or damaged stops the load.

    Args:
        path_or_id: Local folder or hub id.
        device: Where the model goes.
        dtype: Of the model's weights; None or "auto": as the language model's on disk.
        attn_implementation: `sdpa` (default), `eager`, `flash_attention_2`, ...
        quantization: None, `8bit` or `4bit`; towers and connectors are kept out.
        offline: No downloads; None: as HF_HUB_OFFLINE says.
        parts: Places of `vision_tower`, `audio_tower`, `language_model`, `tokenizer`.
        strict: Whether weights nobody knows stop the load too.
        merge_lora: Add a LoRA to the weights; False keeps it apart in a peft model.
        progress: Told of downloads and of weights done.

    Raises:
        MissingFilesError: With the names of all missing files.
        CheckpointError: If the checkpoint is unknown, incomplete, mixed up or damaged.
        MissingDependencyError: If quantisation, flash attention or peft is asked for and not installed.
    """
    resolved = resolve(path_or_id, offline=offline, parts=parts, progress=progress)
    if resolved.detected.kind == BEATS:
        raise CheckpointError(
            f"{path_or_id} is a BEATs audio tower alone; give the folder of a whole VideoLLaMA 2 checkpoint."
        )
    return load_resolved(
        resolved,
        str(path_or_id),
        device=device,
        dtype=dtype,
        attn_implementation=attn_implementation,
        quantization=quantization,
        strict=strict,
        merge_lora=merge_lora,
        progress=progress,
    )


def load_resolved(
    resolved: Resolved,
    name: str,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
    attn_implementation: str | None = None,
    quantization: str | None = None,
    strict: bool = True,
    merge_lora: bool = True,
    progress: Progress | None = None,
    amend: Callable[[Any, Sources], None] | None = None,
) -> LoadedCheckpoint:
    """Loads a checkpoint whose files were found; arguments and errors as `load_checkpoint`.

    Args:
        resolved: The files.
        name: What to call the checkpoint in errors.
        device: See `load_checkpoint`, as the following.
        dtype: See `load_checkpoint`.
        attn_implementation: See `load_checkpoint`.
        quantization: See `load_checkpoint`.
        strict: See `load_checkpoint`.
        merge_lora: See `load_checkpoint`.
        progress: See `load_checkpoint`.
        amend: Called with the empty model and the tensors on disk, to add tensors that no file has (fresh connectors).
    """
    config, sources = read_config(resolved)
    chosen_dtype = pick_dtype(dtype, sources)
    quantizer = Quantizer(quantization, chosen_dtype, device) if quantization is not None else None
    model = build_empty(config, attn_implementation)
    if quantizer is not None:
        quantizer.prepare(model)
    if amend is not None:
        amend(model, sources)
    plan = make_plan(model, sources)
    report = fill(
        model,
        plan,
        sources,
        dtype=chosen_dtype,
        device=device,
        merge_lora=merge_lora,
        placer=quantizer.place if quantizer is not None else None,
        progress=progress,
    )
    report.raise_faults(name, strict=strict)
    model.tie_weights()
    move_buffers(model, device)
    empty = still_empty(model)
    assert not empty, f"no weight came for {empty}"
    tokenizer = load_tokenizer(resolved.tokenizer_folder or resolved.detected.path)
    check_vocabulary(tokenizer, config, name)
    model.config.dtype = chosen_dtype
    generation_config = read_generation_config(resolved, config)
    stop_at_tokenizer_eos(generation_config, tokenizer)
    model.generation_config = generation_config
    if quantizer is not None:
        quantizer.finish(model)
    model.eval()
    if sources.adapter is not None and not merge_lora:
        model = attach(model, sources.adapter, {r.sources[0]: r.target for r in plan.recipes if r.how == "copy"})
    preprocessor, audio = preprocessing(resolved, config)
    described = describe({**resolved.detected.config, **config.to_dict()})
    return LoadedCheckpoint(
        model=model,
        config=config,
        tokenizer=tokenizer,
        preprocessor_config=preprocessor,
        audio_preprocessing=audio,
        generation_config=generation_config,
        report=report,
        model_hash=hash_weights(((name, sources.entry(name)) for name in sources.table), resolved.all_files),
        kind=resolved.detected.kind,
        model_type=official_model_type(resolved, config),
        family=described["family"],
        modalities=described["modalities"],
        path=resolved.detected.path,
        tokenizer_folder=resolved.tokenizer_folder,
        sources=sources,
    )


def read_config(resolved: Resolved) -> tuple[Any, Sources]:
    """The model's config, with the sizes of its towers, and its tensors.

    Raises:
        CheckpointError: If config.json is not sound.
    """
    from huggingface_hub.errors import StrictDataclassError

    from videollama2.model.configuration import CONFIG_CLASSES, VideoLLaMA2Config

    lowest = resolved
    while lowest.base is not None and not lowest.detected.config:
        lowest = lowest.base
    fields = lowest.detected.config
    try:
        if lowest.detected.kind in (OURS, OURS_LORA):
            config_class = CONFIG_CLASSES.get(str(fields.get("model_type")), VideoLLaMA2Config)
            return config_class.from_dict(fields), gather(resolved)
        sources = gather(resolved)
        vision = lowest.vision.config if lowest.vision is not None else None
        audio = None
        if lowest.audio is not None:
            shapes = {
                name.removeprefix(keymaps.AUDIO): sources.entry(name).shape
                for name in sources.table
                if name.startswith(keymaps.AUDIO)
            }
            sizes = lowest.audio.config or facts.beats_config_from_shapes(shapes)
            # The class head is never used for features.
            audio = {**sizes, "tower": "beats", "finetuned_model": False}
        return VideoLLaMA2Config.from_official(fields, vision_config=vision, audio_config=audio), sources
    except CheckpointError:
        raise
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"config.json in {lowest.detected.path} has a value that cannot be used ({reason}); copy it again."
        ) from error


def build_empty(config: Any, attn_implementation: str | None = None) -> Any:
    """The model of a config, without memory for its weights.

    Raises:
        CheckpointError: If the config's sizes do not fit together.
        MissingDependencyError: If the attention implementation is not installed.
    """
    from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration

    if attn_implementation is not None:
        config._attn_implementation = attn_implementation
    try:
        with empty_weights():
            return VideoLLaMA2ForConditionalGeneration(config)
    except ImportError as error:
        raise MissingDependencyError(
            f"attn_implementation={attn_implementation!r} is not installed ({error}); install it or choose 'sdpa'."
        ) from error
    except CheckpointError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"No model can be built from config.json ({reason}); copy it again.") from error


def make_plan(model: Any, sources: Sources) -> keymaps.Plan:
    """Joins the model's weights and a checkpoint's tensors; a head that is the embedding again is left aside."""
    tied = tied_names(model)
    plan = keymaps.make_plan(weight_targets(model), sources.table, tied=tied)
    for recipe in [r for r in plan.recipes if r.target in tied]:
        plan.recipes.remove(recipe)
        plan.unused.update(dict.fromkeys(recipe.sources, "the output head is the embedding"))
    return plan


def pick_dtype(dtype: torch.dtype | str | None, sources: Sources) -> torch.dtype:
    """The dtype asked for, or that of the language model on disk.

    Raises:
        CheckpointError: If a name is not known.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype is not None and dtype != "auto":
        if dtype not in DTYPES:
            raise CheckpointError(f"Unknown dtype {dtype!r}; choose one of auto, {', '.join(DTYPES)}.")
        return DTYPES[dtype]
    counts: dict[torch.dtype, int] = {}
    for name in sources.table:
        entry = sources.entry(name)
        if name.startswith(keymaps.LANGUAGE) and entry.dtype.is_floating_point and entry.dtype.itemsize > 1:
            counts[entry.dtype] = counts.get(entry.dtype, 0) + entry.numel
    return max(counts, key=lambda key: counts[key]) if counts else torch.float32


def check_vocabulary(tokenizer: Any, config: Any, where: str) -> None:
    """A tokenizer of another model would give ids the embedding does not have.

    Raises:
        CheckpointError: If the tokenizer has more tokens than the embedding has rows.
    """
    rows = config.text_config.vocab_size
    if len(tokenizer) > rows:
        raise CheckpointError(
            f"{where}: the tokenizer has {len(tokenizer)} tokens, the model's embedding {rows} rows: the tokenizer is "
            "of another model; copy the tokenizer files from this checkpoint's source."
        )


def read_generation_config(resolved: Resolved, config: Any) -> Any:
    """The checkpoint's generation_config.json; without one, the special token ids of its config.

    Raises:
        CheckpointError: If the file has values that cannot be used.
    """
    from transformers import GenerationConfig

    lowest = resolved
    while not lowest.generation_config and lowest.base is not None:
        lowest = lowest.base
    fields = lowest.generation_config
    if not fields:
        text = config.text_config
        fields = {key: getattr(text, key, None) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    try:
        return GenerationConfig.from_dict(fields)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"generation_config.json cannot be used ({error}); copy it again.") from error


def stop_at_tokenizer_eos(generation_config: Any, tokenizer: Any) -> None:
    """Adds the tokenizer's EOS to the ids that end an answer: the official code stops there, whatever the file says."""
    eos = generation_config.eos_token_id
    ids = [] if eos is None else [eos] if isinstance(eos, int) else list(eos)
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ids:
        ids.append(tokenizer.eos_token_id)
        generation_config.eos_token_id = ids[0] if len(ids) == 1 else ids


def preprocessing(resolved: Resolved, config: Any) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Pixel rules and audio front end of a checkpoint."""
    folder = resolved.detected.path
    base = resolved.base
    if config.vision_config is None:
        pixels = None
    elif resolved.vision is not None and resolved.vision.preprocessor is not None:
        pixels = resolved.vision.preprocessor
    elif (folder / PREPROCESSING_FILE).is_file():
        pixels = read_json(folder / PREPROCESSING_FILE)
    elif base is not None:
        pixels = preprocessing(base, config)[0]
    elif "image_size" in config.vision_config:
        pixels = facts.preprocessor_config(config.vision_config)
    else:
        pixels = None
    if config.audio_config is None:
        audio = None
    elif (folder / AUDIO_PREPROCESSING_FILE).is_file():
        audio = read_json(folder / AUDIO_PREPROCESSING_FILE)
    elif base is not None:
        audio = preprocessing(base, config)[1]
    else:
        audio = dict(facts.BEATS_PREPROCESSING) if config.audio_config.get("tower") == "beats" else None
    return pixels, audio


def official_model_type(resolved: Resolved, config: Any) -> str:
    """The model_type whose prompt rules hold: the file's own where the official code knows it."""
    lowest = resolved
    while not lowest.detected.model_type and lowest.base is not None:
        lowest = lowest.base
    if lowest.detected.kind in (OURS, OURS_LORA):
        return str(lowest.detected.config.get(PROMPT_KEY) or config.official_model_type)
    return lowest.detected.model_type
