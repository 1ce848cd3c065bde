# SPDX-License-Identifier: Apache-2.0
"""Golden values of the analyses: torch autograd in float64 through whole models.

Writes golden/ beside this file: three tiny random GPT-NeoX models (transformers, fp16), a byte-level tokenizer, minimal
pairs with counterfactuals, held-out ids, labelled sentences, and golden.safetensors with a random crosscoder and what
its analyses must give. Versions used: torch 2.5.1, transformers 4.46.3, tokenizers 0.20.3, safetensors, numpy.
"""
import json
import os
import shutil

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
LABELS = ["early", "middle", "late"]
N, D_MODEL, D, LAYER, STEPS = 3, 24, 40, 0, 10
torch.set_default_dtype(torch.float64)


def make_tokenizer():
    vocab = {"<|endoftext|>": 0}
    for i, ch in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet())):
        vocab[ch] = i + 1
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens(["<|endoftext|>"])
    tok.save(os.path.join(OUT, "tokenizer.json"))
    return tok


def make_model(seed, path):
    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        vocab_size=260, hidden_size=D_MODEL, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48,
        hidden_act="gelu", rotary_pct=0.5, max_position_embeddings=64, initializer_range=0.25,
        use_parallel_residual=True, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager")
    torch.set_default_dtype(torch.float32)
    model = GPTNeoXForCausalLM(config)
    with torch.no_grad():  # biases and norms are constants after initialisation
        for p in model.parameters():
            if p.dim() == 1:
                p += 0.1 * torch.randn_like(p)
    model.half().save_pretrained(path)
    for name in ("generation_config.json",):
        if os.path.exists(os.path.join(path, name)):
            os.remove(os.path.join(path, name))
    model = GPTNeoXForCausalLM.from_pretrained(path, torch_dtype=torch.float32, attn_implementation="eager")
    torch.set_default_dtype(torch.float64)
    return model.double().eval()


def hidden(model, ids):
    kept = []
    handle = model.gpt_neox.layers[LAYER].register_forward_hook(lambda m, i, o: kept.append(o[0]))
    model(ids[None])
    handle.remove()
    return kept[0][0].detach()


def run_from(model, ids, x):
    """Logits of the whole model with the residual stream after block LAYER replaced by x [T, d]."""
    handle = model.gpt_neox.layers[LAYER].register_forward_hook(lambda m, i, o: (x[None],) + o[1:])
    logits = model(ids[None]).logits[0]
    handle.remove()
    return logits


def bf16(x):
    return x.to(torch.bfloat16).to(torch.float64)


def nodes(rule, clean, target, origin=False):
    """(alpha, weight) of a rule; `clean` and `target` are the ends of the path at the last position."""
    if rule == "gradient":
        return [(0.0, 1.0)]
    if rule in ("left", "midpoint"):
        return [((k + (rule == "midpoint") / 2) / STEPS, 1 / STEPS) for k in range(STEPS)]
    if rule == "trapezoid":
        return [(k / STEPS, (0.5 if k in (0, STEPS) else 1) / STEPS) for k in range(STEPS + 1)]
    z, w = np.polynomial.legendre.leggauss(STEPS)
    u, w = (1 + z) / 2, w / 2
    if rule == "gauss":  # in the angle of the centred state, sharpened by half
        x = clean - clean.mean()
        y = target - target.mean() - x
        closest = float(-(x @ y) / (y @ y))
        nearest = float((x + closest * y).norm() / y.norm())
        if origin:  # graded into the point where the path ends, down to what the norms' epsilon blurs
            distance = 0.5 * np.sqrt(nearest ** 2 + 1e-5 * len(y) / float(y @ y))
            first, last = np.arcsinh(-closest / distance), np.arcsinh((1 - closest) / distance)
            t = first + (last - first) * u
            return list(zip(np.clip(closest + distance * np.sinh(t), 0, 1), w * (last - first) * distance * np.cosh(t)))
        distance = max(0.5 * nearest, 0.03)
        first, last = np.arctan(-closest / distance), np.arctan((1 - closest) / distance)
        wanted, low, high = u, np.zeros(STEPS), np.ones(STEPS)
        for _ in range(60):  # 95 % of the angle and 5 % of alpha make the variable whose nodes are Gauss-Legendre's
            middle = (low + high) / 2
            below = 0.95 * (np.arctan((middle - closest) / distance) - first) / (last - first) + 0.05 * middle < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        u = (low + high) / 2
        w = w / (0.95 / (last - first) * distance / ((u - closest) ** 2 + distance ** 2) + 0.05)
    return list(zip(u, w))


