#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Crosscoders of one checkpoint through the packages themselves, both ways (doc/exchange.md has what it printed):
`crosscoder export` and then the loaders of sae-lens and dictionary-learning, and what these packages save through
`crosscoder import`. Usage: tests/exchange_packages.py BUILD-FOLDER, by a Python that has both packages.

Both sides compute in single precision, so features and reconstructions may differ by the roundings of both: at most
d + D + 12 on the way of any term, each 2^-24 of its size. That is the bound; which features fire must be equal.
"""
import ctypes
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file

import dictionary_learning as dl
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
from dictionary_learning.trainers.top_k import AutoEncoderTopK
from dictionary_learning.utils import load_dictionary
from sae_lens import (SAE, BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, JumpReLUSAE, JumpReLUSAEConfig,
                      JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig, StandardSAE, StandardSAEConfig,
                      StandardTrainingSAE, StandardTrainingSAEConfig, TopKSAE, TopKSAEConfig)

D, F, B, K = 48, 160, 256, 12
BUILD = os.path.abspath(sys.argv[1])
PROGRAM = os.path.join(BUILD, "crosscoder")
LIBRARY = ctypes.CDLL(os.path.join(BUILD, ".libs", "libcrosscoder.so"))


class Codes(ctypes.Structure):
    _fields_ = [("n_samples", ctypes.c_size_t), ("start", ctypes.POINTER(ctypes.c_size_t)),
                ("index", ctypes.POINTER(ctypes.c_uint32)), ("value", ctypes.POINTER(ctypes.c_float))]


def ours(path, x):
    """Features and reconstructions of the crosscoder in a file."""
    coder, codes = ctypes.c_void_p(), Codes()
    floats = ctypes.POINTER(ctypes.c_float)
    x = np.ascontiguousarray(x.numpy(), dtype=np.float32)
    f, xhat = np.zeros((B, F), dtype=np.float32), np.zeros((B, D), dtype=np.float32)
    assert LIBRARY.xcoder_load(path.encode(), ctypes.byref(coder), None) == 0
    pointer = x.ctypes.data_as(floats)
    assert LIBRARY.xcoder_encode(coder, None, pointer, ctypes.c_size_t(B), f.ctypes.data_as(floats), None) == 0
    assert LIBRARY.xcoder_encode_sparse(coder, None, pointer, ctypes.c_size_t(B), ctypes.byref(codes), None) == 0
    assert LIBRARY.xcoder_decode(coder, None, ctypes.byref(codes), xhat.ctypes.data_as(floats), None) == 0
    LIBRARY.xcoder_codes_free(ctypes.byref(codes))
    LIBRARY.xcoder_free_coder(coder)
    return torch.tensor(f), torch.tensor(xhat)


def run(*arguments):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def parameters(seed):
    torch.manual_seed(seed)
    w_dec = torch.randn(F, D) * (0.3 + torch.rand(F, 1))
    return {"W_enc": (w_dec.T * 0.4 + 0.1 * torch.randn(D, F)).contiguous(), "b_enc": 0.3 * torch.randn(F),
            "W_dec": w_dec, "b_dec": 0.2 * torch.randn(D)}


def activations():
    torch.manual_seed(7)
    return 1.5 * torch.randn(B, D) + 0.3


def compare(name, x, p, theirs, mine, factor=None):
    """`factor`: what their features are multiplied by."""
    (f, xhat), (g, yhat) = theirs, mine
    f = f.detach() if factor is None else f.detach() / factor
    size = x.double().abs() @ p["W_enc"].double().abs() + p["b_enc"].double().abs()
    size = size + p["b_dec"].double().abs() @ p["W_enc"].double().abs()
    out = (size * (g > 0)) @ p["W_dec"].double().abs() + p["b_dec"].double().abs()
    bound = 2 * (D + F + 12) * 2.0 ** -24
    n_fired = int(((f > 0) != (g > 0)).sum())
    ratios = [float(((a.double() - b.double()).abs() / s).max()) / bound
              for a, b, s in ((f, g, size), (xhat.detach(), yhat, out))]
    print(f"{name:62s} L0 {float((g > 0).float().sum(1).mean()):6.1f}   differently fired {n_fired}   "
          f"error / bound {ratios[0]:.3f} {ratios[1]:.3f}")
    assert n_fired == 0 and max(ratios) <= 1, name


def save_ours(path, p, activation, scale):
    """Unfolded: reads x times `scale`."""
    meta = {"format": "crosscoder", "format_version": "1", "labels": '["A"]', "scales": json.dumps([scale]),
            "layer": "4", "mask_keep_first": "false", "folded": "false", "activation": activation}
    norm = p["W_dec"].double().norm(dim=1)
    tensors = {"W_enc": p["W_enc"][None], "b_enc": p["b_enc"], "W_dec": p["W_dec"][:, None], "b_dec": p["b_dec"][None]}
    if activation == "batchtopk":
        meta |= {"threshold": "3.5", "k": str(K)}
        tensors["threshold"] = (3.5 / norm).float()
    if activation == "jumprelu":
        tensors["threshold"] = 0.3 + torch.rand(F)
    if activation == "topk":
        meta["k"] = str(K)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata=meta)


def exports(folder):
    x, scale = activations(), 0.5
    for i, activation in enumerate(("relu", "batchtopk", "jumprelu", "topk")):
        p = parameters(20 + i)
        path = os.path.join(folder, activation + ".safetensors")
        save_ours(path, p, activation, scale)
        folded = {"W_enc": p["W_enc"] * scale, "b_enc": p["b_enc"], "W_dec": p["W_dec"] / scale,
                  "b_dec": p["b_dec"] / scale}
        for form in ("saelens", "dictionary-learning-sae"):
            out = os.path.join(folder, f"{activation}-{form}")
            if activation == "topk" and form != "saelens":
                continue  # refused: its topk ranks without norms
            run("export", path, "--form=" + form, "--out=" + out)
            if form == "saelens":
                sae = SAE.load_from_disk(out)
            else:
                sae = load_dictionary(out, "cpu")[0]
            f = sae.encode(x)
            factor = folded["W_dec"].norm(dim=1) if activation == "topk" else None
            compare(f"export {activation:10s} -> {type(sae).__name__} of {form.split('-sae')[0]}", x, folded,
                    (f, sae.decode(f)), ours(path, x), factor)


def set_sae(sae, p):
    with torch.no_grad():
        for name, value in p.items():
            getattr(sae, name).copy_(value)


def imports_saelens(folder):
    x, extra = activations(), {"d_in": D, "d_sae": F, "dtype": "float32", "device": "cpu"}
    cases = [("standard", StandardSAE(StandardSAEConfig(**extra, apply_b_dec_to_input=True)), "save_model"),
             ("standard-raw", StandardSAE(StandardSAEConfig(**extra, apply_b_dec_to_input=False)), "save_model"),
             ("jumprelu", JumpReLUSAE(JumpReLUSAEConfig(**extra, apply_b_dec_to_input=False)), "save_model"),
             ("topk", TopKSAE(TopKSAEConfig(**extra, k=K, rescale_acts_by_decoder_norm=False)), "save_model"),
             ("topk-norm", TopKSAE(TopKSAEConfig(**extra, k=K, rescale_acts_by_decoder_norm=True)), "save_model"),
             ("standard-train", StandardTrainingSAE(StandardTrainingSAEConfig(**extra)), "save_inference_model"),
             ("jumprelu-train", JumpReLUTrainingSAE(JumpReLUTrainingSAEConfig(**extra)), "save_inference_model"),
             ("batchtopk-train", BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(
                 **extra, k=K, rescale_acts_by_decoder_norm=False)), "save_inference_model"),
             ("batchtopk-norm-train", BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(
                 **extra, k=K, rescale_acts_by_decoder_norm=True)), "save_inference_model")]
    for i, (name, sae, save) in enumerate(cases):
        p, out = parameters(40 + i), os.path.join(folder, "lens-" + name)
        set_sae(sae, p)
        with torch.no_grad():
            if hasattr(sae, "threshold") and name == "jumprelu":
                sae.threshold.copy_(0.3 + torch.rand(F))
            if hasattr(sae, "log_threshold"):
                sae.log_threshold.copy_(torch.log(0.3 + torch.rand(F)))
            if hasattr(sae, "topk_threshold"):
                sae.topk_threshold.fill_(2.5)
        getattr(sae, save)(out)
        again, ours_path = SAE.load_from_disk(out), out + ".safetensors"
        run("import", out, "--layer=4", "--out=" + ours_path)
        f = again.encode(x)
        factor = p["W_dec"].norm(dim=1) if name == "topk-norm" else None
        q = {k: getattr(again, k).detach() for k in p}
        compare(f"import {type(sae).__name__} of saelens ({name})", x, q, (f, again.decode(f)), ours(ours_path, x),
                factor)


def imports_learning(folder):
    x = activations()
    cases = [dl.AutoEncoder(D, F), dl.dictionary.AutoEncoderNew(D, F), AutoEncoderTopK(D, F, K), BatchTopKSAE(D, F, K),
             dl.JumpReluAutoEncoder(D, F)]
    for i, sae in enumerate(cases):
        p, name = parameters(60 + i), type(sae).__name__
        bias = {"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias"}.get(name, "b_dec")
        state = {"encoder.weight": p["W_enc"].T, "encoder.bias": p["b_enc"], "decoder.weight": p["W_dec"].T,
                 bias: p["b_dec"]}
        if name in ("AutoEncoderTopK", "BatchTopKSAE"):
            state |= {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(2.5)}
        if name == "JumpReluAutoEncoder":
            state = p | {"threshold": 0.3 + torch.rand(F)}
        sae.load_state_dict(state)
        out = os.path.join(folder, "learning-" + name)
        os.makedirs(out)
        # as its train loop ends
        torch.save({k: v.cpu() for k, v in sae.state_dict().items()}, os.path.join(out, "ae.pt"))
        config = {"trainer": {"dict_class": name, "activation_dim": D, "dict_size": F, "layer": 4}, "buffer": None}
        if "k" in state:
            config["trainer"]["k"] = K
        json.dump(config, open(os.path.join(out, "config.json"), "w"))
        loaded, path = load_dictionary(out, "cpu")[0], out + ".safetensors"
        run("import", out, "--out=" + path)
        f = loaded.encode(x)
        # its loader of AutoEncoder makes the rows of the decoder unit vectors
        factor = p["W_dec"].norm(dim=1) if name == "AutoEncoder" else None
        compare(f"import {name} of dictionary-learning", x, p, (f, loaded.decode(f)), ours(path, x), factor)


def main():
    for package in ("sae-lens", "dictionary-learning", "torch", "safetensors"):
        print(package, importlib.metadata.version(package))
    with tempfile.TemporaryDirectory() as folder:
        exports(folder)
        imports_saelens(folder)
        imports_learning(folder)
    print("all agree")


main()
