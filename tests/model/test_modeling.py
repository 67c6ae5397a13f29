"""The model as a citizen of transformers: backbones, ragged batches, caches, Auto classes, PEFT, Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, Trainer, TrainingArguments

from videollama2.errors import RequestError
from videollama2.model import register
from videollama2.model.configuration import VideoLLaMA2Config
from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration
from videollama2.model.vision import VisionFeatures, VisionTower, register_vision_tower

from .helpers import BACKBONES, TEXT, VISION, Request, batch_of, tiny_model

# Two fp32 computations of the same thing in other shapes; logits here are of size 10.
TOLERANCE = 1e-4
KINDS = ("text", "image", "video", "audio", "av")
NEW = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


def mixed(length: int = 4) -> list[Request]:
    return [Request(kind, seed, length + seed) for seed, kind in enumerate(KINDS)]


@pytest.fixture(scope="module")
def model() -> VideoLLaMA2ForConditionalGeneration:
    return tiny_model()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_batch_of_every_kind_equals_its_rows(backbone: str) -> None:
    model = tiny_model(backbone)
    requests = mixed()
    batch = batch_of(requests)
    with torch.no_grad():
        together = model(**batch)
        mask = model.model.splice_media(**batch).attention_mask
        for row, request in enumerate(requests):
            alone = model(**batch_of([request])).logits[0]
            torch.testing.assert_close(together.logits[row, mask[row]], alone, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_generation_of_a_batch_equals_its_rows(backbone: str, padding_side: str) -> None:
    model = tiny_model(backbone)
    requests = mixed()
    together = model.generate(**batch_of(requests, padding_side), **NEW)
    assert together.shape == (len(requests), NEW["max_new_tokens"])
    for row, request in enumerate(requests):
        assert torch.equal(together[row], model.generate(**batch_of([request]), **NEW)[0])


@pytest.mark.parametrize("backbone", BACKBONES)
def test_cached_generation_equals_forward_without_cache(backbone: str) -> None:
    model = tiny_model(backbone)
    batch = batch_of([Request("av", 3)])
    new_ids = model.generate(**batch, **NEW)
    with torch.no_grad():
        for n in range(NEW["max_new_tokens"]):
            ids = torch.cat([batch["input_ids"], new_ids[:, :n]], dim=1)
            logits = model(**{**batch, "input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[0, -1]
            assert logits.argmax() == new_ids[0, n]


@pytest.mark.parametrize("with_media", [False, True])
def test_a_conversation_continues_on_its_cache(model: VideoLLaMA2ForConditionalGeneration, with_media: bool) -> None:
    requests = [Request("video", 1, 5), Request("text", 2, 9)]
    turns = (
        [Request("image", 5, 6), Request("audio", 6, 4)] if with_media else [Request("text", 5, 6), Request("text", 6)]
    )
    first, second = batch_of(requests, "left"), batch_of(turns, "left")
    out = model.generate(**first, **NEW, return_dict_in_generate=True)
    # The cache holds the prompt and all new tokens but the last, which begins the next turn.
    past = out.past_key_values.get_seq_length()
    prompt_mask = model.model.splice_media(**first, padding_side="left").attention_mask
    assert past == prompt_mask.shape[1] + NEW["max_new_tokens"] - 1
    past_mask = torch.cat([prompt_mask.long(), torch.ones(2, NEW["max_new_tokens"] - 1, dtype=torch.long)], dim=1)
    # Rows of the new turn are of one length here: a row's padding would lie between its past and its new tokens.
    rows = [torch.cat([out.sequences[i, -1:], torch.tensor(turn.ids)[:5]]) for i, turn in enumerate(turns)]
    ids = torch.stack(rows)
    media = {k: v for k, v in second.items() if k not in ("input_ids", "attention_mask")}
    mask = torch.cat([past_mask, torch.ones_like(ids)], dim=1)
    continued = model.generate(input_ids=ids, attention_mask=mask, past_key_values=out.past_key_values, **media, **NEW)
    for i, (request, row) in enumerate(zip(requests, rows)):
        whole = torch.cat([torch.tensor(request.ids), out.sequences[i, :-1], row])
        both = batch_of([request, turns[i]])
        arguments = {k: v for k, v in both.items() if k not in ("input_ids", "attention_mask")}
        assert torch.equal(continued[i], model.generate(input_ids=whole[None], **arguments, **NEW)[0])


def test_embeddings_of_the_new_part_continue_a_cache(model: VideoLLaMA2ForConditionalGeneration) -> None:
    batch = batch_of([Request("image", 1)])
    spliced = model.model.splice_media(**batch)
    split = 5
    with torch.no_grad():
        cache = model(inputs_embeds=spliced.inputs_embeds[:, :split], use_cache=True).past_key_values
    expected = model.generate(**batch, **NEW)
    assert torch.equal(
        model.generate(inputs_embeds=spliced.inputs_embeds[:, split:], past_key_values=cache, **NEW), expected
    )
    assert torch.equal(model.generate(inputs_embeds=spliced.inputs_embeds, **NEW), expected)


def test_features_encoded_before_give_the_same(model: VideoLLaMA2ForConditionalGeneration) -> None:
    batch = batch_of([Request("av", 1), Request("audio", 2), Request("image", 3)])
    with torch.no_grad():
        visual = model.encode_visual(batch["pixel_values"], batch["num_frames"], [False, True])
        audio = model.encode_audio(batch["audio_values"], batch["audio_lengths"])
    media = [torch.cat([visual[0], audio[0]]), audio[1], visual[1]]
    text = {k: batch[k] for k in ("input_ids", "attention_mask")}
    assert torch.equal(model.generate(**text, media_embeds=media, **NEW), model.generate(**batch, **NEW))


@pytest.mark.parametrize("connector", ["stc_connector", "stc_connector_v35", "stp_connector", "mlp2x_gelu", "linear"])
def test_an_image_equals_a_video_of_its_copies(connector: str) -> None:
    model = tiny_model(mm_projector_type=connector)
    frame = torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        image = model.encode_visual(frame, [1], [True])[0]
        video = model.encode_visual(frame.expand(4, -1, -1, -1), [4], [False])[0]
    torch.testing.assert_close(image, video, atol=1e-5, rtol=1e-5)


def test_videos_of_unequal_length_in_one_batch(model: VideoLLaMA2ForConditionalGeneration) -> None:
    frames = torch.randn(14, 3, 28, 28)
    with torch.no_grad():
        tokens = model.encode_visual(frames, [4, 1, 6, 2, 1], [False, True, False, False, True])
        assert [len(t) for t in tokens] == [8, 8, 12, 4, 8]
        torch.testing.assert_close(tokens[2], model.encode_visual(frames[5:11], [6], [False])[0])


def test_many_frames_pass_in_chunks_with_the_same_result(model: VideoLLaMA2ForConditionalGeneration) -> None:
    frames = torch.randn(18, 3, 28, 28)
    with torch.no_grad():
        chunked = model.encode_visual(frames, [18], [False])[0]
    whole = model.encode_visual(frames, [18], [False])[0]
    torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=1e-5)


def test_bf16_stays_close_to_fp32() -> None:
    model = tiny_model()
    batch = batch_of(mixed())
    with torch.no_grad():
        exact = model(**batch).logits
        rough = model.bfloat16()(**batch).logits
    assert rough.dtype == torch.bfloat16
    # Eight mantissa bits through some twenty layers.
    assert (rough.float() - exact).abs().mean() < 3e-2 * exact.abs().mean()


def test_loss_is_the_mean_over_labelled_tokens(model: VideoLLaMA2ForConditionalGeneration) -> None:
    batch = batch_of(mixed())
    labels = torch.where(
        (batch["input_ids"] > 0) & (torch.rand(batch["input_ids"].shape) < 0.7), batch["input_ids"], -100
    )
    output = model(**batch, labels=labels)
    spliced = model.model.splice_media(**batch, labels=labels)
    assert spliced.labels is not None
    log_probs = output.logits[:, :-1].log_softmax(-1)
    targets = spliced.labels[:, 1:]
    chosen = [-log_probs[b, p, targets[b, p]] for b, p in (targets != -100).nonzero().tolist()]
    torch.testing.assert_close(output.loss, torch.stack(chosen).mean())


def test_text_only_rows_need_no_media_and_change_no_gradient(model: VideoLLaMA2ForConditionalGeneration) -> None:
    batch = batch_of([Request("text", 0)])
    output = model(**batch, labels=batch["input_ids"])
    output.loss.backward()
    assert all(p.grad is None for p in model.model.mm_projector.parameters())
    model.zero_grad()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_frames": torch.tensor([4, 2])}, "1 images and videos but 2"),
        ({"num_frames": torch.tensor([3])}, "adds up to 3 but pixel_values holds 4"),
        ({"num_frames": None}, "without num_frames"),
        ({"pixel_values": None}, "ask for 1 images and videos but 0"),
        ({"pixel_values": torch.zeros(4, 3, 14, 14)}, r"\(3, 14, 14\)"),
        ({"audio_values": None}, "ask for 1 sounds but 0"),
        ({"audio_lengths": torch.tensor([4800])}, "4800"),
        ({"video_has_audio": torch.tensor([False])}, "ask for 0 sounds but 1"),
        ({"media_embeds": [torch.zeros(3, 24)] * 2}, r"1 media placeholder\(s\) but 2"),
    ],
)
def test_media_that_do_not_fit_are_named_with_both_numbers(
    model: VideoLLaMA2ForConditionalGeneration, change: dict[str, Any], message: str
) -> None:
    batch = {**batch_of([Request("av", 1)]), **change}
    for call in (model, model.generate):
        with pytest.raises(RequestError, match=message):
            call(**batch)


def test_modalities_a_model_lacks_are_named() -> None:
    deaf = tiny_model(audio_config=None)
    with pytest.raises(RequestError, match="no audio tower"):
        deaf.generate(**batch_of([Request("audio", 1)]))
    blind = tiny_model(vision_config=None)
    with pytest.raises(RequestError, match="no vision tower"):
        blind.generate(**batch_of([Request("image", 1)]))
    assert blind.generate(**batch_of([Request("audio", 1)]), **NEW).shape == (1, 6)
    with pytest.raises(RequestError, match="mm_hidden_size is 99"):
        tiny_model(mm_hidden_size=99)
    with pytest.raises(RequestError, match="no classifier"):
        tiny_model(mm_use_tags=True)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_save_and_load(backbone: str, tmp_path: Path) -> None:
    model = tiny_model(backbone)
    model.save_pretrained(tmp_path)
    register()
    assert AutoConfig.from_pretrained(tmp_path).to_dict()["model_type"] == "videollama2"
    batch = batch_of(mixed())
    expected = model(**batch).logits
    for auto_class in (AutoModelForCausalLM, AutoModelForImageTextToText):
        loaded, report = auto_class.from_pretrained(tmp_path, output_loading_info=True)
        assert isinstance(loaded, VideoLLaMA2ForConditionalGeneration)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        torch.testing.assert_close(loaded(**batch).logits, expected, atol=1e-6, rtol=1e-6)
        assert not any(p.requires_grad for p in loaded.model.vision_tower.parameters())


def test_tied_embeddings_are_one_tensor_and_saved_once(tmp_path: Path) -> None:
    text = {**TEXT, "model_type": "qwen2", "tie_word_embeddings": True}
    model = VideoLLaMA2ForConditionalGeneration(VideoLLaMA2Config(text_config=text, vision_config=VISION))
    assert model.lm_head.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert "lm_head.weight" not in list(file.keys())
    loaded = VideoLLaMA2ForConditionalGeneration.from_pretrained(tmp_path)
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attention_implementations_agree(implementation: str, tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path)
    loaded = VideoLLaMA2ForConditionalGeneration.from_pretrained(tmp_path, attn_implementation=implementation)
    assert loaded.model.language_model.config._attn_implementation == implementation
    assert loaded.model.vision_tower.config._attn_implementation == implementation
    batch = batch_of(mixed())
    torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, atol=TOLERANCE, rtol=TOLERANCE)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    batch = batch_of(mixed())
    gradients: list[dict[str, Tensor]] = []
    for checkpointing in (False, True):
        model = tiny_model().train()
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert model.is_gradient_checkpointing
        model(**batch, labels=batch["input_ids"], use_cache=False).loss.backward()
        gradients.append({k: p.grad for k, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-5)
    assert not any(name.startswith("model.vision_tower") for name in gradients[0])
    assert any(name.startswith("model.audio_tower") for name in gradients[0])


def test_lora_trains_and_merges() -> None:
    model = get_peft_model(
        tiny_model(), LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|v_proj)", task_type="CAUSAL_LM")
    )
    batch = batch_of(mixed())
    before = model(**batch).logits
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):
        model(**batch, labels=batch["input_ids"]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = model(**batch).logits
    assert (after - before).abs().max() > 1e-3
    assert model.generate(**batch, **NEW).shape == (5, 6)
    torch.testing.assert_close(model.merge_and_unload()(**batch).logits, after, atol=TOLERANCE, rtol=TOLERANCE)


def test_trainer_lowers_the_loss(tmp_path: Path) -> None:
    model = tiny_model()
    requests = [Request("image", seed, 8) for seed in range(4)]

    def collate(rows: list[Request]) -> dict[str, Tensor]:
        batch = batch_of(rows)
        return {**batch, "labels": batch["input_ids"].masked_fill(batch["input_ids"] < 0, -100)}

    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2,
        max_steps=8,
        learning_rate=1e-2,
        remove_unused_columns=False,
        report_to=[],
        logging_strategy="no",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    with torch.no_grad():
        before = model(**collate(requests)).loss.item()
    trainer = Trainer(model=model, args=arguments, train_dataset=requests, data_collator=collate)
    trainer.train()
    with torch.no_grad():
        assert model.eval()(**collate(requests)).loss.item() < before - 0.5


def test_quantisation_skips_towers_and_connector(model: VideoLLaMA2ForConditionalGeneration) -> None:
    """Every linear layer outside the language model lies under a name of `modules_to_not_convert`."""
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    converted = [n for n in linear if not any(part in n.split(".") for part in model.modules_to_not_convert)]
    assert converted
    assert all(name.startswith("model.language_model.layers.") for name in converted)


def test_beams_and_sampling_keep_their_shapes(model: VideoLLaMA2ForConditionalGeneration) -> None:
    batch = batch_of([Request("video", 1), Request("text", 2)])
    settings = {"max_new_tokens": 4, "pad_token_id": 0, "eos_token_id": None}
    assert model.generate(**batch, **settings, num_beams=3, do_sample=False).shape == (2, 4)
    assert model.generate(**batch, **settings, do_sample=True, num_return_sequences=2).shape == (4, 4)


@register_vision_tower("test-tagger")
class Tagger(VisionTower):
    """A tower with a classifier: the mean colour of a frame is its grid and decides its class."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.hidden_size, self.image_size, self.grid_size, self.num_tags = 3, 28, (4, 4), 3
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, pixels_f3ss: Tensor) -> VisionFeatures:
        colour_f3 = pixels_f3ss.mean((2, 3)) * self.scale
        return VisionFeatures(grid=colour_f3[:, None, None].expand(-1, 4, 4, -1), tags=(colour_f3 * 50).softmax(-1))