class Coder:
    def __init__(self, seed):
        g = torch.Generator().manual_seed(seed)
        self.scales = torch.tensor([0.8, 1.1, 1.3])
        f32 = lambda *s, k=1.0: (k * torch.randn(*s, generator=g)).float().double()
        self.W_enc, self.b_enc = f32(N, D_MODEL, D, k=0.25), f32(D, k=0.3)
        self.W_dec, self.b_dec = f32(D, N, D_MODEL, k=0.3), f32(N, D_MODEL, k=0.3)
        self.scales = self.scales.float().double()

    def pre(self, a):  # a [T, n, d]
        x = a * self.scales[None, :, None]
        return torch.einsum("tcd,cdi->ti", x, self.W_enc) + self.b_enc

    def codes(self, a):
        return torch.relu(self.pre(a))

    def decoder(self):
        return self.W_dec / self.scales[None, :, None], self.b_dec / self.scales[:, None]

    def decode(self, f):
        w, b = self.decoder()
        return torch.einsum("ti,icd->tcd", f, w) + b


def effects(coder, model, c, ids, a, other, right, wrong, rule, baseline, means):
    """IE by autograd through the whole model, with f and e of the unmasked positions as the variables."""
    w, b = coder.decoder()
    f = coder.codes(a)[1:]
    e = a[1:, c] - f @ w[:, c] - b[c]
    bias = b[c].expand(len(e), -1)
    f_end, e_end, b_end = torch.zeros_like(f), torch.zeros_like(e), bias
    if baseline == "origin":
        b_end = torch.zeros_like(bias)
    if baseline == "mean":
        f_end, e_end = means[0].expand_as(f), means[1][c].expand_as(e)
    if baseline == "counterfactual":
        f_end = coder.codes(other)[1:]
        e_end = other[1:, c] - f_end @ w[:, c] - b[c]

    def metric(alpha, grad):
        parts = [(p + alpha * (q - p)).detach().requires_grad_(grad) for p, q in ((f, f_end), (e, e_end), (bias, b_end))]
        x = torch.cat([a[:1, c], parts[0] @ w[:, c] + parts[1] + parts[2]])
        logits = run_from(model, ids, x)[-1]
        m = logits[wrong] - logits[right]
        return m, parts

    grads = [torch.zeros_like(p) for p in (f, e, bias)]
    ends = [p[-1] @ w[:, c] + q[-1] + r[-1] for p, q, r in ((f, e, bias), (f_end, e_end, b_end))]
    for alpha, weight in nodes(rule, *ends, origin=baseline == "origin"):
        m, parts = metric(alpha, True)
        for total, g in zip(grads, torch.autograd.grad(m, parts)):
            total += weight * g
    ie = (grads[0] * (f_end - f)).sum(0)
    gbar = grads[1]  # dm/dx, because x = ... + e
    scale = ((f + f_end).abs() * gbar.norm(dim=1)[:, None] * w[:, c].norm(dim=1)[None]).sum(0)
    return dict(tokens=grads[0] * (f_end - f), ie=ie, scale=scale, error=(grads[1] * (e_end - e)).sum(), bias=(grads[2] * (b_end - bias)).sum(),
                clean=metric(0.0, False)[0].detach(), baseline=metric(1.0, False)[0].detach())


