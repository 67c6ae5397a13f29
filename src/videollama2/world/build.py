"""Makes a folder of clips with training rows or benchmark records: `python -m videollama2.world.build DIR ...`.

The same settings give the same bytes with any number of workers. A stopped build is continued by the same command.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from videollama2.errors import VideoLLaMA2Error
from videollama2.world.assets import Catalogue, open_catalogue
from videollama2.world.collection import Collection, Settings
from videollama2.world.formats import FORMATS, format_named
from videollama2.world.scene import MIXES


def build(
    folder: str | os.PathLike[str],
    settings: Settings,
    *,
    workers: int = 0,
    annotations_only: bool = False,
    assets: str | os.PathLike[str] | Catalogue | None = None,
) -> list[dict]:
    """Makes a collection.

    Args:
        folder: Where to; it is made.
        settings: Format, split, seed, number of clips and how they look.
        workers: Processes that write media; 0 is this one.
        annotations_only: Write the records without their media (to try readers on full-size files).
        assets: Asset folder or opened catalogue; by default the folder in `VIDEOLLAMA2_ASSETS`.

    Returns:
        The rows of the manifest: path, form, bytes, sha256, scenes.

    Raises:
        RequestError: An unknown format, split or mix, or a folder that holds another build.
        MissingFilesError: No assets.
    """
    make = format_named(settings.format)
    collection = Collection(open_catalogue(assets), settings)
    make(collection)
    return collection.write(Path(folder), workers, annotations_only=annotations_only)


def main(arguments: list[str] | None = None) -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--format", default="official", choices=list(FORMATS))
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=100, help="clips, pairs of clips or sounds to make")
    parser.add_argument("--size", type=int, default=224, help="side of the pictures in pixels")
    parser.add_argument("--fps", type=int, default=12, help="frames a second of films")
    parser.add_argument("--mix", default="all", choices=list(MIXES), help="kinds of scene, where the format allows")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--annotations-only", action="store_true", help="write no media")
    parser.add_argument("--assets", type=Path, help="asset folder (default: VIDEOLLAMA2_ASSETS)")
    given = vars(parser.parse_args(arguments))
    folder = given.pop("folder")
    options = {name: given.pop(name) for name in ("workers", "annotations_only", "assets")}
    start = time.perf_counter()
    try:
        rows = build(folder, Settings(**given), **options)
    except VideoLLaMA2Error as error:
        parser.exit(2, f"{error}\n")
    seconds = time.perf_counter() - start
    size = sum(row["bytes"] for row in rows) / 2**20
    print(f"{folder}: {len(rows)} media, {size:.1f} MiB, {len(rows) / seconds:.1f} a second")


if __name__ == "__main__":
    main()
