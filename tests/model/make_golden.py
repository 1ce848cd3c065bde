# SPDX-License-Identifier: Apache-2.0
"""Makes the tiny models of tests/model/golden and their expected values. Run from this folder:

    python make_golden.py golden

Needs torch, transformers 4.46, tokenizers and safetensors. Every model is saved by transformers in its storage type,
read back, and evaluated in float64 from the stored weights; expected.safetensors holds, for packed sequences,
hidden_K (the residual stream after block K-1; hidden_0 is the embedding), logits, and gradient_K, the gradient of
logit(wrong) - logit(right) at the last position of each sequence with respect to hidden_K.
"""
import json
import os
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import (AutoConfig, AutoModelForCausalLM, BloomConfig, BloomForCausalLM, GPTNeoXConfig,
                          GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, OlmoConfig, OlmoForCausalLM)
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm, apply_rotary_pos_emb

LENGTHS = [1, 7, 2, 19]


def config(**changes):
    values = dict(vocab_size=37, hidden_size=20, num_hidden_layers=2, num_attention_heads=2, intermediate_size=28,
                  max_position_embeddings=32, rotary_pct=0.25, use_parallel_residual=True, attention_bias=True,
                  tie_word_embeddings=False, hidden_act="gelu")
    values.update(changes)
    return GPTNeoXConfig(**values)


def gated(kind, **changes):
    values = dict(vocab_size=37, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=28,
                  max_position_embeddings=32, tie_word_embeddings=False)
    values.update(changes)
    return kind(**values)


def bloom(**changes):
    values = dict(vocab_size=37, hidden_size=24, n_layer=2, n_head=6)
    values.update(changes)
    return BloomConfig(**values)


class Olmo2Attention(torch.nn.Module):
    """OLMo-2's attention, restated: this version of transformers does not have the family."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        heads, keys = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.hidden_size // heads
        bias = config.attention_bias
        self.q_proj = torch.nn.Linear(config.hidden_size, heads * self.head_dim, bias=bias)
        self.k_proj = torch.nn.Linear(config.hidden_size, keys * self.head_dim, bias=bias)
        self.v_proj = torch.nn.Linear(config.hidden_size, keys * self.head_dim, bias=bias)
        self.o_proj = torch.nn.Linear(heads * self.head_dim, config.hidden_size, bias=bias)
        self.q_norm = LlamaRMSNorm(heads * self.head_dim, config.rms_norm_eps)
        self.k_norm = LlamaRMSNorm(keys * self.head_dim, config.rms_norm_eps)

    def forward(self, x, cos, sin):
        n = x.shape[1]
        group = self.config.num_attention_heads // self.config.num_key_value_heads
        q, k, v = self.q_norm(self.q_proj(x)), self.k_norm(self.k_proj(x)), self.v_proj(x)
        q, k, v = (t.view(1, n, -1, self.head_dim).transpose(1, 2) for t in (q, k, v))
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scores = q @ k.transpose(2, 3) / self.head_dim ** 0.5
        scores = scores.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), float("-inf"))
        return self.o_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(1, n, -1))


class Olmo2Layer(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self_attn = Olmo2Attention(config)
        self.mlp = LlamaMLP(config)
        self.post_attention_layernorm = LlamaRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_feedforward_layernorm = LlamaRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, position_embeddings=None, **ignored):
        x = x + self.post_attention_layernorm(self.self_attn(x, *position_embeddings))
        return x + self.post_feedforward_layernorm(self.mlp(x)), None


class Olmo2Config(LlamaConfig):
    model_type = "olmo2"


class Olmo2ForCausalLM(LlamaForCausalLM):
    config_class = Olmo2Config

    def __init__(self, config):
        super().__init__(config)
        self.model.layers = torch.nn.ModuleList([Olmo2Layer(config) for _ in range(config.num_hidden_layers)])


AutoConfig.register("olmo2", Olmo2Config)
AutoModelForCausalLM.register(Olmo2Config, Olmo2ForCausalLM)


def stream_modules(model):
    """The module whose output is the first residual stream, and the blocks."""
    base = model.base_model
    if hasattr(base, "embed_in"):
        return base.embed_in, base.layers
    if hasattr(base, "word_embeddings_layernorm"):
        return base.word_embeddings_layernorm, base.h
    return base.embed_tokens, base.layers


def randomise(model, seed):
    """Weights large enough that attention is far from uniform and no bias or norm weight is trivial."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name or "ln_f" in name:
                p.copy_((1.0 if name.endswith("weight") else 0.0) + 0.2 * noise)
            elif p.dim() == 1:
                p.copy_(0.2 * noise)
            elif "embed" in name:
                p.copy_(noise)
            else:
                p.copy_(noise / p.shape[1] ** 0.5 * 1.5)


