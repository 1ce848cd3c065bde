# SPDX-License-Identifier: Apache-2.0
"""Makes the tiny models of tests/model/golden and their expected values. Run from this folder:

    python make_golden.py golden

Needs torch, transformers 4.46, tokenizers and safetensors. Every model is saved by transformers in its storage type,
read back, and evaluated in float64 from the stored weights; expected.safetensors holds, for packed sequences,
hidden_K (the residual stream after block K-1; hidden_0 is the embedding), logits, and gradient_K, the gradient of
logit(wrong) - logit(right) at the last position of each sequence with respect to hidden_K. padded.safetensors holds
hidden (after the last block) and logits of the same sequences from one batch, padded on the left, with its mask.

    python make_golden.py golden gpt2 padded

makes the models of one kind only, or the padded batches of models that are there.
"""
import json
import os
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import (AutoConfig, AutoModelForCausalLM, BloomConfig, BloomForCausalLM, GPT2Config,
                          GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, OlmoConfig, OlmoForCausalLM)
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
    if hasattr(base, "wpe"):
        return base.drop, base.h
    return base.embed_tokens, base.layers


def randomise(model, seed):
    """Weights large enough that attention is far from uniform and no bias or norm weight is trivial."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name or "ln_" in name:
                p.copy_((1.0 if name.endswith("weight") else 0.0) + 0.2 * noise)
            elif p.dim() == 1:
                p.copy_(0.2 * noise)
            elif "embed" in name or "wte" in name or "wpe" in name:
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


PADDED = ["tiny-neox", "sequential-f32", "olmo-clip-f16", "bloom-f16", "bloom-heads-16-f32", "llama-bf16", "gpt2-f16"]


def make_padded(root):
    for name in PADDED:
        evaluate_padded(os.path.join(root, name))


def evaluate_padded(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, attn_implementation="eager")
    # These compute softmax in float32, where the mask of a float64 model would be minus infinity in whole rows.
    model = model.eval() if model.config.model_type in ("bloom", "llama", "olmo") else model.double().eval()
    given = load_file(os.path.join(folder, "expected.safetensors"))
    ids, start = given["ids"], given["start"]
    longest = max(LENGTHS)
    batch = torch.full((len(LENGTHS), longest), 3)
    mask = torch.zeros(len(LENGTHS), longest, dtype=torch.long)
    for s, n in enumerate(LENGTHS):
        batch[s, longest - n:] = ids[start[s]:start[s + 1]]
        mask[s, longest - n:] = 1
    arguments = dict(attention_mask=mask, use_cache=False)
    if model.config.model_type != "bloom":
        arguments["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    states = []
    stream_modules(model)[1][-1].register_forward_hook(lambda module, args, output: states.append(output[0]))
    with torch.no_grad():
        logits = model(batch, **arguments).logits
    out = {"hidden": states[0][mask.bool()], "logits": logits[mask.bool()]}
    error = (out["logits"] - given["logits"]).abs().max().item()
    assert error < 1e-5, (folder, error)  # else one of the two runs would be no reference
    save_file({k: v.float().contiguous() for k, v in out.items()}, os.path.join(folder, "padded.safetensors"))


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


def drop_transformer_prefix(folder, **buffers):
    path = os.path.join(folder, "model.safetensors")
    tensors = {k.removeprefix("transformer."): v for k, v in load_file(path).items()}
    tensors.update(buffers)
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


def main(root, *kinds):
    makers = {"neox": make_neox, "olmo": make_olmo, "bloom": make_bloom, "llama": make_llama, "gpt2": make_gpt2,
              "bloom-heads": make_bloom_heads, "padded": make_padded}
    os.makedirs(root, exist_ok=True)
    for kind in kinds or makers:
        makers[kind](root)


def make_neox(root):
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


def make_gpt2(root):
    def gpt2(**changes):
        values = dict(vocab_size=37, n_embd=20, n_layer=2, n_head=2, n_positions=32, n_inner=28)
        values.update(changes)
        return GPT2LMHeadModel(GPT2Config(**values))

    save(gpt2(), root, "gpt2-f16", 41, torch.float16)
    folder = save(gpt2(n_embd=24, n_head=3, n_inner=None, tie_word_embeddings=False, activation_function="gelu"), root,
                  "gpt2-bare-bf16", 42, torch.bfloat16)
    drop_transformer_prefix(folder, **{"h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.bool),
                                       "h.0.attn.masked_bias": torch.tensor(-1e4)})
    rename(folder, {"n_embd": "hidden_size", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers",
                    "n_positions": "max_position_embeddings", "n_ctx": None})


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


def make_bloom_heads(root):
    save(BloomForCausalLM(bloom(n_head=8, hidden_size=16)), root, "bloom-heads-8-f32", 23, torch.float32)
    save(BloomForCausalLM(bloom(n_head=16, hidden_size=32)), root, "bloom-heads-16-f32", 24, torch.float32)


if __name__ == "__main__":
    main(*sys.argv[1:])
