"""`inspect_checkpoint`: what a folder is, how large, what it needs here, and whether it is sound, without loading it.

Headers come first; the model is built without memory to learn which weights it wants; then each tensor is looked at
once and let go. A faulty checkpoint gives an inspection with the fault in its verdict, not an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from videollama2.checkpoints import hub, keymaps, memory
from videollama2.checkpoints.detect import BEATS, Detected, describe, detect
from videollama2.checkpoints.files import WeightSet
from videollama2.checkpoints.fill import tied_names, weight_targets
from videollama2.checkpoints.hashing import hash_weights
from videollama2.checkpoints.load import build_empty, check_vocabulary, make_plan, read_config
from videollama2.checkpoints.resolve import Resolved, resolve
from videollama2.checkpoints.sources import Sources
from videollama2.checkpoints.tokenizer import load_tokenizer
from videollama2.checkpoints.verify import WeightReport, check_tensor, part_of
from videollama2.errors import CheckpointError, MissingFilesError


@dataclass(kw_only=True)
class Inspection:
    """What is known of a checkpoint.

    Attributes:
        path: Local folder or file.
        kind: Format, one of `detect.KINDS`.
        family: `VideoLLaMA2`, `VideoLLaMA2.1`, `VideoLLaMA2.1-AV`, `BEATs`, or the demonstration model.
        model_type: Of config.json.
        backbone: Language model family.
        modalities: Of text, image, video, audio.
        connector: Connector type.
        towers: Part -> its name and where its sizes are from.
        num_frames: Frames of a video; 0 where it has no eyes.
        video_tokens: Tokens of such a video.
        parameters: Part -> parameters of the model (loaded ones only).
        bytes_on_disk: All weight files together.
        dtypes: Dtype on disk -> number of values.
        needs: Memory for one answer, by dtype.
        devices: Memory of this machine.
        report: Ledger of the weights, with the content check; None where files are missing or damaged.
        fault: Why the checkpoint cannot be loaded, where that is found before its weights are looked at.
        notes: What was chosen or left aside.
        model_hash: Fingerprint of the weights.
    """

    path: str
    kind: str
    family: str = ""
    model_type: str = ""
    backbone: str = ""
    modalities: tuple[str, ...] = ()
    connector: str = ""
    towers: dict[str, str] = field(default_factory=dict)
    num_frames: int = 0
    video_tokens: int = 0
    parameters: dict[str, int] = field(default_factory=dict)
    bytes_on_disk: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    needs: list[memory.MemoryNeed] = field(default_factory=list)
    devices: list[memory.Device] = field(default_factory=list)
    report: WeightReport | None = None
    fault: str | None = None
    notes: list[str] = field(default_factory=list)
    model_hash: str = ""

    @property
    def ok(self) -> bool:
        """Whether it would load."""
        return self.fault is None and (self.report is None or self.report.ok)

    @property
    def verdict(self) -> str:
        """One line."""
        if self.fault is not None:
            return f"bad: {self.fault}"
        return self.report.verdict if self.report is not None else "not checked"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = asdict(self)
        plain["report"] = self.report.to_dict() if self.report is not None else None
        plain["needs"] = [asdict(need) | {"total": need.total} for need in self.needs]
        plain["modalities"] = list(self.modalities)
        return plain | {"ok": self.ok, "verdict": self.verdict}

    def render(self) -> str:
        """Text for a terminal, lines of 120 columns at most but for names and the verdict."""
        lines = [f"{self.path}", f"  format      {self.kind}"]
        if self.family:
            backbone = f", language model {self.backbone}" if self.backbone else ""
            lines.append(f"  family      {self.family}{backbone}")
        lines.append(f"  modalities  {', '.join(self.modalities)}")
        if self.connector:
            lines.append(f"  connector   {self.connector}: {self.num_frames} frames -> {self.video_tokens} tokens")
        lines += [f"  {part:<11} {what}" for part, what in self.towers.items()]
        if self.parameters:
            total = sum(self.parameters.values())
            parts = ", ".join(f"{part} {_count(number)}" for part, number in self.parameters.items())
            lines.append(f"  parameters  {_count(total)} ({parts})")
        dtypes = ", ".join(f"{name} {_count(number)}" for name, number in self.dtypes.items())
        lines.append(f"  on disk     {_bytes(self.bytes_on_disk)} ({dtypes})")
        if self.needs:
            here = ", ".join(f"{d.name} {_bytes(d.free)} free of {_bytes(d.total)}" for d in self.devices)
            lines.append(f"  memory      this machine: {here}")
            for need in self.needs:
                fits = f"fits {', '.join(need.fits)}" if need.fits else "does not fit here"
                lines.append(
                    f"    {need.dtype:<9} {_bytes(need.total):>9}  weights {_bytes(need.weights)}, keys and values "
                    f"{_bytes(need.cache)}, activations about {_bytes(need.activations)}; {fits}"
                )
        lines += [f"  note        {note}" for note in self.notes]
        if self.report is not None and self.report.unused:
            reasons: dict[str, int] = {}
            for why in self.report.unused.values():
                reasons[why] = reasons.get(why, 0) + 1
            lines += [f"  unused      {number} weights: {why}" for why, number in reasons.items()]
        if self.model_hash:
            lines.append(f"  hash        {self.model_hash[:16]}")
        lines.append(f"  verdict     {self.verdict}")
        return "\n".join(lines)


def inspect_checkpoint(
    path_or_id: str | Path,
    *,
    offline: bool | None = None,
    parts: Mapping[str, str | Path] | None = None,
    content: bool = True,
    progress: hub.Progress | None = None,
) -> Inspection:
    """Looks a checkpoint over.

    Args:
        path_or_id: Local folder, BEATs file or hub id.
        offline: No downloads; None: as HF_HUB_OFFLINE says.
        parts: See `load_checkpoint`.
        content: Look at the values of every tensor too (reads all files once).
        progress: Told of tensors looked at.

    Returns:
        The inspection; its `ok` and `verdict` say whether the checkpoint would load.

    Raises:
        MissingFilesError: If there is nothing at the path.
        CheckpointError: If what is there is no checkpoint of this project's formats.
    """
    try:
        resolved = resolve(path_or_id, offline=offline, parts=parts, progress=progress)
        detected = resolved.detected
    except CheckpointError as error:
        return _faulty(path_or_id, error)
    inspection = _describe(detected)
    inspection.notes = list(resolved.notes)
    for part, tower in (("vision", resolved.vision), ("audio", resolved.audio)):
        if tower is not None:
            where = "weights in the checkpoint" if not tower.weights.files else "weights of its own"
            inspection.towers[part] = f"{tower.name} ({tower.source}; {where})"
    inspection.bytes_on_disk = sum(path.stat().st_size for path in resolved.all_files)
    try:
        if detected.kind == BEATS:
            _look_at_beats(inspection, content, progress)
        else:
            _look_at_model(inspection, resolved, content, progress)
    except CheckpointError as error:
        inspection.fault = str(error)
    return inspection


def _faulty(path_or_id: str | Path, error: CheckpointError) -> Inspection:
    """What can still be said of a checkpoint with missing or damaged files."""
    path = Path(path_or_id).expanduser()
    if not path.exists():
        raise error
    # Raises what it finds where this is no checkpoint at all.
    inspection = _describe(detect(path))
    inspection.fault = str(error)
    files = inspection_files(detect(path))
    inspection.bytes_on_disk = sum(file.stat().st_size for file in files)
    if isinstance(error, MissingFilesError):
        inspection.notes.append("the weights were not looked at, for files are missing")
    return inspection


def inspection_files(detected: Detected) -> list[Path]:
    """The weight files in the folder itself."""
    return [path for path in detected.files if path.is_file()]


def _describe(detected: Detected) -> Inspection:
    return Inspection(
        path=str(detected.path),
        kind=detected.kind,
        family=detected.family,
        model_type=detected.model_type,
        backbone=detected.backbone,
        modalities=detected.modalities,
        connector=str(detected.config.get("mm_projector_type") or ""),
        num_frames=int(detected.config.get("num_frames") or 0),
        notes=list(detected.notes),
    )


def _look_at_beats(inspection: Inspection, content: bool, progress: hub.Progress | None) -> None:
    weights = WeightSet.open([Path(inspection.path)])
    report = WeightReport(loaded=list(weights))
    inspection.parameters = {"audio tower": sum(entry.numel for entry in weights.values())}
    copies = [name for name in weights if name.endswith("relative_attention_bias.weight")]
    for done, name in enumerate(weights):
        inspection.dtypes[_name(weights[name].dtype)] = (
            inspection.dtypes.get(_name(weights[name].dtype), 0) + weights[name].numel
        )
        if content and (fault := check_tensor(name, weights.load(name))) is not None:
            report.bad_content[name] = fault
        if progress is not None:
            progress("looking at weights", done + 1, len(weights))
    if content:
        keymaps.check_bias_copies({name: weights.load(name) for name in copies})
    inspection.report = report
    path = Path(inspection.path)
    inspection.model_hash = hash_weights(weights.items(), [path])


def _look_at_model(inspection: Inspection, resolved: Resolved, content: bool, progress: hub.Progress | None) -> None:
    config, sources = read_config(resolved)
    model = build_empty(config)
    described = describe({**resolved.detected.config, **config.to_dict()})
    inspection.family, inspection.modalities = described["family"], described["modalities"]
    inspection.backbone = config.text_config.model_type
    inspection.connector = config.mm_projector_type if config.vision_config is not None else ""
    inspection.num_frames, _, inspection.video_tokens = memory.visual_tokens(config)
    linears = 0
    for name, parameter in model.named_parameters():
        if name in tied_names(model):
            continue
        part = part_of(name)
        inspection.parameters[part] = inspection.parameters.get(part, 0) + parameter.numel()
        # Linear layers are what 8 and 4 bit make smaller.
        if name.startswith(keymaps.LANGUAGE) and name.endswith("proj.weight") and parameter.ndim == 2:
            linears += parameter.numel()
    inspection.devices = memory.devices()
    inspection.needs = memory.needs(config, inspection.parameters, linears, inspection.devices)
    for name in sources.table:
        entry = sources.entry(name)
        inspection.dtypes[_name(entry.dtype)] = inspection.dtypes.get(_name(entry.dtype), 0) + entry.numel
    inspection.model_hash = hash_weights(((name, sources.entry(name)) for name in sources.table), resolved.all_files)
    inspection.report = ledger(model, sources, content=content, progress=progress)
    tokenizer = load_tokenizer(resolved.tokenizer_folder or resolved.detected.path)
    check_vocabulary(tokenizer, config, inspection.path)


def ledger(model: Any, sources: Sources, *, content: bool = True, progress: hub.Progress | None = None) -> WeightReport:
    """Accounts for every weight without filling the model; shapes from headers, content from one pass over the files.

    Args:
        model: Built empty.
        sources: The tensors.
        content: Look at values too.
        progress: Told of weights looked at.
    """
    plan = make_plan(model, sources)
    targets = weight_targets(model)
    report = WeightReport(
        missing=list(plan.missing),
        unused=dict(plan.unused),
        unexpected=list(plan.unexpected),
        notes=list(sources.notes),
    )
    for done, recipe in enumerate(plan.recipes):
        shape = targets[recipe.target]
        first = sources.entry(recipe.sources[0])
        if recipe.how == "copy" and first.shape != shape:
            report.wrong_shape[recipe.target] = f"({list(first.shape)} in the files, {list(shape)} by config.json)"
            continue
        if recipe.how in ("experts", "stack") and first.numel * len(recipe.sources) != _numel(shape):
            report.wrong_shape[recipe.target] = f"({list(first.shape)} for an expert of {list(shape)} by config.json)"
            continue
        faults = {}
        if content:
            for name in recipe.sources:
                if (fault := check_tensor(name, sources.load(name))) is not None:
                    faults[name] = fault
        report.bad_content.update(faults)
        if not faults:
            report.loaded.append(recipe.target)
        if progress is not None and (done % 50 == 0 or done + 1 == len(plan.recipes)):
            progress("looking at weights", done + 1, len(plan.recipes))
    copies = sources.bias_copies()
    if content and len(copies) > 1:
        keymaps.check_bias_copies({name: sources.load(name) for name in copies})
    if content and sources.adapter is not None:
        report.bad_content.update(sources.adapter.faults())
    return report


def _numel(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _count(number: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return str(number)


def _bytes(number: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"