def evaluate(coder, lms, corpus, out):
    acts = [bf16(torch.stack([hidden(m, ids) for m in lms], 1)) for ids in corpus]
    s2 = (coder.scales ** 2)[None]
    x = torch.cat([a[1:] for a in acts])
    f = torch.cat([coder.codes(a)[1:] for a in acts])
    err = ((x - coder.decode(f)) ** 2).sum(-1) * s2
    var = ((x - x.mean(0)) ** 2).sum(-1) * s2
    ce = torch.zeros(N, 3)
    count = 0
    for ids, a in zip(corpus, acts):
        for c, m in enumerate(lms):
            spliced = torch.cat([a[:1, c], coder.decode(coder.codes(a))[1:, c]])
            blank = torch.cat([a[:1, c], torch.zeros(len(ids) - 1, D_MODEL)])
            for k, logits in enumerate((m(ids[None]).logits[0], run_from(m, ids, spliced), run_from(m, ids, blank))):
                lp = torch.log_softmax(logits[:-1], -1)
                ce[c, k] -= lp[torch.arange(len(ids) - 1), ids[1:]].sum().detach()
        count += len(ids) - 1
    out["eval.l0"] = (f > 0).sum(1).double().mean()[None]
    out["eval.dead"] = ((f > 0).sum(0) == 0).sum().double()[None]
    out["eval.ev_pooled"] = torch.cat([1 - err.sum(0) / var.sum(0), (1 - err.sum() / var.sum())[None]])
    out["eval.ev_mean"] = torch.cat([(1 - err / var).mean(0), (1 - err.sum(1) / var.sum(1)).mean()[None]])
    out["eval.ce"] = ce / count
    return acts, f


