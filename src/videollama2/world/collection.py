"""A folder of generated media and annotations, made in parallel, in any number of attempts, always the same.

A format (see `formats`) registers the media it needs and the annotation files that speak of them. Media are written
first, each whole or not at all, and are not written again if they are there; annotations and `manifest.jsonl` follow,
so a folder that has a manifest is complete. `build.json` says what the folder is made from: another build in the same
folder is refused.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from videollama2.errors import RequestError
from videollama2.world.assets import Catalogue, check_split
from videollama2.world.clip import write_clips_joined, write_frames, write_picture, write_sound
from videollama2.world.dataset import questions_of
from videollama2.world.graph import Scene
from videollama2.world.render import render_sound
from videollama2.world.scene import make_scene
from videollama2.world.vocal import vocal_sound
from videollama2.world.writer import Question

VERSION = 1
"""Of the layouts and of what is drawn for them; a folder of another version is not continued."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides every byte of a collection.

    Attributes:
        format: Name of the format.
        split: "train", "val" or "test".
        seed: Seed of the collection.
        clips: Number of clips (or pairs of clips, or sounds) to make.
        size: Side of the pictures in pixels.
        fps: Frames a second of films.
        mix: Mix of kinds of scene, where the format leaves that open.
        version: See `VERSION`.
    """

    format: str
    split: str = "train"
    seed: int = 0
    clips: int = 100
    size: int = 224
    fps: int = 12
    mix: str = "all"
    version: int = VERSION


@dataclass(frozen=True, kw_only=True)
class Media:
    """One file to write.

    Attributes:
        path: Where, relative to the folder, with forward slashes.
        form: "film", "sound" (16 kHz WAV), "picture" (one frame), "frames" (a folder, three a second) or "vocal".
        scenes: What it shows; several are joined with two seconds of black between them.
        vocal: Kind and seed of a human sound, for the form "vocal".
    """

    path: str
    form: str
    scenes: tuple[Scene, ...] = ()
    vocal: tuple[str, int] = ("", 0)


class Collection:
    """Gathers the media and annotations of one format, then writes them.

    Attributes:
        catalogue: Sprites and sounds.
        settings: What is made.
    """

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        """Nothing is written before `write`.

        Raises:
            RequestError: An unknown split, or no clips.
        """
        check_split(settings.split)
        if settings.clips < 1:
            raise RequestError(f"cannot make {settings.clips} clips; give a number from 1")
        self.catalogue, self.settings = catalogue, settings
        self._media: dict[str, Media] = {}
        self._texts: dict[str, bytes] = {}

    def rng(self, *names: object) -> random.Random:
        """Chance that depends on the settings and the names only."""
        made_of = (self.settings.format, self.settings.split, self.settings.seed, *names)
        return random.Random("/".join(map(str, made_of)))

    def scene(self, index: int, kind: str | None = None) -> Scene:
        """Scene `index` of the collection, of one kind or as the mix has it."""
        mix = None if kind else self.settings.mix
        return make_scene(self.catalogue, self.settings.split, self.settings.seed, index, kind, mix)

    def questions(self, scene: Scene) -> list[Question]:
        """Everything the scene can be asked."""
        return questions_of(scene, self.catalogue)

    def asked(self, scene: Scene, family: str, form: str = "choice") -> Question:
        """The scene's question of a family and form."""
        return next(q for q in self.questions(scene) if (q["family"], q["form"]) == (family, form))

    def code(self, alphabet: str, length: int, *names: object) -> str:
        """A made-up identifier, such as a film's name on a video site."""
        return "".join(self.rng("code", *names).choices(alphabet, k=length))

    def film(self, path: str, *scenes: Scene) -> str:
        """Registers a film with sound; returns its path."""
        return self._add(Media(path=path, form="film", scenes=scenes))

    def sound(self, path: str, scene: Scene) -> str:
        """Registers a scene's sound as a WAV file; returns its path."""
        return self._add(Media(path=path, form="sound", scenes=(scene,)))

    def picture(self, path: str, scene: Scene) -> str:
        """Registers the middle frame of a scene; returns its path."""
        return self._add(Media(path=path, form="picture", scenes=(scene,)))

    def frames(self, path: str, *scenes: Scene) -> str:
        """Registers a folder of frames, three a second; returns its path."""
        return self._add(Media(path=path, form="frames", scenes=scenes))

    def vocal(self, path: str, kind: str, seed: int) -> str:
        """Registers a human sound as a WAV file; returns its path."""
        return self._add(Media(path=path, form="vocal", vocal=(kind, seed)))

    def _add(self, media: Media) -> str:
        if self._media.setdefault(media.path, media) != media:
            raise AssertionError(f"two media are called {media.path}")
        return media.path

    def text(self, path: str, text: str) -> None:
        """Registers a text file."""
        self._texts[path] = text.encode()

    def binary(self, path: str, content: bytes) -> None:
        """Registers a file of bytes."""
        self._texts[path] = content

    def json(self, path: str, value: object) -> None:
        """Registers a JSON file."""
        self.text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def lines(self, path: str, rows: Iterable[object]) -> None:
        """Registers a file of JSON lines."""
        self.text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def csv(self, path: str, header: Sequence[str] | None, rows: Iterable[Sequence[object]]) -> None:
        """Registers a CSV file; `header` None where the release has none."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows(([header] if header else []) + list(rows))
        self.text(path, out.getvalue())

    def write(self, folder: Path, workers: int = 0, *, annotations_only: bool = False) -> list[dict]:
        """Writes everything that is not there yet.

        Args:
            folder: Where to; it is made.
            workers: Processes that write media; 0 is this one. The result does not depend on it.
            annotations_only: Leave the media out, and with them the manifest; the same build may add them later.

        Returns:
            The rows of the manifest.

        Raises:
            RequestError: The folder holds a build with other settings.
        """
        self._claim(folder)
        if annotations_only:
            self._write_texts(folder)
            return []
        options = {"size": self.settings.size, "fps": self.settings.fps}
        jobs = [(str(folder), str(self.catalogue.folder), media, options) for media in self._media.values()]
        if workers:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                rows = list(pool.imap(_write, jobs, chunksize=2))
        else:
            rows = [_write(job) for job in jobs]
        self._write_texts(folder)
        rows.sort(key=lambda row: row["path"])
        _replace(folder / "manifest.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
        return rows

    def _write_texts(self, folder: Path) -> None:
        for path, content in self._texts.items():
            _replace(folder / path, content)

    def _claim(self, folder: Path) -> None:
        wanted = {**asdict(self.settings), "annotations": _digest(b"".join(self._texts.values()))}
        record = folder / "build.json"
        if record.exists():
            found = json.loads(record.read_text())
            other = [key for key in wanted if found.get(key) != wanted[key]]
            if other:
                raise RequestError(
                    f"{folder} holds a build with another {other[0]} ({found.get(other[0])!r}, not "
                    f"{wanted[other[0]]!r}); continue it with its own settings or choose another folder"
                )
        folder.mkdir(parents=True, exist_ok=True)
        _replace(record, (json.dumps(wanted, indent=1) + "\n").encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content)
    partial.replace(path)


def _write(job: tuple[str, str, Media, dict[str, int]]) -> dict:
    """Writes one medium unless it is there; returns its row of the manifest."""
    folder, assets, media, options = job
    path = Path(folder) / media.path
    if not path.exists():
        from videollama2.world.assets import open_catalogue

        catalogue = open_catalogue(assets)
        path.parent.mkdir(parents=True, exist_ok=True)
        if media.form == "film":
            write_clips_joined(media.scenes, path, catalogue, **options)
        elif media.form == "frames":
            write_frames(media.scenes, path, catalogue, size=options["size"])
        elif media.form == "picture":
            write_picture(media.scenes[0], path, catalogue, size=options["size"])
        elif media.form == "vocal":
            write_sound(vocal_sound(*media.vocal), path)
        else:
            write_sound(render_sound(media.scenes[0], catalogue), path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    content = b"".join(file.read_bytes() for file in files)
    return {
        "path": media.path,
        "form": media.form,
        "bytes": len(content),
        "sha256": _digest(content),
        "scenes": [{"split": s.split, "seed": s.seed, "index": s.index, "kind": s.kind} for s in media.scenes],
    }
