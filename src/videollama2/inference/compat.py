"""`model_init` and `mm_infer` with the signatures of both official branches, so that official scripts run unchanged.

What was fixed there (CUDA, float16, FlashAttention) is chosen here. What was done in silence there (a random window of
long sound, zeros in place of damaged sound, unknown arguments) is warned of or refused.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from videollama2.errors import RequestError
from videollama2.inference.compat_processors import AudioProcessor, ImageProcessor, VideoProcessor
from videollama2.inference.request import check_question
from videollama2.processing.prompt import official_generation_settings, render_chat
from videollama2.processing.tokenizer import decode_ids

OFFICIAL_DEFAULT = "DAMO-NLP-SG/VideoLLaMA2-7B"
MODALITIES = ("image", "video", "audio", "text")


def model_init(
    model_path: str | None = None,
    *,
    device: str | torch.device | None = None,
    torch_dtype: str | torch.dtype = "auto",
    attn_implementation: str | None = None,
    **kwargs: Any,
) -> tuple[Any, dict[str, Any], Any]:
    """Loads a checkpoint, as the official function of this name.

    Args:
        model_path: Folder or hub id; None is the official default, VideoLLaMA2-7B.
        device: Where the model goes; None or "auto" takes the best device there is.
        torch_dtype: "auto", a name or a torch dtype.
        attn_implementation: "sdpa" (default), "eager" or "flash_attention_2".
        kwargs: `offline`, `parts`, `quantization`, and the official `load_8bit`, `load_4bit`, `use_flash_attn` and
            `device_map` (one device).

    Returns:
        The model, the processor (a dict of the callables "image", "video" and, for a model that hears, "audio"), and
        the tokenizer.

    Raises:
        CheckpointError: The checkpoint is unknown, incomplete or damaged.
        RequestError: An unknown argument.
    """
    from videollama2.checkpoints.load import load_checkpoint
    from videollama2.inference.device import choose_device, choose_dtype
    from videollama2.inference.engine import processor_of

    loading = _loading_arguments(kwargs)
    device_map = loading.pop("device_map", None)
    chosen_device = choose_device(device or device_map or "auto")
    if loading.pop("use_flash_attn", False) and attn_implementation is None:
        attn_implementation = "flash_attention_2"
    loaded = load_checkpoint(
        OFFICIAL_DEFAULT if model_path is None else model_path,
        device=chosen_device,
        dtype=choose_dtype(torch_dtype, chosen_device),
        attn_implementation=attn_implementation,
        **loading,
    )
    ours = processor_of(loaded)
    processor: dict[str, Any] = {}
    if ours.pixel_spec is not None:
        processor["image"] = ImageProcessor(ours.pixel_spec)
        processor["video"] = VideoProcessor(ours.pixel_spec, ours.audio_spec, int(loaded.config.num_frames))
    if ours.audio_spec is not None:
        processor["audio"] = AudioProcessor(ours.audio_spec)
    return loaded.model, processor, ours.tokenizer


def mm_infer(
    image_or_video: Any,
    instruct: str | Sequence[Mapping[str, str]],
    model: Any,
    tokenizer: Any,
    modal: str = "video",
    **kwargs: Any,
) -> str:
    """Answers one question, as the official function of this name.

    Args:
        image_or_video: Pixels [1, 3, S, S] of an image or [T, 3, S, S] of a video, fbank [1, S, 128] of a sound, or a
            dict of "video" and "audio"; ignored where `modal` is "text".
        instruct: The question, or turns of a conversation (the medium belongs to the first).
        model: From `model_init`.
        tokenizer: From `model_init`.
        modal: "image", "video", "audio" or "text".
        kwargs: `do_sample` (False), `temperature` (0.2 where sampling), `top_p` (0.9), `max_new_tokens` (2048), `seed`,
            and what else transformers' generation configuration knows; the rest is left aside with a warning.

    Returns:
        The answer.

    Raises:
        RequestError: No question, an unknown modality, or one the model lacks.
    """
    if modal not in MODALITIES:
        raise RequestError(f"unsupported modal {modal!r}: use one of {', '.join(MODALITIES)}")
    turns = _turns(instruct, modal)
    prompt = render_chat(tokenizer, turns, model_type=model.config.official_model_type)
    device = model.get_input_embeddings().weight.device
    media = {} if modal == "text" else _media_arguments(model, image_or_video, modal)
    settings = _settings(tokenizer, kwargs)
    ids = torch.tensor([prompt.input_ids], device=device)
    with _seeded(settings.pop("seed", None)), torch.inference_mode(), warnings.catch_warnings():
        # That the penalty sees new tokens alone is the official behaviour, not the user's mistake.
        warnings.filterwarnings("ignore", message="Passing `repetition_penalty` with `inputs_embeds`")
        output = model.generate(ids, attention_mask=torch.ones_like(ids), **media, **settings)
    return decode_ids(tokenizer, output[0].tolist(), skip_special_tokens=True).strip()


def _loading_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    known = {"offline", "parts", "quantization", "use_flash_attn", "load_8bit", "load_4bit", "device_map", "model_base"}
    unknown = sorted(set(kwargs) - known)
    if unknown:
        raise RequestError(f"unknown argument {unknown[0]!r} of model_init: known are {', '.join(sorted(known))}")
    loading = dict(kwargs)
    for bits in ("8bit", "4bit"):
        if loading.pop(f"load_{bits}", False):
            loading["quantization"] = bits
    if base := loading.pop("model_base", None):
        loading["parts"] = {**(loading.get("parts") or {}), "language_model": base}
    device_map = loading.get("device_map")
    if isinstance(device_map, Mapping):
        places = {str(place) for place in device_map.values()}
        if len(places) != 1:
            raise RequestError(f"device_map names {len(places)} devices: give one, for example device='cuda:0'")
        loading["device_map"] = places.pop()
    return loading


def _turns(instruct: str | Sequence[Mapping[str, str]], modal: str) -> list[dict[str, Any]]:
    if isinstance(instruct, (str, type(None))):
        check_question(instruct)
        turns: list[dict[str, Any]] = [{"role": "user", "content": instruct}]
    elif isinstance(instruct, Sequence) and all(isinstance(turn, Mapping) for turn in instruct):
        turns = [dict(turn) for turn in instruct if isinstance(turn, Mapping)]
    else:
        raise RequestError(
            f"unsupported type of instruct, {type(instruct).__name__}: give a question or a list of turns"
        )
    first = next((turn for turn in turns if turn.get("role") == "user"), None)
    if first is None:
        raise RequestError("the instruction has no user turn: give a question")
    if modal != "text":
        first["media"] = [modal]
    return turns


def _media_arguments(model: Any, medium: Any, modal: str) -> dict[str, Any]:
    """Media arguments of `generate`. Towers that a script has set to None are not asked."""
    parts = dict(medium) if isinstance(medium, Mapping) else {"audio" if modal == "audio" else "video": medium}
    unknown = set(parts) - {"video", "audio"}
    if unknown or not parts or any(not isinstance(part, torch.Tensor) for part in parts.values()):
        raise RequestError("the medium must be a tensor, or a dict of tensors with 'video' and 'audio'")
    if modal == "audio" and "audio" not in parts:
        raise RequestError("modal is 'audio' but no fbank was given: use processor['audio']")
    arguments: dict[str, Any] = {}
    if modal != "audio" and "video" in parts:
        _check_tower(model, "vision_tower", modal)
        pixels = parts["video"][None] if parts["video"].ndim == 3 else parts["video"]
        if pixels.ndim != 4 or (modal == "image" and len(pixels) != 1):
            shape = list(parts["video"].shape)
            raise RequestError(f"a tensor of shape {shape} is no {modal}: give [T, 3, S, S], of an image [1, 3, S, S]")
        arguments |= {"pixel_values": pixels, "num_frames": torch.tensor([len(pixels)])}
    elif modal != "audio":
        raise RequestError(f"modal is {modal!r} but no pixels were given: use processor[{modal!r}]")
    if "audio" in parts:
        _check_tower(model, "audio_tower", "audio")
        fbank = parts["audio"][None] if parts["audio"].ndim == 2 else parts["audio"]
        arguments |= {"audio_values": fbank, "audio_lengths": torch.tensor([fbank.shape[1]])}
        if modal != "audio":
            arguments["video_has_audio"] = torch.tensor([True])
    device = model.get_input_embeddings().weight.device
    return {name: value.to(device) for name, value in arguments.items()}


def _check_tower(model: Any, tower: str, modal: str) -> None:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if getattr(inner.model, tower, None) is None:
        raise RequestError(
            f"the model has no {tower}, so it takes no {modal}: load a checkpoint that has one, or keep it"
        )


def _settings(tokenizer: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Official defaults, and whatever else generation knows."""
    from transformers import GenerationConfig

    given = dict(kwargs)
    seed = given.pop("seed", None)
    official = {
        name: given.pop(name) for name in ("do_sample", "temperature", "top_p", "max_new_tokens") if name in given
    }
    settings = official_generation_settings(tokenizer, **official)
    if not settings["do_sample"]:
        # They have no effect without sampling, and transformers complains about them.
        del settings["temperature"], settings["top_p"]
    known = set(GenerationConfig().to_dict())
    for name in sorted(set(given) - known):
        warnings.warn(f"mm_infer knows no argument {name!r}; it is left aside", stacklevel=3)
        del given[name]
    return settings | given | {"seed": seed}


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draws inside the block follow the seed; the state outside is left as it was."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
