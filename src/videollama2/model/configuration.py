"""The configuration: a language model, its towers, connector and projector.

One nested form serves all: `text_config` is any causal language model's configuration of transformers, `vision_config`
and `audio_config` are mappings whose `tower` names an entry of the tower registries. The official flat `config.json`
files, one model_type for each backbone, are read into the same form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from ..errors import CheckpointError, RequestError
from .presets import audio_preset, normalize_vision_config, vision_preset

# What the official code takes where a config says nothing.
OFFICIAL_NUM_FRAMES = 8
# Keys of an official flat config that belong to the whole model; all others are the language model's.
_OWN_PREFIXES = ("mm_", "tune_mm_", "freeze_mm_", "use_mm_", "tokenizer_", "image_")
_OWN_KEYS = {
    "architectures",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "vision_config",
    "audio_config",
    "num_frames",
    "hidden_size_a",
    "freeze_backbone",
    "is_alignment",
    "use_token_compression",
    "attn_implementation",
    "quantization_config",
    "name_or_path",
    "_name_or_path",
}


class VideoLLaMA2Config(PreTrainedConfig):
    """Configuration of a VideoLLaMA 2 model.

    Args:
        text_config: configuration of the language model, or its mapping with `model_type`. Where it is absent the other
            keyword arguments are read as an official flat config.
        vision_config: `{"tower": name, ...}`; None for a model without eyes.
        audio_config: `{"tower": name, ...}`; None for a model without ears.
        mm_projector_type: connector type (see `connectors.CONNECTOR_TYPES`).
        mm_hidden_size: width of the vision tower; None takes the tower's.
        mm_connector_width: inner width of the connector; None takes the language model's, as the official ones do.
        mm_connector_depth: blocks of each RegStage; None takes the type's own (4 or 0).
        mm_vision_select_layer: hidden state of the tower that is used; -2 is the last but one.
        mm_vision_select_feature: "patch" (class token dropped) or "cls_patch".
        mm_vision_tower: official name or path of the tower, kept for provenance.
        mm_audio_tower: likewise for the audio tower.
        num_frames: frames of a video, and copies of the frame that an image stands for, 1 to 32.
        image_aspect_ratio: "pad" pads pictures to a square, None leaves it to the tower's processor.
        mm_projector_a_type: audio projector: "mlp2x_gelu" (any depth), "linear" or "identity".
        mm_hidden_size_a: width of the audio tower; None takes the tower's.
        mm_use_tags: put tag tokens before the connector's (needs a tower with a classifier).
        mm_tags_doubt: the tag embeddings have one more row, which takes the weight the best classes leave over.
        tie_word_embeddings: taken from `text_config`.
        kwargs: any further keys are kept as attributes and written back.

    Raises:
        RequestError: a value that does not exist.
    """

    model_type = "videollama2"
    # Official flat files of this model_type hold this language model's fields.
    flat_text_type: ClassVar[str] = "mistral"
    # Where transformers passes settings such as the attention implementation on.
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012

    # A configuration object once built; strict typing of the three forms would burden every reader.
    text_config: Any = None
    vision_config: Mapping[str, Any] | None = None
    audio_config: Mapping[str, Any] | None = None
    mm_projector_type: str = "linear"
    mm_hidden_size: int | None = None
    mm_connector_width: int | None = None
    mm_connector_depth: int | None = None
    mm_vision_select_layer: int = -2
    mm_vision_select_feature: str = "patch"
    mm_vision_tower: str | None = None
    mm_audio_tower: str | None = None
    num_frames: int | None = 8
    image_aspect_ratio: str | None = None
    mm_projector_a_type: str = "mlp2x_gelu"
    mm_hidden_size_a: int | None = None
    mm_use_tags: bool = False
    mm_tags_doubt: bool = False
    tie_word_embeddings: bool | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Bring the three parts into form; see the class for the arguments."""
        if self.text_config is None:
            kwargs = _nest({**kwargs, "tie_word_embeddings": self.tie_word_embeddings}, self.flat_text_type)
            self.text_config = kwargs.pop("text_config")
        self.text_config = _as_text_config(self.text_config)
        # An official file names its towers; those known by name need no file of their own.
        vision_config = self.vision_config or vision_preset(self.mm_vision_tower)
        self.vision_config = normalize_vision_config(vision_config) if vision_config else None
        audio_config = self.audio_config or audio_preset(self.mm_audio_tower)
        self.audio_config = {"tower": "beats", **audio_config} if audio_config else None
        super().__post_init__(**kwargs)
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))
        self._check()

    def _check(self) -> None:
        if self.num_frames is None:
            self.num_frames = OFFICIAL_NUM_FRAMES
        if not 1 <= self.num_frames <= 32:
            raise RequestError(f"num_frames is {self.num_frames}; choose 1 to 32.")
        if self.mm_vision_select_feature not in ("patch", "cls_patch"):
            raise RequestError(
                f"mm_vision_select_feature is {self.mm_vision_select_feature!r}; choose 'patch' or 'cls_patch'."
            )

    @property
    def hidden_size(self) -> int:
        """Width of the language model."""
        return self.text_config.hidden_size

    @property
    def official_model_type(self) -> str:
        """The model_type under which the official code knows this backbone, e.g. `videollama2_qwen2`."""
        return f"videollama2_{self.text_config.model_type}"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Read the contents of a `config.json`, ours or official; the result is a `VideoLLaMA2Config` either way."""
        fields = dict(config_dict)
        model_type = fields.pop("model_type", cls.model_type)
        if fields.get("text_config") is None:
            fields = _nest(fields, CONFIG_CLASSES.get(model_type, cls).flat_text_type)
        # One class for all, so that the Auto classes need one model.
        return super(VideoLLaMA2Config, VideoLLaMA2Config).from_dict(fields, **kwargs)

    @staticmethod
    def from_official(
        config: Mapping[str, Any],
        vision_config: Mapping[str, Any] | None = None,
        audio_config: Mapping[str, Any] | None = None,
    ) -> VideoLLaMA2Config:
        """Read an official flat config.

        Args:
            config: contents of the official `config.json`.
            vision_config: contents of the tower's own `config.json` (of the whole CLIP/SigLIP model or its vision
                part); None for towers that `mm_vision_tower` names by their hub id.
            audio_config: sizes of the audio tower (the `cfg` of a BEATs file); None for the published sizes.

        Returns:
            A configuration in the nested form; keys that are not known are kept, the language model's in `text_config`.

        Raises:
            CheckpointError: the model_type is not one of the official ones.
        """
        model_type = config.get("model_type")
        if model_type not in CONFIG_CLASSES:
            raise CheckpointError(
                f"config.json has model_type {model_type!r}, which is not a VideoLLaMA 2 model; known are"
                f" {', '.join(CONFIG_CLASSES)}."
            )
        return VideoLLaMA2Config.from_dict({**config, "vision_config": vision_config, "audio_config": audio_config})

    def to_official(self) -> dict[str, Any]:
        """The official flat form: the language model's fields and ours side by side, under the official model_type."""
        own = self.to_dict()
        for key in ("text_config", "vision_config", "audio_config", "model_type"):
            own.pop(key, None)
        text = self.text_config.to_dict()
        rope = text.pop("rope_parameters", None) or {}
        if "rope_theta" in rope:
            text["rope_theta"] = rope["rope_theta"]
            text["rope_scaling"] = _official_rope_scaling(rope)
        for key in ("mm_connector_width", "mm_connector_depth", "mm_use_tags", "mm_audio_tower", "mm_hidden_size_a"):
            if not own[key]:
                del own[key]
        flat = {**text, **own}
        dtype = flat.pop("dtype", None)
        if dtype is not None:
            flat["torch_dtype"] = dtype
        flat["model_type"] = self.official_model_type
        flat["use_mm_proj"] = True
        if self.audio_config is not None:
            flat["hidden_size_a"] = self.hidden_size
        return flat