def main():
    for label in LABELS:
        shutil.rmtree(os.path.join(OUT, label), ignore_errors=True)
    os.makedirs(OUT, exist_ok=True)
    tok = make_tokenizer()
    lms = [make_model(100 + c, os.path.join(OUT, LABELS[c])) for c in range(N)]
    rng = np.random.default_rng(7)
    letters = "abcdefghijklmnop"
    word = lambda n: "".join(rng.choice(list(letters), n))
    for attempt in range(50):
        coder = Coder(1000 + attempt)
        pairs = []
        for k in range(6):
            n = 3 + k
            pairs.append(dict(prefix=word(n), good=word(1), bad="q" if k % 2 else "z", language="xx", group="g%d" % (k % 2),
                              counterfactual=word(n)))
        prompts = [torch.tensor([0] + tok.encode(p["prefix"]).ids) for p in pairs]
        others = [torch.tensor([0] + tok.encode(p["counterfactual"]).ids) for p in pairs]
        corpus = [torch.tensor([0] + [int(v) for v in rng.integers(1, 257, 11)]) for _ in range(8)]
        raw = [torch.stack([hidden(m, ids) for m in lms], 1) for ids in prompts + others + corpus]
        acts = [bf16(r) for r in raw]
        # No feature may be so close to switching that fp32 decides otherwise.
        near = min(coder.pre(a)[1:].abs().min().item() for a in acts)
        if near > 1e-4:
            break
    else:
        raise SystemExit("no seed keeps the distance")
    print("attempt", attempt, "closest pre-activation", near)
    out = dict(W_enc=coder.W_enc, b_enc=coder.b_enc, W_dec=coder.W_dec, b_dec=coder.b_dec, scales=coder.scales)
    # What the integrals start from, because rounding to bf16 turns on differences below what fp32 keeps.
    out["hidden.prompts"], out["hidden.others"] = torch.cat(acts[:6]), torch.cat(acts[6:12])

    acts_prompts, acts_others = acts[:6], acts[6:12]
    w, b = coder.decoder()
    f_all = torch.cat([coder.codes(a)[1:] for a in acts_prompts])
    x_all = torch.cat([a[1:] for a in acts_prompts])
    means = (f_all.mean(0), (x_all - coder.decode(f_all)).mean(0))
    answers = [(tok.encode(p["good"]).ids[0], tok.encode(p["bad"]).ids[0]) for p in pairs]
    for name, rule, baseline in (("left", "left", "zero"), ("midpoint", "midpoint", "zero"), ("trapezoid", "trapezoid", "zero"),
                                 ("legendre", "legendre", "zero"), ("gradient", "gradient", "zero"),
                                 ("gauss", "gauss", "zero"), ("origin", "gauss", "origin"), ("mean", "gauss", "mean"),
                                 ("counterfactual", "gauss", "counterfactual")):
        rows = [[effects(coder, lms[c], c, prompts[k], acts_prompts[k], acts_others[k], *answers[k], rule, baseline,
                         means) for c in range(N)] for k in range(6)]
        for key in ("ie", "scale", "error", "bias", "clean", "baseline"):
            value = torch.stack([torch.stack([cell[key] for cell in row], -1) for row in rows])
            out["%s.%s" % (name, key)] = value  # [E, D, n] or [E, n]
    # The average of the authors: batches of 4, left padding, 17 columns; single effects up to 0.1 are dropped.
    mean = torch.zeros(D, N)
    for first in (0, 4):
        of = range(first, min(first + 4, 6))
        longest = max(len(prompts[k]) for k in of)
        for c in range(N):
            rows = []
            for k in of:
                part = effects(coder, lms[c], c, prompts[k], acts_prompts[k], None, *answers[k], "left", "zero", means)
                tokens = part["tokens"].detach()
                assert ((tokens.abs() - 0.1).abs() > 1e-6).all()
                rows.append(torch.cat([torch.zeros(longest - len(tokens), D), tokens * (tokens.abs() > 0.1)]))
            mean[:, c] += 17 * torch.cat(rows).mean(0)
    out["authors.ie"] = mean / 6
    gap = lambda r: (out[r + ".ie"].sum(1) + out[r + ".error"] - out[r + ".baseline"] + out[r + ".clean"]).abs().mean(0)
    for name in ("gradient", "left", "midpoint", "trapezoid", "legendre", "gauss"):
        print("gap", name, gap(name))

    evaluate(coder, lms, corpus, out)
    clean = torch.zeros(N, 6)
    ablated = torch.zeros(D, N, 6)
    own = torch.zeros(N, 6)
    for k in range(6):
        right, wrong = answers[k]
        f = coder.codes(acts_prompts[k])
        for c in range(N):
            logits = lms[c](prompts[k][None]).logits[0, -1]
            own[c, k] = (logits[right] - logits[wrong]).detach()
            logits = run_from(lms[c], prompts[k], acts_prompts[k][:, c])[-1]
            clean[c, k] = (logits[right] - logits[wrong]).detach()
            for i in range(D):
                x = acts_prompts[k][:, c].clone()
                x[1:] -= f[1:, i, None] * w[i, c]
                logits = run_from(lms[c], prompts[k], x)[-1]
                ablated[i, c, k] = (logits[right] - logits[wrong]).detach()
    out["difference.own"], out["difference.clean"], out["difference.ablated"] = own, clean, ablated

    with open(os.path.join(OUT, "pairs.jsonl"), "w") as file:
        for p in pairs:
            file.write(json.dumps(p) + "\n")
    np.save(os.path.join(OUT, "heldout.npy"), np.stack([ids.numpy() for ids in corpus]).astype(np.int32))
    with open(os.path.join(OUT, "gold.jsonl"), "w") as file:  # the number is in the first letter, by its place
        for k in range(64):
            text = ("a" if k % 2 else "b") + word(3)
            file.write(json.dumps(dict(
                ids=tok.encode(text).ids, predict_index=0, subject_number="pl" if k % 2 else "sg",
                construction=("simple", "pp", "rc")[k % 3], language=("xx", "yy")[k // 32],
                noun_heldout=k % 4 < 2)) + "\n")
    save_file({k: v.to(torch.float32).contiguous() for k, v in out.items()}, os.path.join(OUT, "golden.safetensors"))


main()
