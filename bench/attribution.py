#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attribution here and by the procedure of the paper's code in PyTorch (fp32), side by side on the same models, pairs,
crosscoder and threads.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive PYTHON bench/attribution.py PROGRAM [RUN]

PYTHON is one that has torch and transformers. RUN is the run of examples/tiny-pythia/plan.yaml; with it the trained
example is measured, too. Their procedure: batches of 4 prompts padded on the left; for each of 10 steps of the left sum the
whole model runs forward (all blocks, the logits of the whole vocabulary at every position) and backward to the features,
dense, of every position. Ours: as few nodes of `gauss` as leave a completeness gap that is not larger (mean over examples
of |sum of effects - change of the metric|, as a share of the mean change). Rates are examples per second of processor
time, since other programs disturb the clock; for ours from the difference of two runs, which takes loading and writing
off; for theirs without loading.
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

N, STEPS, BATCH = 3, 10, 4
HERE = os.path.dirname(os.path.abspath(__file__))


def make_models(folder, d, layers, heads, vocab, latents, layer, n_pairs):
    """Three random models, each a little further from the first, a random crosscoder around their means, and pairs."""
    alphabet = {"<|endoftext|>": 0, **{ch: i + 1 for i, ch in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}}
    tok = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tok.add_special_tokens(["<|endoftext|>"])
    torch.manual_seed(0)
    config = GPTNeoXConfig(vocab_size=vocab, hidden_size=d, num_hidden_layers=layers, num_attention_heads=heads,
                           intermediate_size=4 * d, initializer_range=0.05, max_position_embeddings=2048)
    model = GPTNeoXForCausalLM(config).eval()
    specs, mean = [], torch.zeros(N, d)
    text = torch.randint(1, 250, (16, 16))
    for c in range(N):
        with torch.no_grad():
            for p in model.parameters():
                p += 0.02 * torch.randn_like(p) * (p.dim() > 1)
            mean[c] = model.gpt_neox(text, output_hidden_states=True).hidden_states[layer + 1][:, 1:].mean((0, 1))
        path = os.path.join(folder, "model%d" % c)
        model.save_pretrained(path)
        tok.save(os.path.join(path, "tokenizer.json"))
        specs.append("c%d=%s" % (c, path))
    w_dec = torch.randn(latents, N, d) / d ** 0.5
    tensors = {"W_enc": w_dec.permute(1, 2, 0).contiguous(), "b_enc": torch.full((latents,), -4.0), "W_dec": w_dec,
               "b_dec": mean}
    save_file(tensors, os.path.join(folder, "crosscoder.safetensors"), metadata={
        "format": "crosscoder", "format_version": "1", "layer": str(layer), "folded": "false",
        "mask_keep_first": "false", "scales": "[1,1,1]", "labels": '["c0","c1","c2"]'})
    rng = np.random.default_rng(0)
    word = lambda n: "".join(rng.choice(list("abcdefghijklmnop"), n))
    with open(os.path.join(folder, "pairs.jsonl"), "w") as file:
        for _ in range(n_pairs):
            file.write(json.dumps({"prefix": word(int(rng.integers(4, 11))), "good": "x", "bad": "y"}) + "\n")
    return specs


