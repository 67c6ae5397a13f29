"""Training rows and the records of every benchmark, in the layouts in which they are released."""

from __future__ import annotations

from collections.abc import Callable

from videollama2.errors import RequestError
from videollama2.world.collection import Collection
from videollama2.world.formats import (
    audiovisual,
    egoschema,
    hearing,
    mvbench,
    nextqa,
    official,
    open_questions,
    perception_test,
    tvbench,
    videomme,
    vinoground,
    vnbench,
)

FORMATS: dict[str, Callable[[Collection], None]] = {
    "official": official.build,
    "vinoground": vinoground.build,
    "videomme": videomme.build,
    "vnbench": vnbench.build,
    "egoschema": egoschema.build,
    "tvbench": tvbench.build,
    "nextqa": nextqa.build,
    "perception_test": perception_test.build,
    "mvbench": mvbench.build,
    "msvd_qa": open_questions.build_msvd,
    "activitynet_qa": open_questions.build_activitynet,
    "videochatgpt": open_questions.build_videochatgpt,
    "msvc": open_questions.build_msvc,
    "clotho_aqa": hearing.build_clotho,
    "tut2017": hearing.build_tut,
    "vocalsound": hearing.build_vocalsound,
    "music_avqa": audiovisual.build_music_avqa,
    "avsd": audiovisual.build_avsd,
    "avssd": audiovisual.build_avssd,
}
"""Name -> what registers its media and annotations with a collection."""


def format_named(name: str) -> Callable[[Collection], None]:
    """The format of a name.

    Raises:
        RequestError: There is none.
    """
    if name not in FORMATS:
        raise RequestError(f"unknown format {name!r}; choose one of {', '.join(FORMATS)}")
    return FORMATS[name]
