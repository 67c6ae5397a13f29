"""Writers of the published formats, on tiny models: what the default model's parts look like before conversion."""

import struct

import numpy as np

GGUF_F32, GGUF_Q8_0, GGUF_Q4_1 = 0, 8, 3


def _string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value):
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    kind = 8 if isinstance(value[0], str) else 5
    items = b"".join(_string(v) if kind == 8 else struct.pack("<i", v) for v in value)
    return struct.pack("<IIQ", 9, kind, len(value)) + items


def quantise_q4_1(values):
    """Blocks of 32: fp16 step, fp16 minimum, 16 bytes; byte i holds value i (low) and value i + 16 (high)."""
    out = b""
    for block in values.astype(np.float32).reshape(-1, 32):
        low = block.min()
        step = np.float16((block.max() - low) / 15)
        numbers = np.clip(np.round((block - low) / max(float(step), 1e-9)), 0, 15).astype(np.uint8)
        out += step.tobytes() + np.float16(low).tobytes()
        out += bytes(int(numbers[i]) | int(numbers[i + 16]) << 4 for i in range(16))
    return out


def quantise_q8_0(values):
    """Blocks of 32: fp16 step, 32 signed bytes."""
    out = b""
    for block in values.astype(np.float32).reshape(-1, 32):
        step = np.float16(np.abs(block).max() / 127)
        out += step.tobytes() + np.round(block / max(float(step), 1e-9)).clip(-127, 127).astype(np.int8).tobytes()
    return out


_WRITERS = {GGUF_F32: lambda v: v.astype("<f4").tobytes(), GGUF_Q8_0: quantise_q8_0, GGUF_Q4_1: quantise_q4_1}


def write_gguf(path, metadata, tensors, types=None):
    """Tensors (numpy, rows first) as GGUF 3; `types` gives storage types other than F32."""
    types = types or {}
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        header += _string(key) + _value(value)
    data = b""
    for name, values in tensors.items():
        header += _string(name) + struct.pack("<I", values.ndim)
        header += b"".join(struct.pack("<Q", n) for n in reversed(values.shape))
        header += struct.pack("<IQ", types.get(name, GGUF_F32), len(data))
        data += _WRITERS[types.get(name, GGUF_F32)](values)
        data += b"\0" * (-len(data) % 32)
    path.write_bytes(header + b"\0" * (-len(header) % 32) + data)