def evaluate(folder, path, seed):
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, attn_implementation="eager")
    model.double()
    model.eval()
    n_layers = model.config.num_hidden_layers
    vocab = model.config.vocab_size
    generator = torch.Generator().manual_seed(seed)
    total = sum(LENGTHS)
    out = {"ids": torch.randint(0, vocab, (total,), generator=generator),
           "start": torch.tensor([sum(LENGTHS[:i]) for i in range(len(LENGTHS) + 1)]),
           "right": torch.randint(0, vocab, (len(LENGTHS),), generator=generator),
           "wrong": torch.randint(0, vocab, (len(LENGTHS),), generator=generator)}
    rows = {}
    for s in range(len(LENGTHS)):
        ids = out["ids"][out["start"][s]:out["start"][s + 1]][None]
        states = []

        def hook(module, args, output):
            value = output[0] if isinstance(output, tuple) else output
            value.retain_grad()
            states.append(value)

        first, layers = stream_modules(model)
        handles = [module.register_forward_hook(hook) for module in (first, *layers)]
        logits = model(ids, use_cache=False).logits[0]
        for handle in handles:
            handle.remove()
        (logits[-1, out["wrong"][s]] - logits[-1, out["right"][s]]).backward()
        assert len(states) == n_layers + 1
        for k, state in enumerate(states):
            rows.setdefault(f"hidden_{k}", []).append(state.detach()[0])
            rows.setdefault(f"gradient_{k}", []).append(state.grad[0])
        rows.setdefault("logits", []).append(logits.detach())
    for name, values in rows.items():
        out[name] = torch.cat(values).float()
    save_file({k: v.contiguous() for k, v in out.items()}, path)


def clean(folder):
    for name in ("generation_config.json",):
        if os.path.exists(os.path.join(folder, name)):
            os.remove(os.path.join(folder, name))


def make(root, name, seed, dtype, shards=None, **changes):
    return save(GPTNeoXForCausalLM(config(**changes)), root, name, seed, dtype, shards)


def save(model, root, name, seed, dtype, shards=None):
    folder = os.path.join(root, name)
    shutil.rmtree(folder, ignore_errors=True)
    randomise(model, seed)
    model.to(dtype).save_pretrained(folder, safe_serialization=True, **({"max_shard_size": shards} if shards else {}))
    evaluate(folder, os.path.join(folder, "expected.safetensors"), seed)
    clean(folder)
    return folder


def rename(folder, keys):
    """Renames keys of the config; a new name of None removes one."""
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        values = json.load(f)
    for old, new in keys.items():
        value = values.pop(old, None)
        if new is not None:
            values[new] = value
    with open(path, "w") as f:
        json.dump(values, f, indent=2)
    return values


