"""The model: towers, connector and projector in front of any causal language model of transformers.

`VideoLLaMA2Model` turns media into features and splices them into the text; `VideoLLaMA2ForConditionalGeneration` adds
the output head, the loss and `generate`. See docs/architecture.md for the tensors of a batch.

Shape legend: B rows, L token ids, P positions after the splice, F frames, V visual items, A sounds, S steps, M mel
bins, N features, E language-model width, Y vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from ..errors import RequestError
from . import encoding
from .configuration import VideoLLaMA2Config
from .past import past_length, with_past
from .splice import PaddingSide, Spliced, packed_position_ids, position_ids_of, sentinels_of, splice

# Arguments that carry media; forward and generate take them all.
MEDIA_ARGUMENTS = (
    "pixel_values",
    "num_frames",
    "audio_values",
    "audio_lengths",
    "video_has_audio",
    "media_embeds",
    "frame_features",
    "audio_features",
)


class VideoLLaMA2PreTrainedModel(PreTrainedModel):
    """What both models share with transformers."""

    config_class = VideoLLaMA2Config
    config: VideoLLaMA2Config
    base_model_prefix = "model"
    input_modalities = ["image", "video", "audio", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    # One module of this kind stays on one device; those of the language model are added by transformers.
    _no_split_modules = ["CLIPEncoderLayer", "SiglipEncoderLayer", "RegBottleneck", "BeatsLayer"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; the vision tower is frozen afterwards, as it is in a newly built model."""
        result = super().from_pretrained(*args, **kwargs)
        model = result[0] if isinstance(result, tuple) else result
        model.freeze_vision_tower()
        return result

    def freeze_vision_tower(self) -> None:
        """Keep the vision tower out of training, as in every stage of the official recipe."""
        for name, module in self.named_modules():
            if name.rpartition(".")[2] == "vision_tower":
                module.requires_grad_(False)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Towers, connector and projector start as torch starts them; the language model starts itself.
        if isinstance(module, VideoLLaMA2Model) and module.tag_embeddings is not None:
            nn.init.zeros_(module.tag_embeddings)
        elif callable(reset := getattr(module, "reset_parameters", None)):
            reset()