# transformers finds a config class by its model_type; these say which language model an official flat file holds.
class VideoLLaMA2MistralConfig(VideoLLaMA2Config):
    """Reads `videollama2_mistral` files."""

    model_type = "videollama2_mistral"


class VideoLLaMA2MixtralConfig(VideoLLaMA2Config):
    """Reads `videollama2_mixtral` files."""

    model_type = "videollama2_mixtral"
    flat_text_type = "mixtral"


class VideoLLaMA2Qwen2Config(VideoLLaMA2Config):
    """Reads `videollama2_qwen2` files."""

    model_type = "videollama2_qwen2"
    flat_text_type = "qwen2"


class VideoLLaMA2LlamaConfig(VideoLLaMA2Config):
    """Reads `videollama2_llama` files."""

    model_type = "videollama2_llama"
    flat_text_type = "llama"


class VideoLLaMA2Gemma2Config(VideoLLaMA2Config):
    """Reads `videollama2_gemma2` files."""

    model_type = "videollama2_gemma2"
    flat_text_type = "gemma2"


class VideoLLaMA2Phi3Config(VideoLLaMA2Config):
    """Reads `videollama2_phi3` files."""

    model_type = "videollama2_phi3"
    flat_text_type = "phi3"


CONFIG_CLASSES: dict[str, type[VideoLLaMA2Config]] = {
    cls.model_type: cls
    for cls in (
        VideoLLaMA2Config,
        VideoLLaMA2MistralConfig,
        VideoLLaMA2MixtralConfig,
        VideoLLaMA2Qwen2Config,
        VideoLLaMA2LlamaConfig,
        VideoLLaMA2Gemma2Config,
        VideoLLaMA2Phi3Config,
    )
}


