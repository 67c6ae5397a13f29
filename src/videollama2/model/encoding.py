"""Media to features: towers, connector, projector, and the order in which features meet their sentinels.

Shape legend: F frames of all items, V visual items, T frames of one item, H W grid, S steps, M mel bins, A sounds,
N features, E language-model width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import RequestError
from .audio import AudioTower, build_audio_projector, build_audio_tower
from .configuration import VideoLLaMA2Config
from .connectors import Connector, build_connector
from .connectors.stc import SpatialTemporalConnector
from .splice import AUDIO_SENTINEL, IMAGE_SENTINEL
from .tags import tag_tokens
from .vision import VisionFeatures, VisionTower, build_vision_tower

# Frames that pass the connector's first stage together when no gradient is kept (memory; the result is the same).
FRAMES_PER_CHUNK = 8


def build_vision(config: VideoLLaMA2Config, attn_implementation: str | None) -> tuple[VisionTower, Connector]:
    """Build the vision tower and connector of a config, with random weights.

    Raises:
        RequestError: sizes that do not fit together.
    """
    assert config.vision_config is not None
    tower = build_vision_tower(
        {
            **config.vision_config,
            "select_layer": config.mm_vision_select_layer,
            "select_feature": config.mm_vision_select_feature,
            "attn_implementation": attn_implementation,
        }
    )
    if config.mm_hidden_size is None:
        config.mm_hidden_size = tower.hidden_size
    if config.mm_hidden_size != tower.hidden_size:
        raise RequestError(
            f"mm_hidden_size is {config.mm_hidden_size} but the vision tower is {tower.hidden_size} wide;"
            " use the tower that the checkpoint was trained with."
        )
    connector = build_connector(config)
    if config.mm_vision_select_feature == "cls_patch" and isinstance(connector, SpatialTemporalConnector):
        raise RequestError(
            f"connector {config.mm_projector_type!r} needs a grid, which mm_vision_select_feature='cls_patch' is not;"
            " choose 'patch'."
        )
    return tower, connector


def build_audio(config: VideoLLaMA2Config) -> tuple[AudioTower, nn.Module]:
    """Build the audio tower and projector of a config, with random weights.

    Raises:
        RequestError: sizes that do not fit together.
    """
    assert config.audio_config is not None
    tower = build_audio_tower(config.audio_config)
    if config.mm_hidden_size_a is None:
        config.mm_hidden_size_a = tower.hidden_size
    if config.mm_hidden_size_a != tower.hidden_size:
        raise RequestError(
            f"mm_hidden_size_a is {config.mm_hidden_size_a} but the audio tower is {tower.hidden_size} wide;"
            " use the tower that the checkpoint was trained with."
        )
    return tower, build_audio_projector(config.mm_projector_a_type, tower.hidden_size, config.hidden_size)


def frame_features(tower: VisionTower, connector: Connector, pixels_f3ss: Tensor) -> VisionFeatures:
    """What is computed for each frame alone: tower and the connector's first stage, [F, H, W, C], and tags."""
    features = tower(pixels_f3ss)
    if torch.is_grad_enabled() or len(pixels_f3ss) <= FRAMES_PER_CHUNK:
        return VisionFeatures(grid=connector.frame_stage(features.grid), tags=features.tags)
    chunks = [connector.frame_stage(chunk) for chunk in features.grid.split(FRAMES_PER_CHUNK)]
    return VisionFeatures(grid=torch.cat(chunks), tags=features.tags)


def cached_frames(connector: Connector, features: Sequence[Tensor]) -> VisionFeatures:
    """The same from what the tower gave for each item, [T_i, H, W, D]."""
    return VisionFeatures(grid=connector.frame_stage(torch.cat(list(features))))


def join_frames(
    connector: Connector, grid_fhwc: Tensor, num_frames: Sequence[int], is_image: Sequence[bool], image_frames: int
) -> list[Tensor]:
    """The connector's temporal stage: [N_i, E] for each item; items of equal shape pass together.

    Args:
        connector: the connector.
        grid_fhwc: first-stage features of all frames in order of their items.
        num_frames: frames of each item; 1 for an image.
        is_image: whether an item stands for `image_frames` copies of its frame.
        image_frames: see there.
    """
    items = grid_fhwc.split(list(num_frames))
    tokens: dict[int, Tensor] = {}
    for kind in sorted(set(zip(num_frames, is_image))):
        members = [i for i, key in enumerate(zip(num_frames, is_image)) if key == kind]
        x_vthwc = torch.stack([items[i] for i in members])
        if kind[1]:
            y_vne = connector.still_stage(x_vthwc[:, 0], image_frames)
        else:
            y_vne = connector.temporal_stage(x_vthwc)
        tokens.update(zip(members, y_vne))
    return [tokens[i] for i in range(len(items))]