def write_ctranslate2(path, variables, aliases=(), version=6):
    """Variables (name -> numpy) as a CTranslate2 `model.bin`."""
    codes = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}

    def string(text):
        raw = text.encode() + b"\0"
        return struct.pack("<H", len(raw)) + raw

    out = struct.pack("<I", version) + string("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, values in variables.items():
        out += string(name) + struct.pack("<B", values.ndim) + struct.pack(f"<{values.ndim}I", *values.shape)
        out += struct.pack("<BI", codes[values.dtype.name], values.nbytes) + values.tobytes()
    out += struct.pack("<I", len(aliases)) + b"".join(string(a) + string(b) for a, b in aliases)
    path.write_bytes(out)


WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"]


def vocabulary():
    """All bytes in GPT-2's printable alphabet after the special tokens, and a few merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    merges = ["Ġ c", "a t", "Ġc at"]
    return [*WORDS, *letters, *(m.replace(" ", "") for m in merges)], merges


def gguf_metadata(config):
    """What a GGUF file says of a transformers LlamaConfig, with the tiny tokenizer."""
    words, merges = vocabulary()
    return {
        "general.architecture": "llama",
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.rope.freq_base": float(config.rope_parameters["rope_theta"]),
        "llama.attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": [3] * len(WORDS) + [1] * (len(words) - len(WORDS)),
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": "{{ messages[0]['content'] }}",
    }


def interleave_rows(weight, num_heads):
    """transformers' row order of q and k to GGUF's: row 2i of a head is its i-th, row 2i + 1 its (half + i)-th."""
    rows = weight.shape[0] // num_heads
    order = []
    for head in range(num_heads):
        for i in range(rows // 2):
            order += [head * rows + i, head * rows + rows // 2 + i]
    return weight[order]


def gguf_tensors(model):
    """A transformers Llama model's weights under GGUF's names and in its row order."""
    config = model.config
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    tensors = {}
    for name, tensor in model.model.state_dict().items():
        values = tensor.float().numpy()
        if name == "embed_tokens.weight":
            tensors["token_embd.weight"] = values
        elif name == "norm.weight":
            tensors["output_norm.weight"] = values
        else:
            _, index, module = name.removesuffix(".weight").split(".", 2)
            short = names[module]
            tensors[f"blk.{index}.{short}.weight"] = interleave_rows(values, heads[short]) if short in heads else values
    return tensors


def ctranslate2_variables(encoder):
    """A transformers WhisperEncoder's weights as CTranslate2 lays them out: q, k, v joined, k's missing bias zeros."""
    state = {k: v.half().numpy() for k, v in encoder.state_dict().items()}
    out = {"decoder/embeddings/weight": np.ones((3, 2), np.float16), "encoder/num_heads": np.int16(2)}
    out["encoder/position_encodings/encodings"] = state["embed_positions.weight"]
    for conv in ("conv1", "conv2"):
        out |= {f"encoder/{conv}/{kind}": state[f"{conv}.{kind}"] for kind in ("weight", "bias")}
    norms = [("encoder/layer_norm", "layer_norm")]
    for i in range(len(encoder.layers)):
        old, new = f"layers.{i}.", f"encoder/layer_{i}/"
        attention = old + "self_attn."
        joined = [state[f"{attention}{n}_proj.weight"] for n in "qkv"]
        out[new + "self_attention/linear_0/weight"] = np.concatenate(joined)
        query, value = state[attention + "q_proj.bias"], state[attention + "v_proj.bias"]
        out[new + "self_attention/linear_0/bias"] = np.concatenate([query, np.zeros_like(query), value])
        pairs = (("self_attention/linear_1", "self_attn.out_proj"), ("ffn/linear_0", "fc1"), ("ffn/linear_1", "fc2"))
        for target, source in pairs:
            out |= {f"{new}{target}/{kind}": state[f"{old}{source}.{kind}"] for kind in ("weight", "bias")}
        norms += [(new + "self_attention/layer_norm", old + "self_attn_layer_norm")]
        norms += [(new + "ffn/layer_norm", old + "final_layer_norm")]
    for target, source in norms:
        out |= {target + "/gamma": state[source + ".weight"], target + "/beta": state[source + ".bias"]}
    return out


def published_frame_encoder(tower):
    """An `EfficientNetLite0Tower`'s weights under the published names, with batch norms that only add the bias."""
    import torch

    names = {"stem.conv": ("_conv_stem", "_bn0"), "head.conv": ("_conv_head", "_bn1")}
    for i in range(len(tower.blocks)):
        for layer, norm in (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2")):
            names[f"blocks.{i}.{layer}.conv"] = (f"_blocks.{i}._{layer}_conv", f"_blocks.{i}.{norm}")
    state = tower.state_dict()
    out = {"_fc.weight": state["classifier.weight"], "_fc.bias": state["classifier.bias"]}
    for own, (conv, norm) in names.items():
        if own + ".weight" not in state:
            continue
        bias = state[own + ".bias"]
        out |= {f"{conv}.weight": state[own + ".weight"], f"{norm}.bias": bias}
        out |= {f"{norm}.weight": torch.full_like(bias, 1.001**0.5), f"{norm}.running_mean": torch.zeros_like(bias)}
        out[f"{norm}.running_var"] = torch.ones_like(bias)
    return out


def write_tiny_parts(folder):
    """Three published files of a tiny default model in `folder`; returns part key -> path."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from videollama2.model.vision.efficientnet import EfficientNetLite0Tower

    torch.manual_seed(0)
    paths = {"frame_encoder": folder / "net.pth", "audio_encoder": folder / "model.bin"}
    paths["language_model"] = folder / "llm.gguf"
    torch.save(published_frame_encoder(EfficientNetLite0Tower()), paths["frame_encoder"])
    audio = WhisperConfig(
        d_model=64,
        num_mel_bins=80,
        encoder_layers=1,
        encoder_attention_heads=1,
        encoder_ffn_dim=256,
        max_source_positions=50,
    )
    write_ctranslate2(paths["audio_encoder"], ctranslate2_variables(WhisperEncoder(audio).half()))
    text = LlamaConfig(
        vocab_size=len(vocabulary()[0]),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    )
    model = LlamaForCausalLM(text)
    write_gguf(paths["language_model"], gguf_metadata(text), gguf_tensors(model))
    return paths
