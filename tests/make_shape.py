#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes checkpoints of a published model's shape with random weights, so that memory and time can be measured where the
model itself is not there. Needs nothing but Python. Usage: make_shape.py FAMILY FOLDER SEED TOKENIZER
FAMILY: pythia-1b, olmo-1b, bloom-1b1, or pythia-70m."""
import json
import os
import random
import shutil
import struct
import sys


def neox(d, layers, heads, mlp, vocab):
    config = dict(model_type="gpt_neox", architectures=["GPTNeoXForCausalLM"], hidden_size=d, num_hidden_layers=layers,
                  num_attention_heads=heads, intermediate_size=mlp, vocab_size=vocab, hidden_act="gelu",
                  rotary_pct=0.25, rotary_emb_base=10000, max_position_embeddings=2048, layer_norm_eps=1e-5,
                  use_parallel_residual=True, tie_word_embeddings=False)
    t = {"gpt_neox.embed_in.weight": [vocab, d], "embed_out.weight": [vocab, d]}
    for part in ("weight", "bias"):
        t[f"gpt_neox.final_layer_norm.{part}"] = [d]
    for i in range(layers):
        p = f"gpt_neox.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            for part in ("weight", "bias"):
                t[f"{p}{norm}.{part}"] = [d]
        for name, rows, columns in (("attention.query_key_value", 3 * d, d), ("attention.dense", d, d),
                                    ("mlp.dense_h_to_4h", mlp, d), ("mlp.dense_4h_to_h", d, mlp)):
            t[f"{p}{name}.weight"] = [rows, columns]
            t[f"{p}{name}.bias"] = [rows]
    return config, t, "F16"


def olmo(d, layers, heads, mlp, vocab):
    config = dict(model_type="olmo", architectures=["OlmoForCausalLM"], hidden_size=d, num_hidden_layers=layers,
                  num_attention_heads=heads, intermediate_size=mlp, vocab_size=vocab, hidden_act="silu", clip_qkv=8.0,
                  rope_theta=10000.0, max_position_embeddings=4096, tie_word_embeddings=False, attention_bias=False)
    t = {"model.embed_tokens.weight": [vocab, d], "lm_head.weight": [vocab, d]}
    for i in range(layers):
        p = f"model.layers.{i}."
        for name in "qkvo":
            t[f"{p}self_attn.{name}_proj.weight"] = [d, d]
        for name, shape in (("gate", [mlp, d]), ("up", [mlp, d]), ("down", [d, mlp])):
            t[f"{p}mlp.{name}_proj.weight"] = shape
    return config, t, "F32"


def bloom(d, layers, heads, mlp, vocab):
    config = dict(model_type="bloom", architectures=["BloomForCausalLM"], n_embed=d, n_layer=layers,
                  num_attention_heads=heads, vocab_size=vocab, layer_norm_epsilon=1e-5, seq_length=2048,
                  apply_residual_connection_post_layernorm=False)
    t = {"word_embeddings.weight": [vocab, d]}
    for norm in ("word_embeddings_layernorm", "ln_f"):
        for part in ("weight", "bias"):
            t[f"{norm}.{part}"] = [d]
    for i in range(layers):
        p = f"h.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            for part in ("weight", "bias"):
                t[f"{p}{norm}.{part}"] = [d]
        for name, rows, columns in (("self_attention.query_key_value", 3 * d, d), ("self_attention.dense", d, d),
                                    ("mlp.dense_h_to_4h", mlp, d), ("mlp.dense_4h_to_h", d, mlp)):
            t[f"{p}{name}.weight"] = [rows, columns]
            t[f"{p}{name}.bias"] = [rows]
    return config, t, "F16"


MODELS = {"pythia-70m": neox(512, 6, 8, 2048, 50304), "pythia-1b": neox(2048, 16, 8, 8192, 50304),
          "olmo-1b": olmo(2048, 16, 16, 8192, 50304), "bloom-1b1": bloom(1536, 24, 16, 6144, 250880)}


def pack(values, dtype):
    return struct.pack("<%d%s" % (len(values), "e" if dtype == "F16" else "f"), *values)


def main():
    family, folder, seed, tokenizer = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    config, tensors, dtype = MODELS[family]
    size = 2 if dtype == "F16" else 4
    rng = random.Random(seed)
    # One block of random numbers is written again and again from changing places: rows differ, and it takes seconds.
    noise = pack([rng.gauss(0, 0.02) for _ in range(1 << 20)], dtype)
    ones = pack([1 + rng.gauss(0, 0.02) for _ in range(1 << 14)], dtype)
    header, offset = {}, 0
    for name, shape in tensors.items():
        n = size
        for extent in shape:
            n *= extent
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + n]}
        offset += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "model.safetensors"), "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, entry in header.items():
            left = entry["data_offsets"][1] - entry["data_offsets"][0]
            is_norm = ("norm" in name or "ln_f" in name) and name.endswith("weight")
            while left > 0:
                block = ones if is_norm else noise
                start = rng.randrange(len(block) // size // 2) * size
                part = block[start:start + min(left, len(block) - start)]
                out.write(part)
                left -= len(part)
    with open(os.path.join(folder, "config.json"), "w") as out:
        json.dump(config, out)
    shutil.copy(tokenizer, os.path.join(folder, "tokenizer.json"))


main()
