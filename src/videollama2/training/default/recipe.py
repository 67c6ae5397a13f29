"""Every number of the default model's training, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of the default model's training.

    Attributes:
        seed: Seed of clips, order and initialisation.
        num_frames: Frames a clip (the model's `num_frames`).
        image_size: Side of the square rendered frames in pixels.
        shard_clips: Clips in one feature shard.
        max_audio_tokens: Audio tokens kept of a clip (one is half a second).
        warmup_clips: Clips seen by the connector warm-up (with repetition).
        warmup_batch: Clips in a warm-up step.
        warmup_lr: Peak learning rate of the warm-up.
        language_steps: Optimiser steps of the language phase.
        language_batch: Clips in a language step.
        questions_per_clip: Questions that share one clip's prefix in a language step.
        lora_rank: Rank of LoRA on every linear layer of the LLM.
        lora_alpha: LoRA scale is alpha / rank.
        lora_lr: Peak learning rate of LoRA.
        connector_lr: Peak learning rate of connector and projector in the language phase.
        warmup_weight: Weight of the warm-up loss kept beside the language loss.
        drop_sound: Share of clips shown without their sound in the language phase.
        drop_video: Share of clips of which only the sound is given.
        still_image: Share of clips reduced to one frame (an image).
        tag_drill: Share of clips whose tags are replaced by one ImageNet class, to teach reading tags.
        grad_clip: Gradient norm limit.
    """

    seed: int = 20240611
    num_frames: int = 8
    image_size: int = 224
    shard_clips: int = 256
    max_audio_tokens: int = 16
    warmup_clips: int = 80_000
    warmup_batch: int = 64
    warmup_lr: float = 2e-3
    language_steps: int = 1500
    language_batch: int = 8
    questions_per_clip: int = 4
    lora_rank: int = 32
    lora_alpha: float = 32.0
    lora_lr: float = 8e-4
    connector_lr: float = 4e-4
    warmup_weight: float = 0.2
    drop_sound: float = 0.1
    drop_video: float = 0.08
    still_image: float = 0.08
    tag_drill: float = 0.1
    grad_clip: float = 1.0