@pytest.mark.parametrize(("connector", "slots"), [("stc_connector_v35", 2), ("stc_connector", 3), ("mlp2x_gelu", 1)])
def test_tag_tokens_stand_before_the_connectors(connector: str, slots: int, tmp_path: Path) -> None:
    model = tiny_model(vision_config={"tower": "test-tagger"}, mm_use_tags=True, mm_projector_type=connector)
    model.model.tag_embeddings.copy_(torch.eye(3, 24))
    model.save_pretrained(tmp_path)
    model = VideoLLaMA2ForConditionalGeneration.from_pretrained(tmp_path)
    frames = torch.zeros(5, 3, 28, 28)
    for frame, channel in enumerate((0, 0, 2, 2, 1)):
        frames[frame, channel] = 1
    with torch.no_grad():
        video, image = model.encode_visual(frames, [4, 1], [False, True])
        plain = model.model.mm_projector.num_tokens(4, 4, 4)
    assert len(video) == len(image) == slots + plain
    assert image[:slots].argmax(-1).tolist() == [1] * slots
    if slots > 1:
        assert video[[0, slots - 1]].argmax(-1).tolist() == [0, 2]
    batch = batch_of([Request("video", 1)])
    assert model.generate(**batch, **NEW).shape == (1, 6)


def test_gemma2_scales_media_as_it_scales_text() -> None:
    """Official (transformers 4) Gemma2 multiplies everything that enters by sqrt(E), spliced features included."""
    model = tiny_model("gemma2")
    media = torch.randn(3, 24)
    ids = torch.tensor([[5, -200, 6]])
    spliced = model.model.splice_media(ids, media_embeds=[media]).inputs_embeds[0]
    torch.testing.assert_close(spliced[1:4], media * 24**0.5)
    text = model.get_input_embeddings().weight[5] * 24**0.5
    torch.testing.assert_close(spliced[0], text)
