"""One row and one file of a data set under the glass; runs in the worker processes of `data check`."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

from videollama2.errors import MediaError
from videollama2.media import load_audio, load_image, load_video, probe
from videollama2.training.data.encode import RowEncoder, media_fault, sound_policy
from videollama2.training.data.rows import Row, RowFault, RowFaultError
from videollama2.training.data.sources import Sources

# Words of the media room's events of which training makes no fault, but which one wants to know of before it.
_DAMAGE = ("cannot be decoded", "cut short", "damaged")
# How a medium is called in messages.
_NAMES = {"video": "a video", "image": "an image", "audio": "sound"}


@dataclass(frozen=True, order=True)
class Medium:
    """A file in its role; many rows may share one."""

    path: str
    modality: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a look at one row gave.

    Attributes:
        number: Its number.
        id: Its id, or file and line.
        modality: None where the row cannot be read.
        medium: The file it names.
        digest: Hash of what it says; equal rows have equal ones. None where the row cannot be read.
        num_positions: Positions after the splice, before anything is cut; None without a model.
        faults: What is wrong with its text.
    """

    number: int
    id: str
    modality: str | None = None
    medium: Medium | None = None
    digest: bytes | None = None
    num_positions: int | None = None
    faults: tuple[RowFault, ...] = ()


class Examiner:
    """Looks at rows and files; goes to worker processes as a copy.

    Args:
        sources: The rows.
        encoder: Tells lengths; None without a model.
        options: `CheckOptions` with a number of frames.
    """

    def __init__(self, sources: Sources, encoder: RowEncoder | None, options: Any) -> None:
        self.sources, self.encoder, self.options = sources, encoder, options

    def look_at_row(self, number: int) -> Seen:
        """Form, labels and length of a row; no medium is opened."""
        row, faults = self.sources.parse(number)
        if row is None:
            return Seen(number=number, id=self.sources.place(number), faults=faults)
        found: list[RowFault] = []
        positions = None
        if self.encoder is not None:
            try:
                text = self.encoder.text(row)
                positions = text.num_positions + text.num_cut
                if text.num_cut:
                    limit = self.encoder.options.max_tokens
                    what = f"{positions} positions, of which the last {text.num_cut} are cut off (max_tokens {limit})"
                    fix = "shorten the row, raise max_tokens, or take fewer frames"
                    found.append(RowFault(kind="too_long", text=what, fix=fix))
            except RowFaultError as error:
                found.append(error.fault)
        return Seen(
            number=number,
            id=row.id,
            modality=row.modality,
            medium=Medium(str(row.path), row.modality) if row.path is not None else None,
            digest=_digest(row),
            num_positions=positions,
            faults=tuple(found),
        )

    def look_at_file(self, medium: Medium) -> RowFault | None:
        """Whether a file is there, of its kind and readable."""
        if not os.path.exists(medium.path):
            fix = "correct the path or the folder"
            return RowFault(kind="missing", text=f"{medium.path} does not exist", fix=fix)
        try:
            info = probe(medium.path, timeout=self.options.timeout)
            fits = {
                "video": info.has_video and info.kind != "image",
                "image": info.kind in ("image", "gif"),
                "audio": info.has_audio,
            }
            if not fits[medium.modality]:
                text = f"{medium.path} is {info.what}, which is not {_NAMES[medium.modality]}"
                return RowFault(kind="wrong_kind", text=text, fix="name it under the key of its kind, or give its file")
            return self._decode(medium, info.has_audio) if self.options.decode else None
        except MediaError as error:
            return media_fault(error)

    def _decode(self, medium: Medium, has_audio: bool) -> RowFault | None:
        events: list[str] = []
        if medium.modality == "image":
            load_image(medium.path, timeout=self.options.timeout)
        elif medium.modality == "video":
            clip = load_video(medium.path, self.options.num_frames, timeout=self.options.timeout)
            events += [event for event in clip.events if any(word in event for word in _DAMAGE)]
        if medium.modality == "audio" or (has_audio and self.options.sound_of_video):
            spec = self.encoder.audio_spec if self.encoder is not None else None
            is_video = medium.modality == "video"
            policy = sound_policy(spec, is_video) if spec is not None else "full"
            load_audio(medium.path, policy, seed=0, timeout=self.options.timeout)
        if events:
            return RowFault(kind="damaged", text=f"{medium.path}: {events[0]}", fix="make or download the file again")
        return None


def _digest(row: Row) -> bytes:
    said = [row.modality, str(row.path), [[turn["from"], turn["value"].strip()] for turn in row.conversations]]
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).digest()