def theirs(specs, coder_path, pairs_path, n_pairs):
    """(examples per second of processor time, gaps of the checkpoints)"""
    with safe_open(coder_path, "pt") as file:
        meta = file.metadata()
        w_enc, b_enc, w_dec, b_dec = (file.get_tensor(k) for k in ("W_enc", "b_enc", "W_dec", "b_dec"))
    layer, scales = int(meta["layer"]), torch.tensor(json.loads(meta["scales"]))
    if meta["folded"] == "false":
        w_enc, w_dec, b_dec = w_enc * scales[:, None, None], w_dec / scales[:, None], b_dec / scales[:, None]
    paths = [s.split("=", 1)[1] for s in specs]
    lms = [GPTNeoXForCausalLM.from_pretrained(p, torch_dtype=torch.float32).eval() for p in paths]
    for p in (p for m in lms for p in m.parameters()):
        p.requires_grad_(False)
    tok = Tokenizer.from_file(os.path.join(paths[-1], "tokenizer.json"))
    with open(pairs_path) as file:
        pairs = [json.loads(line) for line, _ in zip(file, range(n_pairs))]
    first = lambda text: tok.encode(text).ids[0]

    def run(model, ids, mask, x=None):
        kept = []

        def hook(module, given, out):
            kept.append(out[0])
            return None if x is None else (x,) + tuple(out[1:])

        handle = model.gpt_neox.layers[layer].register_forward_hook(hook)
        logits = model(ids, attention_mask=mask).logits
        handle.remove()
        return logits[:, -1], kept[0]

    gaps, changes, start = np.zeros(N), np.zeros(N), time.process_time()
    for at in range(0, len(pairs), BATCH):
        batch = pairs[at:at + BATCH]
        ids = [[0] + tok.encode(p["prefix"]).ids for p in batch]
        width = max(map(len, ids))
        mask = torch.tensor([[0] * (width - len(i)) + [1] * len(i) for i in ids])
        used = mask.clone()
        for row, i in zip(used, ids):
            row[width - len(i)] = 0  # position 0 stays clean, here as there
        ids = torch.tensor([[0] * (width - len(i)) + i for i in ids])
        good, bad = (torch.tensor([first(p[k]) for p in batch]) for k in ("good", "bad"))
        rows = torch.arange(len(batch))
        with torch.no_grad():
            clean = [run(m, ids, mask) for m in lms]
            x = torch.stack([a for _, a in clean], 2)
            f = torch.relu(torch.einsum("btnd,ndh->bth", x, w_enc) + b_enc) * used[..., None]
        for c, m in enumerate(lms):
            a, keep = x[:, :, c], (1 - used)[..., None]
            error = (a - f @ w_dec[:, c] - b_dec[c]) * used[..., None]
            sum_f, sum_e = torch.zeros_like(f), torch.zeros_like(error)
            for k in range(STEPS + 1):
                rest = 1 - k / STEPS
                fk, ek = (rest * f).requires_grad_(k < STEPS), (rest * error).requires_grad_(k < STEPS)
                state = (fk @ w_dec[:, c] + b_dec[c] + ek) * used[..., None] + a * keep
                logits, _ = run(m, ids, mask, state)
                metric = logits[rows, bad] - logits[rows, good]
                if k < STEPS:
                    gf, ge = torch.autograd.grad(metric.sum(), (fk, ek))
                    sum_f, sum_e = sum_f + gf / STEPS, sum_e + ge / STEPS
            value = clean[c][0]
            change = metric - (value[rows, bad] - value[rows, good])
            total = -(sum_f * f).sum((1, 2)) - (sum_e * error).sum((1, 2))
            gaps[c] += (total - change).abs().sum().item()
            changes[c] += change.abs().sum().item()
    return len(pairs) / (time.process_time() - start), gaps / changes


def ours(program, specs, coder_path, pairs_path, folder, steps, n_pairs):
    """(processor seconds, gaps of the checkpoints)"""
    out = os.path.join(folder, "out")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, "attribute", coder_path, "--checkpoints=" + ",".join(specs), "--task=pairs:" + pairs_path,
                    "--out=" + out, "--steps=%d" % steps, "--bootstrap=0", "--length=64", "--max-pairs=%d" % n_pairs, "--quiet",
                    "--threads=" + os.environ.get("OMP_NUM_THREADS", "2")], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    name = [f for f in os.listdir(os.path.join(out, "effects")) if f.endswith(".json")][0]
    with open(os.path.join(out, "effects", name)) as file:
        gaps = [c["gap_examples_share"] for c in json.load(file)["checkpoints"]]
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, np.array(gaps)


def compare(name, program, specs, coder_path, pairs_path, folder, n_theirs, n_ours):
    rate, gap = theirs(specs, coder_path, pairs_path, n_theirs)
    for steps in range(1, STEPS + 1):
        _, own = ours(program, specs, coder_path, pairs_path, folder, steps, n_theirs)
        if (own <= gap).all():
            break
    times = [min(ours(program, specs, coder_path, pairs_path, folder, steps, n)[0] for _ in range(2))
             for n in (n_ours // 10, n_ours)]
    own_rate = (n_ours - n_ours // 10) / (times[1] - times[0])
    show = lambda g: " ".join("%.2f" % (100 * v) for v in g)
    print(f"{name}: theirs {rate:.2f} examples/s, gap {show(gap)} %; ours {own_rate:.1f} examples/s with {steps} nodes, gap "
          f"{show(own)} %: {own_rate / rate:.1f} times as fast; load {os.getloadavg()[0]:.1f}", flush=True)


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    program, wanted = os.path.abspath(sys.argv[1]), os.environ.get("SHAPES", "example,tiny,70m").split(",")
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 2 and "example" in wanted:
            example = os.path.join(HERE, "..", "examples", "tiny-pythia")
            specs = ["%s=%s" % (s, os.path.join(example, s)) for s in ("step32", "step256", "step2048")]
            compare("example", program, specs, os.path.join(sys.argv[2], "crosscoder.safetensors"),
                    os.path.join(example, "pairs", "en_rc.jsonl"), folder, 100, 600)
    for name, d, layers, heads, vocab, latents, layer, n_theirs, n_ours in (
            ("tiny", 128, 4, 4, 1024, 1024, 2, 100, 1000), ("70m", 512, 6, 8, 50304, 8192, 3, 16, 200)):
        if name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            specs = make_models(folder, d, layers, heads, vocab, latents, layer, n_ours)
            compare(name, program, specs, os.path.join(folder, "crosscoder.safetensors"),
                    os.path.join(folder, "pairs.jsonl"), folder, n_theirs, n_ours)


main()
