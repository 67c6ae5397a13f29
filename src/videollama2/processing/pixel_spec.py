"""What a vision tower wants of its frames: size, crop or stretch, resampling, mean and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from PIL import Image

from videollama2.errors import CheckpointError, RequestError

Resize = Literal["shortest_edge_crop", "stretch"]

RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_RESAMPLE_BY_NUMBER = {int(number): name for name, number in RESAMPLE.items()}


@dataclass(frozen=True, kw_only=True)
class PixelSpec:
    """How frames become the input of one vision tower.

    Attributes:
        image_size: Side S of the square input in pixels, 1 or more.
        resize: "shortest_edge_crop" (CLIP: the short side becomes `shortest_edge`, then the middle square is kept) or
            "stretch" (SigLIP: both sides become S, the aspect ratio is lost).
        shortest_edge: Short side after the resize in pixels, `image_size` or more; None means `image_size`.
        resample: "bicubic", "bilinear", "lanczos" or "nearest".
        rescale_factor: What a level of 0..255 is multiplied with before the mean is taken off.
        mean: Mean of each of R, G, B after rescaling.
        std: Standard deviation of each of R, G, B after rescaling, above 0.
    """

    image_size: int
    resize: Resize = "stretch"
    shortest_edge: int | None = None
    resample: str = "bicubic"
    rescale_factor: float = 1 / 255
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        """Check every field; tuples may come as lists (from JSON)."""
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if self.image_size < 1:
            raise RequestError(f"PixelSpec.image_size is {self.image_size}; give 1 or more pixels.")
        if self.resize not in ("shortest_edge_crop", "stretch"):
            raise RequestError(f"PixelSpec.resize is {self.resize!r}; use 'shortest_edge_crop' or 'stretch'.")
        if self.resample not in RESAMPLE:
            raise RequestError(f"PixelSpec.resample is {self.resample!r}; use one of {sorted(RESAMPLE)}.")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0 or self.rescale_factor <= 0:
            raise RequestError("PixelSpec needs three means, three std above 0 and a rescale_factor above 0.")
        if self.shortest_edge is not None and self.shortest_edge < self.image_size:
            raise RequestError(
                f"PixelSpec.shortest_edge is {self.shortest_edge}; give image_size ({self.image_size}) or more."
            )

    @property
    def background(self) -> tuple[int, int, int]:
        """Colour of the padding to a square, 0..255 (official: the mean, truncated to a whole level)."""
        red, green, blue = (int(value * 255) for value in self.mean)
        return red, green, blue

    @classmethod
    def from_preprocessor_config(cls, config: Mapping[str, Any]) -> PixelSpec:
        """Read the `preprocessor_config.json` of a CLIP or SigLIP tower.

        Args:
            config: The parsed file. `size` and `crop_size` may be an int, {"height", "width"} or {"shortest_edge"}.

        Raises:
            CheckpointError: The config asks for something no VideoLLaMA 2 tower does (a rectangle, no resize).
        """
        size, crop = config.get("size"), config.get("crop_size")
        if size is None or not config.get("do_resize", True):
            raise CheckpointError("The preprocessor config resizes nothing; give the one of a CLIP or SigLIP tower.")
        crops = bool(config.get("do_center_crop", False)) or (isinstance(size, Mapping) and "shortest_edge" in size)
        edge = _square_side(size)
        resample = config.get("resample", 3)
        name = _RESAMPLE_BY_NUMBER.get(int(resample)) if resample is not None else "bicubic"
        if name is None:
            raise CheckpointError(f"The preprocessor config has resample {resample}; known are {_RESAMPLE_BY_NUMBER}.")
        normalises = config.get("do_normalize", True)
        mean, std = (config.get("image_mean"), config.get("image_std")) if normalises else ([0.0] * 3, [1.0] * 3)
        if mean is None or std is None:
            raise CheckpointError(
                "The preprocessor config lacks image_mean or image_std; add both, three numbers each."
            )
        return cls(
            image_size=(_square_side(crop) if crop is not None else edge) if crops else edge,
            resize="shortest_edge_crop" if crops else "stretch",
            shortest_edge=edge if crops else None,
            resample=name,
            rescale_factor=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
            mean=tuple(mean),
            std=tuple(std),
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values; `PixelSpec(**spec.to_dict())` is the same spec."""
        fields = asdict(self)
        return fields | {"mean": list(self.mean), "std": list(self.std)}


def _square_side(size: Any) -> int:
    """Side of a size that is an int, {"height", "width"} or {"shortest_edge"}."""
    if isinstance(size, int):
        return size
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            return int(size["shortest_edge"])
        if size.get("height") is not None and size.get("height") == size.get("width"):
            return int(size["height"])
    raise CheckpointError(f"The preprocessor config has the size {size}; give one side, the input must be a square.")
