"""Questions that share a clip's prefix get the same log-probabilities as questions asked one by one."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from videollama2.training.default.packing import Suffix, answer_logprobs, pack


@pytest.fixture
def llm() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config).eval()


def test_packed_equals_separate(llm):
    prefixes = [torch.randn(5, 32), torch.randn(3, 32)]
    rows = [
        [Suffix((1, 2, 3, 4), 2), Suffix((7, 8, 9, 10, 11), 3)],
        [Suffix((5, 6, 12), 1)],
    ]
    embedding = llm.get_input_embeddings()
    packed = pack(prefixes, rows, embedding)
    together = answer_logprobs(llm, packed)
    alone = []
    for prefix, suffixes in zip(prefixes, rows):
        for suffix in suffixes:
            embeds = torch.cat([prefix, embedding(torch.tensor(suffix.ids))])[None]
            log_probs = llm(inputs_embeds=embeds).logits.log_softmax(-1)[0]
            for offset in range(len(suffix.ids) - suffix.num_answer, len(suffix.ids)):
                alone.append(log_probs[len(prefix) + offset - 1, suffix.ids[offset]])
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=1e-5)
    assert packed.owners.tolist() == [0, 0, 1, 1, 1, 2]


def test_a_suffix_does_not_see_another(llm):
    prefix, embedding = [torch.randn(4, 32)], llm.get_input_embeddings()
    second = Suffix((7, 8, 9), 1)
    with_one = answer_logprobs(llm, pack(prefix, [[Suffix((1, 2, 3), 1), second]], embedding))[1]
    with_other = answer_logprobs(llm, pack(prefix, [[Suffix((30, 31, 32), 1), second]], embedding))[1]
    torch.testing.assert_close(with_one, with_other, atol=1e-6, rtol=0)
