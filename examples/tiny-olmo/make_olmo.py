#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the tiny-olmo example: the languages of tiny-pythia, learned by another architecture with another vocabulary.

    pip install -r ../tiny-pythia/requirements.txt
    python make_olmo.py            # everything, next to this file

The grammar, the optimiser and the length of the run are tiny-pythia's; the text comes from another seed, the
tokenizer has its own vocabulary, and the model is an OlmoForCausalLM (non-parametric norm, SwiGLU, clipped queries,
keys and values). The checkpoints are scored on tiny-pythia's minimal pairs, read back from the files written.
"""
import csv
import json
import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
PYTHIA = os.path.join(HERE, os.pardir, "tiny-pythia")
sys.path.insert(0, PYTHIA)

import torch  # noqa: E402
from transformers import AutoTokenizer, OlmoConfig, OlmoForCausalLM  # noqa: E402

import make_example as example  # noqa: E402

TEXT = "olmo-train-%d" % example.SEED
VOCAB = 1120
STEPS = [32, 256, 2048]
MODEL = dict(
    vocab_size=VOCAB, hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4,
    hidden_act="silu", max_position_embeddings=256, initializer_range=0.02, clip_qkv=8.0, tie_word_embeddings=False,
    attention_bias=False, attention_dropout=0.0, rope_theta=10000.0, use_cache=True,
    bos_token_id=None, eos_token_id=0, pad_token_id=1)
LIMIT = 4_000_000


def main():
    for module, want in example.VERSIONS.items():
        if module.__version__.split("+")[0] != want:
            sys.exit("%s %s is pinned, this is %s" % (module.__name__, want, module.__version__))
    out = sys.argv[1] if len(sys.argv) > 1 else HERE
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    torch.use_deterministic_algorithms(True)
    example.VOCAB = VOCAB
    tok = example.train_tokenizer(TEXT)
    pairs = {(l, g): example.make_pairs(tok, l, g) for l in example.LANGUAGES for g in example.GROUPS}
    held = example.documents("heldout-%d" % example.SEED)
    example.WATCH.update(pairs=pairs, stream=example.pack(tok, [next(held)[0] for _ in range(400)]))
    losses = {}

    def save(step, model):
        example.save_half(model, tok, os.path.join(out, "step%d" % step))
        losses[step] = example.loss_on(model, example.WATCH["stream"])

    def create():
        return OlmoForCausalLM(OlmoConfig(**MODEL))

    example.train(tok, STEPS, save, {64, 128, 512, 1024}, create, TEXT)

    with open(os.path.join(out, "accuracy.csv"), "w", newline="") as f:
        table = csv.writer(f, lineterminator="\n")
        table.writerow("step language construction n accuracy low high".split())
        for step in STEPS:
            d = os.path.join(out, "step%d" % step)
            t = AutoTokenizer.from_pretrained(d)
            model = OlmoForCausalLM.from_pretrained(d, torch_dtype=torch.float32)
            assert abs(example.loss_on(model, example.WATCH["stream"]) - losses[step]) < 2e-3
            for (l, g), p in pairs.items():
                assert t(p[0]["prefix"]).input_ids == tok.encode(p[0]["prefix"]).ids
                k, n = example.score(model, tok, p), len(p)
                low, high = example.wilson(k, n)
                table.writerow([step, l, g, n, "%.4f" % (k / n), "%.4f" % low, "%.4f" % high])
    with open(os.path.join(out, "run.json"), "w") as f:
        json.dump(dict(tokens_per_step=example.TOKENS_PER_STEP, steps=STEPS, text_seed=TEXT, model_seed=example.MODEL_SEED,
                       vocabulary=VOCAB, versions={m.__name__: v for m, v in example.VERSIONS.items()},
                       checkpoints=[dict(step=s, tokens=s * example.TOKENS_PER_STEP,
                                         heldout_loss=round(losses[s], 4)) for s in STEPS]), f, indent=1)
        f.write("\n")
    total = sum(os.path.getsize(os.path.join(r, x)) for r, _, fs in os.walk(out) for x in fs)
    print("%d bytes in all" % total)
    assert total <= LIMIT, "too large for the repository"


if __name__ == "__main__":
    main()