def _nest(fields: Mapping[str, Any], text_type: str) -> dict[str, Any]:
    """Move a flat config's language-model fields into `text_config`."""
    own = {k: v for k, v in fields.items() if k in _OWN_KEYS or k.startswith(_OWN_PREFIXES)}
    text = {k: v for k, v in fields.items() if k not in own and (k, v) != ("tie_word_embeddings", None)}
    return {**own, "text_config": {**text, "model_type": text_type}}


# What transformers 4 calls each kind of scaled RoPE, and the only fields it takes beside the name.
_OFFICIAL_ROPE = {
    "linear": ("linear", ("factor",)),
    "dynamic": ("dynamic", ("factor",)),
    "longrope": ("su", ("short_factor", "long_factor")),
}


def _official_rope_scaling(rope: Mapping[str, Any]) -> dict[str, Any] | None:
    """`rope_scaling` as the official code's transformers reads it; None where positions are not scaled."""
    kind = rope.get("rope_type", "default")
    if kind == "default":
        return None
    if kind not in _OFFICIAL_ROPE:
        return {k: v for k, v in rope.items() if k != "rope_theta"}
    name, fields = _OFFICIAL_ROPE[kind]
    return {"type": name, **{field: rope[field] for field in fields}}


def _as_text_config(text_config: Mapping[str, Any] | PreTrainedConfig) -> PreTrainedConfig:
    if isinstance(text_config, PreTrainedConfig):
        return text_config
    fields = dict(text_config)
    model_type = fields.pop("model_type", None)
    if model_type not in CONFIG_MAPPING:
        raise CheckpointError(f"text_config has model_type {model_type!r}, which transformers does not know.")
    rope = fields.get("rope_scaling")
    if isinstance(rope, Mapping):
        # A copy, as transformers writes into it. `su` is what long RoPE was called at first: transformers 5 renames it
        # too late to find `original_max_position_embeddings`.
        fields["rope_scaling"] = {**rope, **({"type": "longrope"} if rope.get("type") == "su" else {})}
    return CONFIG_MAPPING[model_type](**fields)
