"""Prefill and decode against `generate` of transformers, on tiny plain language models."""

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, MistralConfig, Phi3Config

from videollama2.errors import CheckpointError
from videollama2.inference.decoding import Row, Sampling, decode, prefill, score_continuation
from videollama2.inference.kv import PrefixCache
from videollama2.inference.request import GenerationSettings

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.4,
}
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "mistral_sliding": MistralConfig(**SIZES, sliding_window=7),
    "gemma2": Gemma2Config(**SIZES, head_dim=8, sliding_window=7),
    "phi3": Phi3Config(**SIZES),
}
LENGTHS = (5, 23, 14)


@pytest.fixture(params=list(CONFIGS), scope="module")
def model(request):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[request.param]).eval()


def prompt(model, length):
    ids = torch.randint(3, 97, (1, length), generator=torch.Generator().manual_seed(length))
    return model.get_input_embeddings()(ids).detach()


def sampling(num=12, eos=(2,), **extra):
    return Sampling(max_new_tokens=num, eos_ids=frozenset(eos), **extra)


def run(model, prompts, rows):
    for _ in decode(model, prompts, rows):
        pass
    return [row.ids for row in rows]


def reference(model, embeds, **options):
    options = {"max_new_tokens": 12, "do_sample": False} | options
    mask = torch.ones(embeds.shape[:2], dtype=torch.long)
    return model.generate(inputs_embeds=embeds, attention_mask=mask, **options)[0].tolist()


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_alone_equals_generate(model, penalty):
    for length in LENGTHS:
        embeds = prompt(model, length)
        ids = run(model, [prefill(model, embeds)], [Row(sampling(repetition_penalty=penalty))])[0]
        assert ids == reference(model, embeds, repetition_penalty=penalty)


def test_batch_equals_alone_with_early_stops(model):
    prompts = [prefill(model, prompt(model, length)) for length in LENGTHS]
    alone = [run(model, [item], [Row(sampling())])[0] for item in prompts]
    stop = alone[1][3]
    rows = [Row(sampling(num, (stop,))) for num in (12, 12, 6)]
    together = run(model, prompts, rows)
    expected = [run(model, [item], [Row(row.sampling)])[0] for item, row in zip(prompts, rows)]
    assert together == expected
    assert rows[1].finish_reason == "stop"
    assert together[1][-1] == stop
    assert len(together[2]) <= 6


def test_sampled_batch_equals_sampled_alone(model):
    draws = [sampling(do_sample=True, temperature=0.9, top_p=0.95, top_k=20, seed=seed) for seed in (1, 2, 1)]
    prompts = [prefill(model, prompt(model, length)) for length in (5, 23, 5)]
    together = run(model, prompts, [Row(draw) for draw in draws])
    assert together == [run(model, [item], [Row(draw)])[0] for item, draw in zip(prompts, draws)]
    assert together[0] == together[2]
    assert together[0] != run(model, [prompts[0]], [Row(draws[1])])[0]


def test_continuing_from_a_prefix_equals_one_piece(model):
    embeds = prompt(model, 23)
    whole = prefill(model, embeds)
    first = prefill(model, embeds[:, :17])
    for prefix in (first.prefix, whole.prefix.cropped(17)):
        pieces = prefill(model, embeds[:, 17:], prefix)
        torch.testing.assert_close(pieces.logits, whole.logits, atol=1e-4, rtol=1e-4)
        assert pieces.prefix.length == 23
        assert prefix.length == 17
        assert prefix.layers[0][0].shape[2] == 17


def test_final_prefix_holds_prompt_and_answer(model):
    prompts = [prefill(model, prompt(model, length)) for length in (5, 23)]
    rows = [Row(sampling(num, ())) for num in (4, 1)]
    run(model, prompts, rows)
    assert [row.final.length for row in rows] == [8, 23]
    ids = torch.tensor([rows[0].ids[:-1]])
    whole = prefill(model, torch.cat([prompt(model, 5), model.get_input_embeddings()(ids)], 1))
    for (keys, values), (expected_keys, expected_values) in zip(rows[0].final.layers, whole.prefix.layers):
        torch.testing.assert_close(keys, expected_keys, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(values, expected_values, atol=1e-4, rtol=1e-4)


def test_scores_are_the_log_probabilities_of_a_plain_forward(model):
    embeds = prompt(model, 9)
    ids = [7, 50, 3]
    inputs = torch.cat([embeds, model.get_input_embeddings()(torch.tensor([ids]))], 1)
    logits = model(inputs_embeds=inputs).logits[0, 8:11].log_softmax(-1)
    item = prefill(model, embeds)
    for _ in range(2):
        scores = score_continuation(model, item, ids)
        torch.testing.assert_close(torch.tensor(scores), logits[range(3), ids], atol=1e-4, rtol=1e-4)


def test_logits_that_are_not_finite_are_refused():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"]).eval()
    model.lm_head.weight.data[5] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        prefill(model, prompt(model, 5))


def test_sampling_is_filled_from_the_generation_configuration():
    class Config:
        eos_token_id = (2, 9)
        repetition_penalty = 1.05
        top_k = 20

    filled = Sampling.resolve(GenerationSettings(), Config(), 1)
    assert filled.eos_ids == {2, 9}
    assert filled.repetition_penalty == 1.05
    assert "seed" not in filled.to_dict()
    drawn = Sampling.resolve(GenerationSettings(do_sample=True, repetition_penalty=1.0), object(), 7)
    assert (drawn.temperature, drawn.top_p, drawn.top_k) == (0.2, 0.9, 50)
    assert drawn.eos_ids == {7}
    assert drawn.repetition_penalty == 1.0
    assert drawn.to_dict()["seed"] == drawn.seed


def test_prefix_cache_is_bounded():
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"]).eval()
    prefix = prefill(model, prompt(model, 5)).prefix
    cache = PrefixCache(max_bytes=2 * prefix.num_bytes)
    for name in "abc":
        cache.put(name, prefix)
    assert cache.get("a") is None
    assert cache.get("c") is prefix
    PrefixCache(max_bytes=1).put("a", prefix)
    assert len(cache) == 2
