"""The fetched sprites and sounds as a catalogue: what exists, which split may use it, and quick access to it."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from videollama2.errors import MissingFilesError, RequestError

ENVIRONMENT_VARIABLE = "VIDEOLLAMA2_ASSETS"

HELD_OUT_STYLES = ("noto", "noto64")
"""Sprite styles seen in the split "test" only."""

SPLITS = ("train", "val", "test")
"""`val` has the styles and sounds of `train` in other scenes; `test` has styles and sounds that `train` never has."""


def asset_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """The asset folder: the argument, else the environment variable `VIDEOLLAMA2_ASSETS`.

    Raises:
        MissingFilesError: No folder is named, or it holds no complete set of assets.
    """
    chosen = folder or os.environ.get(ENVIRONMENT_VARIABLE)
    if not chosen:
        raise MissingFilesError(
            f"no folder of world assets is known; set {ENVIRONMENT_VARIABLE} or fetch one with "
            "'python -m videollama2.world.fetch_assets DIR'"
        )
    path = Path(chosen)
    if not (path / "index.json").is_file():
        raise MissingFilesError(
            f"{path} holds no world assets (index.json is missing); "
            f"run 'python -m videollama2.world.fetch_assets {path}'"
        )
    return path


def check_split(split: str) -> None:
    """Raises RequestError for a split that does not exist."""
    if split not in SPLITS:
        raise RequestError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")


class Catalogue:
    """Sprites and sounds of one asset folder, by split. Pickles as its path; files are opened at first use.

    Attributes:
        folder: The asset folder.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        """Reads the index of `folder` (see `asset_folder`)."""
        self.folder = asset_folder(folder)
        index = json.loads((self.folder / "index.json").read_text())
        self._nouns: dict[str, dict[str, list[str]]] = index["nouns"]
        self._sounds: list[dict] = index["sounds"]
        self._wave: np.ndarray | None = None
        self._sprites: dict[str, Image.Image] = {}
        self._word_rows: list[dict] | None = None
        self._word_wave: np.ndarray | None = None
        self._by_word: dict[str, dict[str, list[int]]] = {}
        self._by_split = {split: self._split_sprites(split) for split in SPLITS}
        self._by_kind = {split: self._split_sounds(split) for split in SPLITS}

    def __reduce__(self):
        """Travels to worker processes as the folder's path."""
        return Catalogue, (str(self.folder),)

    def _split_sprites(self, split: str) -> dict[str, list[tuple[str, ...]]]:
        held_out = split == "test"
        found: dict[str, list[tuple[str, ...]]] = {}
        for noun in sorted(self._nouns):
            styles = self._nouns[noun]
            # one entry a style (a style is drawn first, then one of its drawings), so that no style dominates
            entries = [tuple(styles[style]) for style in sorted(styles) if (style in HELD_OUT_STYLES) == held_out]
            if entries:
                found[noun] = entries
        return found

    def _split_sounds(self, split: str) -> dict[str, list[int]]:
        wanted = "test" if split == "test" else "train"
        found: dict[str, list[int]] = {}
        for number, row in enumerate(self._sounds):
            if row["split"] == wanted:
                found.setdefault(row["kind"], []).append(number)
        return dict(sorted(found.items()))

    def nouns(self, split: str) -> list[str]:
        """Names of the nouns that can be drawn in `split`, sorted."""
        check_split(split)
        return list(self._by_split[split])

    def drawings(self, noun: str, split: str) -> list[tuple[str, ...]]:
        """Sprite files of `noun` in `split`: one tuple of files a style."""
        return self._by_split[split][noun]

    def sound_kinds(self, split: str) -> list[str]:
        """Kinds of sound of `split`, sorted."""
        check_split(split)
        return list(self._by_kind[split])

    def sound_numbers(self, kind: str, split: str) -> list[int]:
        """Rows of the sound table that are of `kind` and belong to `split`."""
        return self._by_kind[split][kind]

    def sound_row(self, number: int) -> dict:
        """Index entry of a sound: kind, split, source and, for speech, text."""
        return self._sounds[number]

    def sprite(self, file: str) -> Image.Image:
        """The RGBA sprite of `file` (trimmed to its outline), cached; do not change it."""
        if file not in self._sprites:
            with Image.open(self.folder / file) as image:
                self._sprites[file] = image.convert("RGBA")
        return self._sprites[file]

    def wave(self, number: int, num_samples: int) -> np.ndarray:
        """The first `num_samples` of sound `number`, float32 in [-1, 1] at 16 kHz; silence follows its end."""
        if self._wave is None:
            self._wave = np.load(self.folder / "sounds.npy", mmap_mode="r")
        stored = self._wave[number, :num_samples].astype(np.float32)
        stored /= 32768.0
        return np.pad(stored, (0, num_samples - len(stored))) if len(stored) < num_samples else stored

    def _words(self) -> list[dict]:
        if self._word_rows is None:
            path = self.folder / "words.json"
            if not path.is_file():
                raise MissingFilesError(
                    f"{self.folder} holds no spoken words (words.json is missing); "
                    f"run 'python -m videollama2.world.fetch_words {self.folder}'"
                )
            self._word_rows = json.loads(path.read_text())["words"]
        return self._word_rows

    def _word_table(self, split: str) -> dict[str, list[int]]:
        wanted = "test" if split == "test" else "train"
        if wanted not in self._by_word:
            found: dict[str, list[int]] = {}
            for number, row in enumerate(self._words()):
                if row["split"] == wanted:
                    found.setdefault(row["word"], []).append(number)
            self._by_word[wanted] = found
        return self._by_word[wanted]

    def words(self, split: str, *, new: bool = False) -> list[str]:
        """Words a voice says in `split`, sorted; with `new` those that are never said in training.

        Raises:
            MissingFilesError: The words were never rendered into this folder.
        """
        check_split(split)
        trained = self._word_table("train")
        return sorted(word for word in self._word_table(split) if (word not in trained) == new)

    def word_numbers(self, word: str, split: str) -> list[int]:
        """Rows of the word table where `word` is said by a voice of `split`."""
        return self._word_table(split)[word]

    def word_row(self, number: int) -> dict:
        """Entry of the word table: word, split, voice, first sample, length in samples."""
        return self._words()[number]

    def word_wave(self, number: int, num_samples: int) -> np.ndarray:
        """The first `num_samples` of utterance `number`, float32 in [-1, 1] at 16 kHz; silence follows its end."""
        row = self._words()[number]
        if self._word_wave is None:
            self._word_wave = np.load(self.folder / "words.npy", mmap_mode="r")
        stored = self._word_wave[row["first"] : row["first"] + min(num_samples, row["length"])].astype(np.float32)
        return np.pad(stored / np.float32(32768.0), (0, num_samples - len(stored)))


@functools.lru_cache(maxsize=4)
def _open(folder: str) -> Catalogue:
    return Catalogue(folder)


def open_catalogue(folder: str | os.PathLike[str] | Catalogue | None = None) -> Catalogue:
    """The catalogue of a folder (or of `VIDEOLLAMA2_ASSETS`), opened once a process."""
    return folder if isinstance(folder, Catalogue) else _open(str(asset_folder(folder)))