class VideoLLaMA2Model(VideoLLaMA2PreTrainedModel):
    """Vision tower, connector, audio tower, audio projector and the language model without its head.

    The vision tower is frozen when built or loaded (`requires_grad_(True)` on it changes that).

    Args:
        config: which of the parts exist, and their sizes.
    """

    tag_embeddings: Tensor | None

    def __init__(self, config: VideoLLaMA2Config) -> None:
        super().__init__(config)
        if config.vision_config is not None:
            self.vision_tower, self.mm_projector = encoding.build_vision(config, config._attn_implementation)
        if config.audio_config is not None:
            self.audio_tower, self.mm_projector_a = encoding.build_audio(config)
        self.language_model = AutoModel.from_config(config.text_config)
        num_tags = self._num_tags()
        self.register_buffer("tag_embeddings", torch.zeros(num_tags, config.hidden_size) if num_tags else None)
        self.post_init()
        self.freeze_vision_tower()

    def _num_tags(self) -> int:
        if not self.config.mm_use_tags:
            return 0
        num_tags = self.vision_tower.num_tags if self.config.vision_config is not None else 0
        if num_tags == 0:
            raise RequestError("mm_use_tags is set but the vision tower has no classifier; set mm_use_tags to false.")
        return num_tags + int(self.config.mm_tags_doubt)

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embedding."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's token embedding."""
        self.language_model.set_input_embeddings(value)

    def encode_visual(
        self,
        pixel_values: Tensor | None,
        num_frames: Tensor | Sequence[int] | None,
        is_image: Sequence[bool],
        frame_features: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Tokens of images and videos.

        An image stands for `config.num_frames` copies of its frame (official behaviour) and is computed once.

        Args:
            pixel_values: frames of all items one after another, [F, 3, S, S].
            num_frames: frames of each item, 1 for an image.
            is_image: which items are images.
            frame_features: what the vision tower gave for each item, [T_i, H, W, D], in place of the first two.

        Returns:
            [N_i, E] of each item: tag tokens where the model has them, then the connector's.

        Raises:
            RequestError: no vision tower, or numbers of frames and items that do not fit.
        """
        if self.config.vision_config is None:
            raise RequestError("this model has no vision tower; ask it about text or sound, or load another model.")
        images = [bool(image) for image in is_image]
        if frame_features is not None:
            counts = encoding.check_features(frame_features, images, self.vision_tower, self._num_tags())
        else:
            assert pixel_values is not None
            assert num_frames is not None
            counts = [int(n) for n in num_frames]
            encoding.check_visual(pixel_values, counts, images, self.vision_tower.image_size)
        if not counts:
            return []
        if frame_features is not None:
            like = next(self.mm_projector.parameters())
            frames = encoding.cached_frames(self.mm_projector, [item.to(like) for item in frame_features])
        else:
            assert pixel_values is not None
            pixel_values = pixel_values.to(next(self.vision_tower.parameters()))
            frames = encoding.frame_features(self.vision_tower, self.mm_projector, pixel_values)
        copies = int(self.config.num_frames or 1)
        tokens = encoding.join_frames(self.mm_projector, frames.grid, counts, images, copies)
        if self.tag_embeddings is None:
            return tokens
        assert frames.tags is not None
        tags = encoding.tags_of_items(self.mm_projector, frames.tags, self.tag_embeddings, counts, images, copies)
        return [torch.cat([tag.to(token), token]) for tag, token in zip(tags, tokens)]

    def encode_audio(
        self,
        audio_values: Tensor | None,
        audio_lengths: Tensor | Sequence[int] | None = None,
        audio_features: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Tokens of sounds.

        Args:
            audio_values: fbank or log-mel of all sounds, [A, S, M], zero-padded to the longest.
            audio_lengths: true steps of each, [A]; None: all are S long.
            audio_features: what the audio tower gave for each sound, [N_i, D], in place of the first two.

        Returns:
            [N_i, E] of each sound.

        Raises:
            RequestError: no audio tower, or numbers that do not fit.
        """
        if self.config.audio_config is None:
            raise RequestError("this model has no audio tower; leave the sound out or load an audio-visual model.")
        if audio_features is not None:
            like = next(self.mm_projector_a.parameters())
            return [self.mm_projector_a(item_nd.to(like)) for item_nd in audio_features]
        assert audio_values is not None
        if audio_lengths is None:
            audio_lengths = [audio_values.shape[1]] * len(audio_values)
        lengths = torch.as_tensor(audio_lengths, dtype=torch.long)
        if len(lengths) != len(audio_values) or (len(lengths) and int(lengths.max()) > audio_values.shape[1]):
            raise RequestError(
                f"audio_lengths {lengths.tolist()} do not fit audio_values of shape {tuple(audio_values.shape)}."
            )
        features = self.audio_tower(audio_values.to(next(self.audio_tower.parameters())), lengths)
        return [self.mm_projector_a(item_nd) for item_nd in features]

    def splice_media(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        padding_side: PaddingSide = "right",
        pixel_values: Tensor | None = None,
        num_frames: Tensor | None = None,
        audio_values: Tensor | None = None,
        audio_lengths: Tensor | None = None,
        video_has_audio: Tensor | None = None,
        media_embeds: Sequence[Tensor] | None = None,
        frame_features: Sequence[Tensor] | None = None,
        audio_features: Sequence[Tensor] | None = None,
        segment_ids: Tensor | None = None,
    ) -> Spliced:
        """Encode the media, unless given encoded, and put them in place of the sentinels of `input_ids` [B, L].

        `forward` describes the arguments.

        Raises:
            RequestError: numbers of placeholders and media that do not fit.
        """
        sentinels = sentinels_of(input_ids, attention_mask)
        if media_embeds is None:
            images = encoding.images_among(sentinels)
            given = num_frames if frame_features is None else frame_features
            if pixel_values is None and frame_features is None:
                visual: list[Tensor] = []
            elif given is None:
                raise RequestError("pixel_values came without num_frames; give the number of frames of each item.")
            elif len(given) != len(images):
                raise RequestError(
                    f"the prompt's placeholders ask for {len(images)} images and videos but {len(given)} were"
                    " given; give one for each placeholder."
                )
            else:
                visual = self.encode_visual(pixel_values, num_frames, images, frame_features)
            heard = audio_values is not None or audio_features is not None
            audio = self.encode_audio(audio_values, audio_lengths, audio_features) if heard else []
            flags = [False] * len(visual) if video_has_audio is None else [bool(flag) for flag in video_has_audio]
            media_embeds = encoding.arrange(sentinels, visual, audio, flags)
        embedding = self.get_input_embeddings()
        # Gemma2 scales what enters its layers by sqrt(E). transformers 5 does it inside the embedding, the official
        # code (transformers 4) on text and media alike.
        scale = getattr(embedding, "embed_scale", None)
        if scale is not None:
            media_embeds = [item_ne * torch.as_tensor(scale, dtype=item_ne.dtype) for item_ne in media_embeds]
        return splice(input_ids, media_embeds, embedding, attention_mask, labels, padding_side, segment_ids)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        segment_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states of a batch; arguments as in `VideoLLaMA2ForConditionalGeneration.forward`.

        With `segment_ids` ([B, L], with `inputs_embeds` [B, P]) attention stays inside each segment.
        """
        media = {name: kwargs.pop(name) for name in MEDIA_ARGUMENTS if name in kwargs}
        if inputs_embeds is None:
            assert input_ids is not None
            spliced = self.splice_media(input_ids, attention_mask, segment_ids=segment_ids, **media)
            inputs_embeds, attention_mask = spliced.inputs_embeds, spliced.attention_mask
            segment_ids = spliced.segment_ids
        if segment_ids is not None:
            # With a mask or a cache, transformers would not look for segments in the positions.
            position_ids, attention_mask, use_cache = packed_position_ids(segment_ids), None, False
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
            position_ids = position_ids_of(attention_mask)[:, -inputs_embeds.shape[1] :]
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )


class VideoLLaMA2ForConditionalGeneration(VideoLLaMA2PreTrainedModel, GenerationMixin):
    """VideoLLaMA 2: video, image, sound and text in, text out.

    Args:
        config: which of the parts exist, and their sizes.
    """

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012
    # Modules that 8- and 4-bit quantisation leaves alone (towers and connectors lose more than they save).
    modules_to_not_convert = ("vision_tower", "mm_projector", "audio_tower", "mm_projector_a", "lm_head")

    def __init__(self, config: VideoLLaMA2Config) -> None:
        super().__init__(config)
        self.model = VideoLLaMA2Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embedding."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's token embedding."""
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The output head."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the output head."""
        self.lm_head = new_embeddings

    def encode_visual(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """See `VideoLLaMA2Model.encode_visual`."""
        return self.model.encode_visual(*args, **kwargs)

    def encode_audio(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """See `VideoLLaMA2Model.encode_audio`."""
        return self.model.encode_audio(*args, **kwargs)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        pixel_values: Tensor | None = None,
        num_frames: Tensor | None = None,
        audio_values: Tensor | None = None,
        audio_lengths: Tensor | None = None,
        video_has_audio: Tensor | None = None,
        media_embeds: Sequence[Tensor] | None = None,
        frame_features: Sequence[Tensor] | None = None,
        audio_features: Sequence[Tensor] | None = None,
        segment_ids: Tensor | None = None,
        padding_side: PaddingSide = "right",
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple:
        """Logits, and the loss where labels are given.

        Args:
            input_ids: token ids with one sentinel for each media item (-200 image, -201 video, -202 audio), [B, L].
            attention_mask: true at tokens, [B, L]; with `inputs_embeds` or a cache, [B, past + P].
            position_ids: [B, P]; None counts the visible tokens.
            past_key_values: keys and values of earlier positions.
            inputs_embeds: already spliced embeddings [B, P, E], in place of `input_ids` and media.
            labels: [B, L] with -100 where nothing is learned (with `inputs_embeds`: [B, P]).
            use_cache: whether to return keys and values.
            logits_to_keep: last positions whose logits are wanted, or their indices; 0 is all. Not with labels.
            pixel_values: frames of all images and videos in order, [F, 3, S, S].
            num_frames: frames of each, [V]; 1 for an image.
            audio_values: features of all sounds in order, [A, S, M].
            audio_lengths: true steps of each, [A].
            video_has_audio: whether a visual item's sound is the next sound, [V]; None: none has.
            media_embeds: features already encoded, one [N_i, E] for each sentinel, in place of the five above.
            frame_features: the vision tower's grids, [T_i, H, W, D] for each visual item, in place of `pixel_values`
                and `num_frames`; connector and head run as ever.
            audio_features: the audio tower's features, [N_i, D] for each sound, in place of `audio_values` and
                `audio_lengths`.
            segment_ids: packed rows: which sample an id belongs to, 1 and up, 0 at padding, [B, L]. Positions start
                anew at each segment and segments do not see one another; not with a cache.
            padding_side: where spliced rows are filled.
            return_dict: False returns a tuple.
            kwargs: passed on to the language model and the loss (`num_items_in_batch`).

        Returns:
            Loss (mean over labels, each predicted by the position before), logits [B, P, Y], cache.

        Raises:
            RequestError: numbers of placeholders and media that do not fit.
        """
        if inputs_embeds is None:
            if input_ids is None:
                raise RequestError("forward needs input_ids or inputs_embeds.")
            # In a decoding step there is nothing to splice, and looking for sentinels would stall a GPU.
            given = (pixel_values, audio_values, media_embeds, frame_features, audio_features)
            if past_key_values is None or any(medium is not None for medium in given):
                spliced = self.model.splice_media(
                    input_ids,
                    # With a cache the mask covers the past too; the splice needs the part of the new ids.
                    attention_mask if attention_mask is None else attention_mask[:, -input_ids.shape[1] :],
                    labels,
                    padding_side,
                    pixel_values=pixel_values,
                    num_frames=num_frames,
                    audio_values=audio_values,
                    audio_lengths=audio_lengths,
                    video_has_audio=video_has_audio,
                    media_embeds=media_embeds,
                    frame_features=frame_features,
                    audio_features=audio_features,
                    segment_ids=segment_ids,
                )
                segment_ids = spliced.segment_ids
                inputs_embeds, labels = spliced.inputs_embeds, spliced.labels
                past_mask = None if attention_mask is None else attention_mask[:, : -input_ids.shape[1]].bool()
                attention_mask = with_past(spliced.attention_mask, past_mask, past_length(past_key_values))
            else:
                inputs_embeds = self.get_input_embeddings()(input_ids)
        loss_kwargs = {name: kwargs.pop(name) for name in ("num_items_in_batch",) if name in kwargs}
        outputs = self.model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            segment_ids=segment_ids,
            **kwargs,
        )
        hidden_bpe = outputs.last_hidden_state
        if labels is None:
            kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
            hidden_bpe = hidden_bpe[:, kept]
        logits_bpy = self._logits(hidden_bpe)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits_bpy, labels=labels, vocab_size=logits_bpy.shape[-1], **loss_kwargs)
        result = CausalLMOutputWithPast(
            loss=loss,
            logits=logits_bpy,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return result.to_tuple() if return_dict is False else result

    def _logits(self, hidden_bpe: Tensor) -> Tensor:
        logits_bpy = self.lm_head(hidden_bpe)
        cap = getattr(self.config.text_config, "final_logit_softcapping", None)  # Gemma2
        return logits_bpy if cap is None else torch.tanh(logits_bpy / cap) * cap

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        inputs: Tensor | None = None,
        *,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Generate text; returns the new tokens only (as the official model does), [B, new].

        Penalties on repetition see the new tokens only. Rows of a batch are aligned on the right whatever the padding
        of `input_ids`, so a batch gives what its rows give alone.

        Args:
            inputs: `input_ids` under the name that transformers uses.
            input_ids: token ids with sentinels, [B, L].
            attention_mask: true at tokens: [B, L]; with a cache also [B, past + L], None where nothing is hidden.
            inputs_embeds: embeddings [B, P, E] instead of `input_ids` and media (`attention_mask` then [B, P] or
                [B, past + P]).
            past_key_values: cache of an earlier call, to which the ids or embeddings given here are the continuation.
            kwargs: media as in `forward`, and everything that `GenerationMixin.generate` takes.

        Raises:
            RequestError: no input, or numbers of placeholders and media that do not fit.
        """
        media = {name: kwargs.pop(name) for name in MEDIA_ARGUMENTS if name in kwargs}
        input_ids = inputs if input_ids is None else input_ids
        past = past_length(past_key_values)
        past_mask = None
        if inputs_embeds is None:
            if input_ids is None:
                raise RequestError("generate needs input_ids or inputs_embeds.")
            length = input_ids.shape[1]
            if attention_mask is not None and attention_mask.shape[1] > length:
                past_mask, attention_mask = attention_mask[:, :-length].bool(), attention_mask[:, -length:]
            spliced = self.model.splice_media(input_ids, attention_mask, None, "left", **media)
            inputs_embeds, attention_mask = spliced.inputs_embeds, spliced.attention_mask
        elif attention_mask is None:
            attention_mask = torch.ones(inputs_embeds.shape[:2], dtype=torch.bool, device=inputs_embeds.device)
        elif attention_mask.shape[1] > inputs_embeds.shape[1]:
            length = inputs_embeds.shape[1]
            past_mask, attention_mask = attention_mask[:, :-length].bool(), attention_mask[:, -length:]
        if past:
            # transformers expects the embeddings of the whole sequence and cuts off what the cache holds.
            filler = inputs_embeds.new_zeros(()).expand(inputs_embeds.shape[0], past, inputs_embeds.shape[2])
            inputs_embeds = torch.cat([filler, inputs_embeds], dim=1)
            kwargs["past_key_values"] = past_key_values
        elif past_key_values is not None:
            kwargs["past_key_values"] = past_key_values
        mask = with_past(attention_mask.bool(), past_mask, past)
        return super().generate(inputs_embeds=inputs_embeds, attention_mask=mask.long(), **kwargs)  # type: ignore[misc]
