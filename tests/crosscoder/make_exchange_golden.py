#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden/FORM/: crosscoders in the forms of other programs, and what those programs' classes make of the same
activations. The classes are restated here from their published definitions (doc/exchange.md), in float64.

Each folder has the files of the form and expected.safetensors:
  a [B,n,d]  raw activations           f [B,D], xhat [B,n,d]  features and reconstructions of raw activations
  f_size, xhat_size   the same sums with every term replaced by its absolute value: what rounding is relative to
and ours.safetensors, the same crosscoder in the form of this project where the other form can be written.
With an argument, checks instead: make_exchange_golden.py FOLDER loads FOLDER/FORM with torch.load(weights_only=True)
or safetensors into the same classes and compares with expected.safetensors of this folder.
Made with torch 2.5.1 and safetensors 0.4.
"""
import json
import math
import os
import sys

import numpy as np
import torch
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
N, D, F, B = 3, 6, 10, 16
LABELS = ["step64", "step512", "step4096"]
SCALES = [0.37, 1.9, 0.06]  # the last shows what + 1e-8 does


class Authors:
    """f = relu(x W_enc + b_enc), xhat = f W_dec + b_dec; batchtopk in eval mode: f where f sum_m ||W_dec|| > threshold.
    x are activations times the factors of the cfg."""

    def __init__(self, folder):
        names = [f for f in os.listdir(folder) if f.endswith(".pt")]
        state = torch.load(os.path.join(folder, names[0]), weights_only=True)
        stem = names[0][:-3]
        cfg = os.path.join(folder, stem + "_cfg.json")
        self.cfg = json.load(open(cfg if os.path.exists(cfg) else os.path.join(folder, "cfg.json")))
        self.p = {k: v.double() for k, v in state.items()}
        if self.cfg.get("batch_topk_final"):
            assert state["k"].dtype == torch.int32 and state["threshold"].dtype == torch.float32
            assert state["k"].shape == () and state["threshold"].shape == ()
        else:
            assert set(state) == {"W_enc", "W_dec", "b_enc", "b_dec"}
        n, d, h = state["W_enc"].shape
        assert (n, d, h) == (self.cfg.get("n_models", 2), self.cfg["d_in"], self.cfg["dict_size"])
        assert state["W_dec"].shape == (h, n, d) and state["b_enc"].shape == (h,) and state["b_dec"].shape == (n, d)

    def run(self, a, scales=None):
        scales = scales or self.cfg["estimated_act_norm_list"]
        s = torch.tensor([np.float32(v) for v in scales]).double()[:, None]
        p, x = self.p, a * s
        pre = torch.einsum("bnd,ndh->bh", x, p["W_enc"]) + p["b_enc"]
        f_size = torch.einsum("bnd,ndh->bh", x.abs(), p["W_enc"].abs()) + p["b_enc"].abs()
        f = torch.relu(pre)
        if "threshold" in p:
            f = gate(f, f * p["W_dec"].norm(dim=2).sum(dim=1), p["threshold"])
        xhat = (torch.einsum("bh,hnd->bnd", f, p["W_dec"]) + p["b_dec"]) / s
        size = (torch.einsum("bh,hnd->bnd", f_size * (f > 0), p["W_dec"].abs()) + p["b_dec"].abs()) / s
        return f, xhat, f_size, size


def gate(f, score, threshold):
    clear = (score - threshold).abs() > 1e-3 * score
    assert bool(clear[f > 0].all()), "a score too near to the threshold"
    return f * (score > threshold)


class Learning:
    """The crosscoders of dictionary_learning's fork, with their normaliser."""

    def __init__(self, folder):
        config = json.load(open(os.path.join(folder, "config.json")))
        self.relative = config.get("trainer", config).get("keep_relative_variance", True)
        path = os.path.join(folder, "model_final.pt")
        state = (torch.load(path, weights_only=True) if os.path.exists(path)
                 else load_file(os.path.join(folder, "model.safetensors")))
        state = {k.replace("_orig_mod.", ""): v for k, v in state.items()}
        self.p = state
        n, d, h = state["encoder.weight"].shape
        assert state["decoder.weight"].shape == (n, h, d) and state["decoder.bias"].shape == (n, d)
        assert state["activation_mean"].shape == (n, d) and state["activation_global_scale"].shape == (n,)

    def run(self, a, scales=None):
        p = self.p
        mean, std = p["activation_mean"], p["activation_std"]
        has = not bool(mean.isnan().any() or std.isnan().any())
        tiny = torch.tensor(1e-8)  # in single precision, as the class computes
        if not has:
            gain = loss = torch.ones_like(mean).double()
            mean = torch.zeros_like(mean)
        elif self.relative:
            g = p["activation_global_scale"]
            gain, loss = g[:, None].double(), 1 / (g + tiny)[:, None].double()
        else:
            gain, loss = 1 / (std + tiny).double(), (std + tiny).double()
        mean = mean.double()
        e, be, w, bd = (p[k].double() for k in ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"))
        pre = torch.einsum("bnd,ndh->bh", (a - mean) * gain, e) + be
        f_size = torch.einsum("bnd,ndh->bh", (a.abs() + mean.abs()) * gain, e.abs()) + be.abs()
        f = torch.relu(pre)
        if "threshold" in p:
            kind = int(p["code_normalization_id"])
            norm = {1: w.norm(dim=2).sum(dim=0), 2: w.norm(dim=(0, 2)), 4: torch.ones(w.shape[1]).double()}[kind]
            f = gate(f, f * norm, p["threshold"].double())
        xhat = (torch.einsum("bh,nhd->bnd", f, w) + bd) * loss + mean
        size = (torch.einsum("bh,nhd->bnd", f_size * (f > 0), w.abs()) + bd.abs()) * loss + mean.abs()
        return f, xhat, f_size, size


class SaeLens:
    """standard, jumprelu and topk autoencoders."""

    def __init__(self, folder):
        self.cfg = json.load(open(os.path.join(folder, "cfg.json")))
        self.p = {k: v.double() for k, v in load_file(os.path.join(folder, "sae_weights.safetensors")).items()}

    def run(self, a, scales=None):
        p, x = self.p, a[:, 0]
        minus = p["b_dec"] if self.cfg["apply_b_dec_to_input"] else torch.zeros_like(p["b_dec"])
        pre = (x - minus) @ p["W_enc"] + p["b_enc"]
        f_size = (x.abs() + minus.abs()) @ p["W_enc"].abs() + p["b_enc"].abs()
        f = torch.relu(pre)
        if self.cfg["architecture"] == "jumprelu":
            f = gate(f, f, p["threshold"])
        if self.cfg["architecture"] == "topk":
            score = pre * p["W_dec"].norm(dim=-1) if self.cfg["rescale_acts_by_decoder_norm"] else pre
            top = score.topk(self.cfg["k"], dim=-1).indices
            f = f * torch.zeros_like(f).scatter(-1, top, 1.0)
        xhat = f @ p["W_dec"] + p["b_dec"]
        size = (f_size * (f > 0)) @ p["W_dec"].abs() + p["b_dec"].abs()
        return f, xhat[:, None], f_size, size[:, None]


class Autoencoder:
    """The autoencoders of dictionary_learning, for one checkpoint."""

    def __init__(self, folder):
        self.kind = json.load(open(os.path.join(folder, "config.json")))["trainer"]["dict_class"]
        state = torch.load(os.path.join(folder, "ae.pt"), weights_only=True)
        self.p = {k: v.double() for k, v in state.items()}
        linear = {"encoder.weight", "encoder.bias", "decoder.weight"}
        names = {"AutoEncoder": linear | {"bias"}, "AutoEncoderNew": linear | {"decoder.bias"},
                 "AutoEncoderTopK": linear | {"b_dec", "k", "threshold"},
                 "BatchTopKSAE": linear | {"b_dec", "k", "threshold"},
                 "JumpReluAutoEncoder": {"W_enc", "b_enc", "W_dec", "b_dec", "threshold"}}
        assert set(state) == names[self.kind], set(state)

    def run(self, a, scales=None):
        p, x = self.p, a[:, 0]
        if self.kind == "JumpReluAutoEncoder":
            e, be, w, bd = (p[k] for k in ("W_enc", "b_enc", "W_dec", "b_dec"))
        else:
            e, be, w = p["encoder.weight"].T, p["encoder.bias"], p["decoder.weight"].T
            bd = p[{"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias"}.get(self.kind, "b_dec")]
        minus = bd if self.kind in ("AutoEncoder", "AutoEncoderTopK", "BatchTopKSAE") else torch.zeros_like(bd)
        pre = (x - minus) @ e + be
        f_size = (x.abs() + minus.abs()) @ e.abs() + be.abs()
        f = torch.relu(pre)
        if self.kind in ("BatchTopKSAE", "JumpReluAutoEncoder"):
            f = gate(f, f, p["threshold"])
        if self.kind == "AutoEncoderTopK":
            f = f * torch.zeros_like(f).scatter(-1, pre.topk(int(p["k"]), dim=-1).indices, 1.0)
        xhat = f @ w + bd
        size = (f_size * (f > 0)) @ w.abs() + bd.abs()
        return f, xhat[:, None], f_size, size[:, None]


KINDS = {"authors": Authors, "learning": Learning, "saelens": SaeLens, "autoencoder": Autoencoder}


def save_expected(name, n, seed):
    torch.manual_seed(seed)
    a = (torch.randn(B, n, D) * torch.tensor([3.0, 0.7, 20.0])[:n, None] + 0.5).float()
    f, xhat, f_size, size = KINDS[name.split("-")[0]](os.path.join(HERE, name)).run(a.double())
    assert 0.1 < float((f > 0).double().mean()) < 0.9, name
    save_file({"a": a, "f": f.contiguous(), "xhat": xhat.contiguous(), "f_size": f_size.contiguous(),
               "xhat_size": size.contiguous()}, os.path.join(HERE, name, "expected.safetensors"))


def parameters(n, seed):
    torch.manual_seed(seed)
    w_dec = torch.randn(F, n, D) * 0.5
    w_enc = w_dec.permute(1, 2, 0).contiguous() + 0.2 * torch.randn(n, D, F)
    return {"W_enc": w_enc, "b_enc": 0.3 * torch.randn(F), "W_dec": w_dec, "b_dec": 0.2 * torch.randn(n, D)}


def save_ours(name, p, scales, folded, extra=None, tensors=None):
    meta = {"format": "crosscoder", "format_version": "1", "labels": json.dumps(LABELS[:p["W_enc"].shape[0]]),
            "scales": json.dumps([float(np.float32(s)) for s in scales]), "layer": "4", "mask_keep_first": "false",
            "folded": "true" if folded else "false", "activation": "relu", **(extra or {})}
    save_file({**{k: v.contiguous() for k, v in p.items()}, **(tensors or {})},
              os.path.join(HERE, name, "ours.safetensors"), metadata=meta)


def folder(name):
    os.makedirs(os.path.join(HERE, name), exist_ok=True)
    return os.path.join(HERE, name)


def thresholds(p, threshold):
    return {"threshold": (threshold / p["W_dec"].double().norm(dim=2).sum(dim=1)).float()}


def make_authors():
    for name, threshold, dtype in (("authors-l1", None, torch.float32), ("authors-batchtopk", 1.7, torch.float32),
                                   ("authors-bf16", None, torch.bfloat16)):
        out, p = folder(name), parameters(N, 11)
        p = {k: v.to(dtype) for k, v in p.items()}
        state = dict(p)
        if threshold is not None:
            state |= {"k": torch.tensor(4, dtype=torch.int), "threshold": torch.tensor(threshold)}
        torch.save(state, os.path.join(out, "20.pt"))
        cfg = {"seed": 124, "batch_size": 4096, "d_in": D, "dict_size": F, "n_models": N, "enc_dtype": "fp32",
               "model_name": "pythia", "revision_list": "-".join(LABELS), "hook_point": "blocks.5.hook_resid_pre",
               "remove_bos": True, "estimated_act_norm_list": [float(np.float32(s)) for s in SCALES],
               "batch_topk_final": 4 if threshold else None, "batch_topk_init": 4}
        json.dump(cfg, open(os.path.join(out, "20_cfg.json"), "w"), indent=1)
        if dtype is torch.float32:
            extra = {"activation": "batchtopk", "threshold": repr(float(np.float32(threshold))), "k": "4"}
            save_ours(name, p, SCALES, False, extra if threshold else None,
                      thresholds(p, float(np.float32(threshold))) if threshold else None)
        save_expected(name, N, 12)


def learning_state(p, mean, std, relative, code=1, k=None, threshold=None):
    state = {"encoder.weight": p["W_enc"], "encoder.bias": p["b_enc"],
             "decoder.weight": p["W_dec"].permute(1, 0, 2).contiguous(), "decoder.bias": p["b_dec"],
             "code_normalization_id": torch.tensor(code), "target_rms": torch.tensor(1.0), "activation_mean": mean,
             "activation_std": std,
             "activation_global_scale": 1 / torch.sqrt((std ** 2).sum(-1) + 1e-8) if relative else torch.ones(N)}
    if k is not None:
        state |= {"k": torch.tensor(k, dtype=torch.int), "threshold": torch.tensor(threshold)}
    return state


def make_learning():
    nan = torch.full((N, D), math.nan)
    torch.manual_seed(5)
    mean = torch.randn(N, D)
    std = (0.2 + torch.rand(N, D)) * torch.tensor([3.0, 0.7, 20.0])[:, None]
    cases = [("learning-l1", mean, std, True, 1, None, None), ("learning-plain", nan, nan, True, 1, None, None),
             ("learning-batchtopk", mean, std, True, 1, 4, 1.7), ("learning-neuron", mean, std, False, 1, 4, 1.1),
             ("learning-sae", mean, std, True, 2, 4, 0.9)]
    for name, m, s, relative, code, k, threshold in cases:
        out, p = folder(name), parameters(N, 21)
        state = learning_state(p, m, s, relative, code, k, threshold)
        if bool(m.isnan().any()):
            state["activation_global_scale"] = torch.ones(N)
        if name == "learning-batchtopk":  # as saved under torch.compile
            state = {"_orig_mod." + key: value for key, value in state.items()}
        if name == "learning-sae":
            save_file({key: v.contiguous() for key, v in state.items()}, os.path.join(out, "model.safetensors"))
        else:
            torch.save(state, os.path.join(out, "model_final.pt"))
        trainer = {"dict_class": "BatchTopKCrossCoder" if k else "CrossCoder", "activation_dim": D, "dict_size": F,
                   "num_layers": N, "layer": 4, "keep_relative_variance": relative}
        json.dump({"trainer": trainer} if name != "learning-sae" else trainer,
                  open(os.path.join(out, "config.json"), "w"), indent=1)
        save_expected(name, N, 22)


def make_saelens():
    for name, architecture, extra in (("saelens-standard", "standard", {"apply_b_dec_to_input": True}),
                                      ("saelens-jumprelu", "jumprelu", {}),
                                      ("saelens-topk", "topk", {"k": 3, "rescale_acts_by_decoder_norm": True}),
                                      ("saelens-topk-plain", "topk", {"k": 3, "rescale_acts_by_decoder_norm": False})):
        out, p = folder(name), parameters(1, 31)
        state = {"W_enc": p["W_enc"][0], "b_enc": p["b_enc"], "W_dec": p["W_dec"][:, 0].contiguous(),
                 "b_dec": p["b_dec"][0]}
        if architecture == "jumprelu":
            state["threshold"] = 0.2 + torch.rand(F)
        save_file(state, os.path.join(out, "sae_weights.safetensors"))
        cfg = {"architecture": architecture, "d_in": D, "d_sae": F, "dtype": "float32", "device": "cpu",
               "apply_b_dec_to_input": False, "normalize_activations": "none", "reshape_activations": "none",
               "metadata": {"sae_lens_version": "6.0.0", "hook_name": "blocks.5.hook_resid_pre"}, **extra}
        json.dump(cfg, open(os.path.join(out, "cfg.json"), "w"), indent=1)
        if architecture == "jumprelu":
            save_ours(name, p, [1.0], True, {"activation": "jumprelu"}, {"threshold": state["threshold"]})
        elif architecture == "topk" and extra["rescale_acts_by_decoder_norm"]:
            save_ours(name, p, [1.0], True, {"activation": "topk", "k": "3"},
                      {"score": p["W_dec"][:, 0].double().norm(dim=-1).float()})
        save_expected(name, 1, 32)


def make_autoencoders():
    for name, kind, bias in (("autoencoder-plain", "AutoEncoder", "bias"),
                             ("autoencoder-new", "AutoEncoderNew", "decoder.bias"),
                             ("autoencoder-topk", "AutoEncoderTopK", "b_dec"),
                             ("autoencoder-batchtopk", "BatchTopKSAE", "b_dec"),
                             ("autoencoder-jumprelu", "JumpReluAutoEncoder", "b_dec")):
        out, p = folder(name), parameters(1, 41)
        w_enc, w_dec = p["W_enc"][0], p["W_dec"][:, 0].contiguous()
        state = {"encoder.weight": w_enc.T.contiguous(), "encoder.bias": p["b_enc"],
                 "decoder.weight": w_dec.T.contiguous(), bias: p["b_dec"][0].clone()}
        if kind in ("AutoEncoderTopK", "BatchTopKSAE"):
            state |= {"k": torch.tensor(3, dtype=torch.int), "threshold": torch.tensor(0.7)}
        if kind == "JumpReluAutoEncoder":
            state = {"W_enc": w_enc.contiguous(), "b_enc": p["b_enc"], "W_dec": w_dec, "b_dec": p["b_dec"][0].clone(),
                     "threshold": 0.2 + torch.rand(F)}
        torch.save(state, os.path.join(out, "ae.pt"))
        json.dump({"trainer": {"dict_class": kind, "activation_dim": D, "dict_size": F, "layer": 4, "device": "cpu"},
                   "buffer": None}, open(os.path.join(out, "config.json"), "w"), indent=1)
        save_expected(name, 1, 42)


def check(made):
    """Rounding: at most m = N D + F + 12 roundings on the way of any term, each 2^-24 of its size."""
    n_checked = 0
    for name in sorted(os.listdir(made)):
        golden, kind = name.split(".")
        path = os.path.join(HERE, golden, "expected.safetensors")
        expected = {k: torch.tensor(v) for k, v in load_numpy(path).items()}
        f, xhat, _, _ = KINDS[kind](os.path.join(made, name)).run(expected["a"].double())
        bound = (N * D + F + 12) * 2.0 ** -24
        for key, got in (("f", f), ("xhat", xhat)):
            ratio = ((got - expected[key]).abs() / expected[key + "_size"]).max().item()
            assert ratio <= bound, (name, key, ratio, bound)
        n_checked += 1
    print(n_checked, "folders agree")
    assert n_checked > 0


if len(sys.argv) > 1:
    check(sys.argv[1])
else:
    make_authors()
    make_learning()
    make_saelens()
    make_autoencoders()
