"""Fetches the free sprites and sounds of the world into a folder, once: `python -m videollama2.world.fetch_assets DIR`.

Needs `npm` and `apt-get` (for downloading only) and, to draw and to sound, `rsvg-convert` (librsvg2-bin),
`fluidsynth`, `espeak-ng` and `flite`. Nothing is installed and nothing of it belongs in a repository. The folder gets
`index.json`, `sprites/`, `sounds.npy`, `words.npy`, `words.json` and `ledger.json`, which names every source with its
licence and checksum.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from videollama2.errors import MissingDependencyError, MissingFilesError
from videollama2.world.fetch_sounds import build_sounds
from videollama2.world.fetch_words import build_words
from videollama2.world.nouns import NOUNS
from videollama2.world.openclipart import OPENCLIPART

SPRITE_SIDE = 192
"""Longest side of a stored sprite, in pixels."""

_NPM: dict[str, tuple[str, str]] = {
    "@lobehub/fluent-emoji-3d@1.1.0": (
        "MIT",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    ),
    "emoji-datasource-google@16.0.0": (
        "art: Apache-2.0 (Noto Emoji); data: MIT",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    ),
    "emoji-datasource-twitter@16.0.0": (
        "art: CC-BY-4.0 (Twemoji, Twitter and contributors); data: MIT",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    ),
    "@iconify-json/fluent-emoji-flat@1.2.6": (
        "MIT (Fluent Emoji, Microsoft)",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
    "@iconify-json/twemoji@1.2.5": (
        "CC-BY-4.0 (Twemoji, Twitter and contributors)",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
    ),
    "@iconify-json/noto@1.2.9": (
        "Apache-2.0 (Noto Emoji, Google)",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    ),
    "@iconify-json/fxemoji@1.2.2": (
        "Apache-2.0 (Firefox OS Emoji, Mozilla)",
        "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
    ),
    "@iconify-json/streamline-emojis@1.2.4": (
        "CC-BY-4.0 (Streamline)",
        "5dac87c876b322500989828c5823143e0100d78881627a2e4081a4b897cbfdbc",
    ),
}
"""Package -> licence of its art, SHA-256 of the archive."""
_DEBIAN = {
    "openclipart-png": "public domain (Open Clip Art contributors)",
    "fluidr3mono-gm-soundfont": "MIT (Frank Wen, Michael Cowgill and others)",
}
_BY_CODE = {"fluent-flat": "fluent-emoji-flat", "twemoji": "twemoji", "noto": "noto"}
_BY_NAME = {"fxemoji": "fxemoji", "streamline": "streamline-emojis"}


def _need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise MissingDependencyError(f"the program {program} is not installed; install the package {package}")


def _plain(code: str) -> str:
    return code.lower().replace("-fe0f", "")


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _run(command: list[str], folder: Path, what: str) -> None:
    """Runs a download command; its failure names what could not be had."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise MissingFilesError(f"{what} could not be downloaded ({reason[0]}); check the network and run this again")


def download(folder: Path) -> list[dict[str, str]]:
    """Downloads all packages into `folder` (kept, so that a second run is quick) and unpacks them.

    Returns:
        Ledger rows: source, file, licence, sha256.

    Raises:
        MissingDependencyError: npm or apt-get is not installed.
        MissingFilesError: A package cannot be downloaded, or is not the one this was written for.
    """
    _need("npm", "npm")
    _need("apt-get", "apt")
    folder.mkdir(parents=True, exist_ok=True)
    ledger = []
    for package, (licence, checksum) in _NPM.items():
        name, version = package.rsplit("@", 1)
        archive = folder / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"
        if not archive.exists():
            _run(["npm", "pack", "--silent", package], folder, f"the npm package {package}")
        row = _row(f"npm {package}", archive, licence)
        if row["sha256"] != checksum:
            raise MissingFilesError(
                f"{archive} is not the expected {package} (other checksum); delete it and run again"
            )
        _unpack(archive, folder / name.split("/")[-1])
        ledger.append(row)
    for package, licence in _DEBIAN.items():
        if not list(folder.glob(f"{package}_*.deb")):
            _run(["apt-get", "download", "-q", package], folder, f"the Debian package {package}")
        archive = next(folder.glob(f"{package}_*.deb"))
        if not (folder / package).exists():
            subprocess.run(["dpkg", "-x", archive.name, package], cwd=folder, check=True)
        ledger.append(_row(f"debian {archive.stem}", archive, licence))
    return ledger


def _row(source: str, archive: Path, licence: str) -> dict[str, str]:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return {"source": source, "file": archive.name, "licence": licence, "sha256": digest}


def _unpack(archive: Path, target: Path) -> None:
    if target.exists():
        return
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    wanted = re.compile(r"package/(assets/.*|img/[a-z]+/64/.*|[a-z]+\.json)$")
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.isfile() and wanted.match(member.name)]
        tar.extractall(partial, members=members, filter="data")
    partial.rename(target)