def tags_of_items(
    connector: Connector,
    tags_fc: Tensor,
    tag_embeddings_ce: Tensor,
    num_frames: Sequence[int],
    is_image: Sequence[bool],
    image_frames: int,
) -> list[Tensor]:
    """Tag tokens [P_i, E] of each item, one for each time slot that the connector makes of it."""
    result = []
    for tags_tc, image in zip(tags_fc.split(list(num_frames)), is_image):
        frames = image_frames if image else len(tags_tc)
        num_slots = connector.num_slots(frames) if isinstance(connector, SpatialTemporalConnector) else 1
        if image:
            result.append(tag_tokens(tags_tc, tag_embeddings_ce, num_slots=1).expand(num_slots, -1))
        else:
            result.append(tag_tokens(tags_tc, tag_embeddings_ce, num_slots=num_slots))
    return result


def check_visual(
    pixels_f3ss: Tensor, num_frames: Sequence[int], is_image: Sequence[bool], image_size: int | None = None
) -> None:
    """Check that frames and items fit.

    Raises:
        RequestError: naming both numbers that differ.
    """
    if len(num_frames) != len(is_image):
        raise RequestError(
            f"num_frames has {len(num_frames)} entries but there are {len(is_image)} images and videos;"
            " give one for each."
        )
    if sum(num_frames) != len(pixels_f3ss):
        raise RequestError(f"num_frames adds up to {sum(num_frames)} but pixel_values holds {len(pixels_f3ss)} frames.")
    if any(image and n != 1 for n, image in zip(num_frames, is_image)):
        raise RequestError("an image is one frame; give its num_frames as 1.")
    if min(num_frames, default=1) < 1:
        raise RequestError("a video has no frames; give at least one.")
    if image_size is not None and pixels_f3ss.shape[1:] != (3, image_size, image_size):
        raise RequestError(
            f"frames have shape {tuple(pixels_f3ss.shape[1:])} but the vision tower takes"
            f" (3, {image_size}, {image_size}); use this model's own processor."
        )


def check_features(
    features: Sequence[Tensor], is_image: Sequence[bool], tower: VisionTower, num_tags: int
) -> list[int]:
    """Check features of a tower that were computed before, one [T_i, H, W, D] for each item; return each T_i.

    Raises:
        RequestError: naming what does not fit.
    """
    if num_tags:
        raise RequestError("a model with tag tokens needs pixel_values; features of its tower alone do not hold tags.")
    wanted = (*tower.grid_size, tower.hidden_size)
    for item in features:
        if item.ndim != 4 or item.shape[1:] != wanted or len(item) < 1:
            raise RequestError(
                f"frame_features of shape {tuple(item.shape)} do not fit the vision tower, which gives"
                f" (frames, {', '.join(map(str, wanted))}); compute them with this model's own tower."
            )
    counts = [len(item) for item in features]
    if len(counts) != len(is_image) or any(image and n != 1 for n, image in zip(counts, is_image)):
        raise RequestError(
            f"frame_features of {counts} frames do not fit {len(is_image)} items of which {sum(is_image)} are images;"
            " give one entry for each item, of one frame for an image."
        )
    return counts


def arrange(
    sentinels: Sequence[int], visual: Sequence[Tensor], audio: Sequence[Tensor], video_has_audio: Sequence[bool]
) -> list[Tensor]:
    """Features in order of their sentinels; a visual item with sound is its visual tokens, then its audio tokens.

    Args:
        sentinels: -200, -201 or -202 in reading order.
        visual: [N, E] of each image and video, in order.
        audio: [N, E] of each sound in order, those of videos among them.
        video_has_audio: for each visual item, whether the next sound is its own.

    Raises:
        RequestError: numbers of placeholders, items and sounds that do not fit.
    """
    num_visual = sum(s != AUDIO_SENTINEL for s in sentinels)
    num_audio = len(sentinels) - num_visual + sum(video_has_audio)
    for what, wanted, given in (
        ("images and videos", num_visual, len(visual)),
        ("sound flags of images and videos", num_visual, len(video_has_audio)),
        ("sounds", num_audio, len(audio)),
    ):
        if wanted != given:
            raise RequestError(
                f"the prompt's placeholders ask for {wanted} {what} but {given} were given;"
                " give one for each placeholder."
            )
    visuals, flags, sounds = iter(visual), iter(video_has_audio), iter(audio)
    result = []
    for sentinel in sentinels:
        if sentinel == AUDIO_SENTINEL:
            result.append(next(sounds))
        else:
            item_ne = next(visuals)
            result.append(torch.cat([item_ne, next(sounds)]) if next(flags) else item_ne)
    return result


def images_among(sentinels: Sequence[int]) -> list[bool]:
    """For each visual sentinel in order, whether it is an image."""
    return [s == IMAGE_SENTINEL for s in sentinels if s != AUDIO_SENTINEL]
