"""The default model as a folder in this package's own checkpoint format: made once, checked in milliseconds afterwards.

The folder's name holds the checksum of the trained small weights, so new ones make a new folder. A manifest holds each
file's checksum, size and time of change; a file that is as the manifest says is not read again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from videollama2.checkpoints.default.fetch import Progress, default_cache, fetch_parts, file_sha256, write_atomically
from videollama2.errors import CheckpointError, MissingFilesError

logger = logging.getLogger(__name__)

# Changes when this code would make another folder from the same parts and trained weights.
FORMAT = 5
# Training clips last 4 to 6 s; of longer sounds the default model hears the middle.
HEARD_SECONDS = 10.0
# Its training clips without sound have a noise floor between -70 and -32 dB.
SILENCE_DB = -55.0
_MANIFEST = "manifest.json"
_TRAINED = "default.safetensors"


def default_model_path(
    offline: bool | None = None, progress: Progress | None = None, *, allow_untrained: bool = False
) -> Path:
    """Folder of the default model, fetched and assembled at first use.

    Args:
        offline: True never downloads, False may, None follows `HF_HUB_OFFLINE`.
        progress: called with what is being done, how much is done, and of how much.
        allow_untrained: for development: where this package holds no trained weights, use a connector with random
            weights. The folder's config says `mm_untrained`. It answers nothing sensible.

    Returns:
        A checkpoint folder that `load_checkpoint` reads like any other.

    Raises:
        MissingFilesError: parts are not in the cache and downloading is off, or the trained weights are missing.
        CheckpointError: a part or the trained weights are damaged.
    """
    from filelock import FileLock

    trained = trained_weights_file()
    if trained is None and not allow_untrained:
        raise MissingFilesError(
            f"the default model's trained weights (videollama2/weights/{_TRAINED}) are not in this installation; "
            "install videollama2 again, or name another model."
        )
    version = "untrained" if trained is None else _trained_sha256(trained)[:16]
    folder = default_cache() / f"assembled-{FORMAT}-{version}"
    if is_whole(folder):
        return folder
    parts = fetch_parts(offline=offline, progress=progress)
    with FileLock(default_cache() / ".assemble.lock"):
        # Another process may have made it while this one waited.
        if not is_whole(folder):
            if folder.exists():
                logger.warning("%s is damaged and is made again", folder)
            _assemble(folder, parts, trained, progress)
    return folder


def converted_parts(offline: bool | None = None, progress: Progress | None = None) -> Path:
    """Folder with the parts as they are trained with: frozen and apart.

    Returns:
        A folder with `efficientnet.safetensors`, `whisper_encoder.safetensors` and `llm/` (a transformers folder).

    Raises:
        MissingFilesError: as `default_model_path`.
    """
    from filelock import FileLock

    folder = default_cache() / f"converted-{FORMAT}"
    if is_whole(folder):
        return folder
    parts = fetch_parts(offline=offline, progress=progress)
    with FileLock(default_cache() / ".assemble.lock"):
        if not is_whole(folder):
            _make_folder(folder, lambda scratch: _write_parts(scratch, parts), {})
    return folder


def trained_weights_file() -> Path | None:
    """The trained small weights in this installation, or None."""
    path = Path(str(resources.files("videollama2"))) / "weights" / _TRAINED
    return path if path.is_file() else None


def _trained_sha256(path: Path) -> str:
    """Checksum of the trained weights, compared with the one recorded beside them."""
    found = file_sha256(path)
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if record.get("sha256") != found:
        raise CheckpointError(f"{path} is damaged (its checksum is not the recorded one); install videollama2 again.")
    return found


def is_whole(folder: Path) -> bool:
    """Whether every file of a folder made here is as its manifest says."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, dict[str, Any]] = manifest["files"]
    except (OSError, ValueError, KeyError):
        return False  # no readable manifest: the folder was never finished
    for name, facts in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != facts["size"]:
            return False
        # A copied or touched file is read once more; an untouched one is taken as it was when it was written.
        if path.stat().st_mtime_ns != facts["mtime_ns"]:
            if file_sha256(path) != facts["sha256"]:
                return False
            facts["mtime_ns"] = path.stat().st_mtime_ns
            _try_to_write(folder / _MANIFEST, manifest)
    return True


def _try_to_write(path: Path, content: dict[str, Any]) -> None:
    try:
        write_atomically(path, json.dumps(content, indent=1).encode())
    except OSError:
        return  # a folder that can only be read is hashed at each start instead