def _save(image: Image.Image, path: Path) -> bool:
    """Trims transparent margins, shrinks to `SPRITE_SIDE` and stores; False where the drawing is empty."""
    image = image.convert("RGBA")
    box = image.getchannel("A").point(lambda a: 255 if a > 24 else 0).getbbox()
    if box is None:
        return False
    image = image.crop(box)
    image.thumbnail((SPRITE_SIDE, SPRITE_SIDE), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path.with_suffix(".part"), format="PNG")
    path.with_suffix(".part").rename(path)  # an interrupted run leaves no half picture behind
    return True


def _render_svg(icons: dict, name: str) -> Image.Image:
    icon = icons["icons"][name]
    width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
    left, top = icon.get("left", icons.get("left", 0)), icon.get("top", icons.get("top", 0))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="256" height="256">{icon["body"]}</svg>'
    )
    png = subprocess.run(
        ["rsvg-convert", "-w", "256", "-h", "256"], input=svg.encode(), capture_output=True, check=True
    )
    return Image.open(io.BytesIO(png.stdout))


def build_sprites(downloads: Path, out: Path) -> dict[str, dict[str, list[str]]]:
    """Draws every noun in every style.

    Returns:
        noun -> style -> sprite files relative to `out`.
    """
    _need("rsvg-convert", "librsvg2-bin")
    index: dict[str, dict[str, list[str]]] = {name: {} for name in NOUNS}
    jobs: list[tuple] = []  # (noun, style, file stem, () -> image)

    def opener(path: Path):
        return lambda: Image.open(path)

    def drawer(icons: dict, name: str):
        return lambda: _render_svg(icons, name)

    emoji = json.loads((downloads / "emoji-datasource-google/package/emoji.json").read_text())
    names_of_code = {_plain(row["unified"]): {_key(row["name"]), *map(_key, row["short_names"])} for row in emoji}
    bitmaps = {
        "fluent": "fluent-emoji-3d/package/assets/*.webp",
        "noto64": "emoji-datasource-google/package/img/google/64/*.png",
        "twemoji64": "emoji-datasource-twitter/package/img/twitter/64/*.png",
    }
    for style, pattern in bitmaps.items():
        files = {_plain(path.stem): path for path in sorted(downloads.glob(pattern))}
        for noun in NOUNS.values():
            jobs += [(noun.name, style, code, opener(files[code])) for code in noun.codes if code in files]
    for style, package in _BY_CODE.items():
        icons = json.loads((downloads / package / "package/icons.json").read_text())
        chars = json.loads((downloads / package / "package/chars.json").read_text())
        by_code = {_plain(code): icon for code, icon in chars.items() if icon in icons["icons"]}
        for noun in NOUNS.values():
            drawn = [code for code in noun.codes if code in by_code]
            jobs += [(noun.name, style, code, drawer(icons, by_code[code])) for code in drawn]
    for style, package in _BY_NAME.items():
        icons = json.loads((downloads / package / "package/icons.json").read_text())
        by_name: dict[str, list[str]] = {}
        for name in sorted(icons["icons"]):
            by_name.setdefault(_key(re.sub(r"-\d+$", "", name)), []).append(name)
        for noun in NOUNS.values():
            keys = {_key(noun.name)}.union(*(names_of_code.get(code, set()) for code in noun.codes))
            found = sorted({icon for key in keys for icon in by_name.get(key, [])})
            jobs += [(noun.name, style, _key(icon), drawer(icons, icon)) for icon in found]

    clipart = next((downloads / "openclipart-png").rglob("openclipart/png"))
    for name, stems in OPENCLIPART.items():
        jobs += [(name, "openclipart", stem.split("/")[-1], opener(clipart / f"{stem}.png")) for stem in stems.split()]

    def run(job: tuple) -> tuple[str, str, str, bool]:
        name, style, stem, image = job
        file = f"sprites/{style}/{stem}.png"
        return name, style, file, (out / file).exists() or _save(image(), out / file)

    with ThreadPoolExecutor(4) as pool:
        for name, style, file, saved in pool.map(run, jobs):
            if saved:
                index[name].setdefault(style, []).append(file)
    return index


def fetch(out: Path, downloads: Path | None = None) -> None:
    """Fetches, draws and renders everything into `out`; safe to run again."""
    out.mkdir(parents=True, exist_ok=True)
    downloads = downloads or out / "downloads"
    ledger = download(downloads)
    sprites = build_sprites(downloads, out)
    soundfont = next((downloads / "fluidr3mono-gm-soundfont").rglob("FluidR3Mono_GM.sf3"))
    sounds, sound_ledger = build_sounds(soundfont, out)
    word_ledger = build_words(out)
    (out / "ledger.json").write_text(json.dumps(ledger + sound_ledger + word_ledger, indent=1) + "\n")
    index = json.dumps({"version": 1, "nouns": sprites, "sounds": sounds}, indent=0)
    (out / "index.json").write_text(index + "\n")  # written last: a folder with an index is complete


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the assets (outside the repository)")
    parser.add_argument("--downloads", type=Path, help="folder for the packages (default: OUT/downloads)")
    arguments = parser.parse_args()
    fetch(arguments.out, arguments.downloads)


if __name__ == "__main__":
    main()