def drop_transformer_prefix(folder):
    path = os.path.join(folder, "model.safetensors")
    tensors = {k.removeprefix("transformer."): v for k, v in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def drop_prefix(folder):
    """As a save of the base model names its tensors, with the buffers that older files carry."""
    path = os.path.join(folder, "model.safetensors")
    tensors = {k.removeprefix("gpt_neox."): v for k, v in load_file(path).items()}
    tensors["layers.0.attention.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    tensors["layers.0.attention.masked_bias"] = torch.tensor(-1e9)
    tensors["layers.0.attention.rotary_emb.inv_freq"] = torch.ones(2).half()
    save_file(tensors, path, metadata={"format": "pt"})


def spell_newer(folder):
    """The rotary settings as newer versions of transformers write them."""
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        values = json.load(f)
    values["rope_parameters"] = {"partial_rotary_factor": values.pop("rotary_pct"),
                                 "rope_theta": values.pop("rotary_emb_base"), "rope_type": "default"}
    values.pop("rope_scaling", None)
    with open(path, "w") as f:
        json.dump(values, f, indent=2)


def make_tokenizer(folder):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<|endoftext|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    text = ["The dog near the trees barks.", "The dogs near the tree bark.", "A child that the teachers see runs.",
            "Children that the teacher sees run.", "The keys to the cabinet are here.",
            "The key to the cabinets is here."]
    tokenizer.train_from_iterator(text, trainer)
    tokenizer.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    return tokenizer.get_vocab_size()


def main(root):
    os.makedirs(root, exist_ok=True)
    make(root, "tiny-neox", 1, torch.float16, vocab_size=320, hidden_size=16, num_attention_heads=2,
         num_hidden_layers=3, intermediate_size=32, max_position_embeddings=64, bos_token_id=0, eos_token_id=0)
    assert make_tokenizer(os.path.join(root, "tiny-neox")) <= 320
    make(root, "sequential-f32", 2, torch.float32, use_parallel_residual=False, rotary_pct=1.0, attention_bias=False)
    drop_prefix(make(root, "bare-bf16", 3, torch.bfloat16, hidden_size=36, num_attention_heads=3, rotary_pct=0.5))
    spell_newer(make(root, "newer-f32", 4, torch.float32, hidden_size=28, rotary_pct=1.0, hidden_act="gelu_new",
                     rotary_emb_base=500))
    make(root, "sharded-f16", 5, torch.float16, shards="6KB", use_parallel_residual=False, hidden_size=24,
         num_attention_heads=3)
    make(root, "tied-f32", 6, torch.float32, hidden_size=18, num_attention_heads=1, tie_word_embeddings=True,
         rotary_pct=0.25, hidden_act="relu", attention_bias=False)
    make_olmo(root)
    make_bloom(root)
    make_llama(root)


def make_llama(root):
    save(LlamaForCausalLM(gated(LlamaConfig, num_key_value_heads=2, rope_theta=5000.0)), root, "llama-bf16", 31,
         torch.bfloat16)
    save(LlamaForCausalLM(gated(LlamaConfig, num_key_value_heads=1, head_dim=4, attention_bias=True, mlp_bias=True,
                                tie_word_embeddings=True, rms_norm_eps=1e-3)), root, "llama-heads-f32", 32,
         torch.float32)
    save(Olmo2ForCausalLM(gated(Olmo2Config, num_key_value_heads=2, rms_norm_eps=1e-4)), root, "olmo2-f16", 33,
         torch.float16)


def make_olmo(root):
    save(OlmoForCausalLM(gated(OlmoConfig, clip_qkv=1.25, num_key_value_heads=2)), root, "olmo-clip-f16", 11,
         torch.float16)
    folder = save(OlmoForCausalLM(gated(OlmoConfig, tie_word_embeddings=True, rope_theta=500.0, attention_bias=True)),
                  root, "olmo-tied-bf16", 12, torch.bfloat16)
    values = rename(folder, {"clip_qkv": None, "num_key_value_heads": None, "rope_scaling": None, "model_type": None})
    values["rope_parameters"] = {"rope_theta": values.pop("rope_theta"), "rope_type": "default"}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(values, f, indent=2)


def make_bloom(root):
    save(BloomForCausalLM(bloom()), root, "bloom-f16", 21, torch.float16)
    settings = bloom(n_head=12, n_layer=1, hidden_size=36, apply_residual_connection_post_layernorm=True)
    folder = save(BloomForCausalLM(settings), root, "bloom-bare-bf16", 22, torch.bfloat16)
    drop_transformer_prefix(folder)
    rename(folder, {"hidden_size": "n_embed", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers",
                    "tie_word_embeddings": None})


if __name__ == "__main__":
    main(sys.argv[1])