def _assemble(folder: Path, parts: dict[str, Path], trained: Path | None, progress: Progress | None) -> None:
    steps = ("joining the default model", 0, 2)
    if progress is not None:
        progress(*steps)
    _make_folder(folder, lambda scratch: _write_model(scratch, parts, trained), {"untrained": trained is None})
    if progress is not None:
        progress(steps[0], 2, 2)


def _make_folder(folder: Path, write: Any, facts: dict[str, Any]) -> None:
    """Write into a scratch folder, add the manifest, and put it in place in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        write(scratch)
        files = {}
        for path in sorted(p for p in scratch.rglob("*") if p.is_file()):
            path.chmod(0o644)
            stat = path.stat()
            files[path.relative_to(scratch).as_posix()] = {
                "size": stat.st_size,
                "mtime_ns": stat.st_mtime_ns,
                "sha256": file_sha256(path),
            }
        manifest = {"format": FORMAT, **facts, "files": files}
        write_atomically(scratch / _MANIFEST, json.dumps(manifest, indent=1).encode())
        scratch.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_model(folder: Path, parts: dict[str, Path], trained: Path | None) -> None:
    from safetensors.torch import save_file

    from videollama2.checkpoints.default.gguf import GGUFFile
    from videollama2.checkpoints.default.join import CHAT_TEMPLATE, join
    from videollama2.checkpoints.default.tokenizer import save_tokenizer

    tokenizer = save_tokenizer(GGUFFile(parts["language_model"]), folder, chat_template=CHAT_TEMPLATE)
    model = join(parts, tokenizer, _read_trained(trained) if trained is not None else None)
    save_file(model.weights, folder / "model.safetensors", metadata={"format": "pt"})
    text = model.config["text_config"]
    generation = {key: text[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(folder / "config.json", model.config)
    _write_json(folder / "generation_config.json", {**generation, "do_sample": False})
    processor = _processor_config(model.config)
    _write_json(folder / "processor_config.json", processor)
    _write_json(folder / "audio_preprocessor_config.json", processor["audio_spec"])
    card = Path(str(resources.files("videollama2"))) / "weights" / "MODEL_CARD.md"
    if card.is_file():
        shutil.copyfile(card, folder / "README.md")


def _processor_config(config: dict[str, Any]) -> dict[str, Any]:
    """How a request becomes the model's input: what `VideoLLaMA2Processor` of the processing room reads."""
    from videollama2.model.vision.efficientnet import PIXEL_MEAN, PIXEL_STD, EfficientNetLite0Tower

    pixels = {
        "image_size": EfficientNetLite0Tower.image_size,
        "resize": "stretch",
        "resample": "bicubic",
        "mean": [PIXEL_MEAN] * 3,
        "std": [PIXEL_STD] * 3,
    }
    audio = {
        "kind": "whisper-log-mel",
        "seconds": HEARD_SECONDS,
        "silence_db": SILENCE_DB,
        "num_mel_bins": config["audio_config"]["num_mel_bins"],
    }
    return {
        "processor_class": "VideoLLaMA2Processor",
        "pixel_spec": pixels,
        "audio_spec": audio,
        "num_frames": config["num_frames"],
        "model_type": f"videollama2_{config['text_config']['model_type']}",
        "pad": False,
    }


def _read_trained(path: Path) -> Any:
    from safetensors import safe_open

    from videollama2.checkpoints.default.join import TrainedWeights

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    scale = float(metadata.get("lora_alpha", 0)) / max(float(metadata.get("lora_rank", 1)), 1.0)
    return TrainedWeights(tensors=tensors, lora_scale=scale)


def _write_parts(folder: Path, parts: dict[str, Path]) -> None:
    from safetensors.torch import save_file
    from transformers import LlamaConfig

    from videollama2.checkpoints.default import convert
    from videollama2.checkpoints.default.gguf import GGUFFile
    from videollama2.checkpoints.default.join import CHAT_TEMPLATE
    from videollama2.checkpoints.default.tokenizer import save_tokenizer

    save_file(convert.convert_frame_encoder(parts["frame_encoder"]), folder / "efficientnet.safetensors")
    save_file(convert.convert_audio_encoder(parts["audio_encoder"]), folder / "whisper_encoder.safetensors")
    file = GGUFFile(parts["language_model"])
    target = folder / "llm"
    target.mkdir()
    save_file(convert.convert_language_model(file), target / "model.safetensors", metadata={"format": "pt"})
    config = LlamaConfig(**convert.language_model_config(file), dtype="bfloat16", architectures=["LlamaForCausalLM"])
    config.save_pretrained(target)
    save_tokenizer(file, target, chat_template=CHAT_TEMPLATE)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
