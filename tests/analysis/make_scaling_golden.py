# SPDX-License-Identifier: Apache-2.0
"""Latent scaling of the golden crosscoder on its golden prompts, by numpy's general least squares in float64.

Reads golden/golden.safetensors and golden/pairs.jsonl beside this file, writes golden/scaling.csv. One regression for every
feature, checkpoint and direction: the design matrix is f_t d, stacked over positions, the right side is what is explained.
Versions used: numpy 1.26, safetensors.
"""
import json
import os

import numpy as np
from safetensors.numpy import load_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
golden = {k: v.astype(np.float64) for k, v in load_file(os.path.join(HERE, "golden.safetensors")).items()}
W_enc, b_enc, W_dec, b_dec, s = (golden[k] for k in ("W_enc", "b_enc", "W_dec", "b_dec", "scales"))
lengths = [1 + len(json.loads(line)["prefix"]) for line in open(os.path.join(HERE, "pairs.jsonl"))]
first = np.cumsum([0] + lengths[:-1])
kept = np.ones(sum(lengths), bool)
kept[first] = False  # the mask
x = golden["hidden.prompts"][kept] * s[None, :, None]
f = np.maximum(0, np.einsum("tnd,ndk->tk", x, W_enc) + b_enc)
xhat = np.einsum("tk,knd->tnd", f, W_dec) + b_dec
n = len(s)


def solve(i, direction, target):
    return np.linalg.lstsq((f[:, i, None] * direction).reshape(-1, 1), target.reshape(-1), rcond=None)[0][0]


with open(os.path.join(HERE, "scaling.csv"), "w") as out:
    out.write("feature,b,a,fired,rel_dec,beta_error,nu_error,beta_reconstruction,nu_reconstruction\n")
    for i in range(f.shape[1]):
        if not (f[:, i] > 0).any():
            continue
        without = xhat - f[:, i, None, None] * W_dec[None, i]
        norms = np.linalg.norm(W_dec[i], axis=1)
        for b in range(n):
            error = [solve(i, W_dec[i, b], (x - without)[:, a]) for a in range(n)]
            whole = [solve(i, W_dec[i, b], xhat[:, a]) for a in range(n)]
            for a in range(n):
                if a == b:
                    continue
                nu = [v[a] / v[b] if v[b] > 0 else float("nan") for v in (error, whole)]
                numbers = (norms[a] / (norms[a] + norms[b]), error[a], nu[0], whole[a], nu[1])
                out.write("%d,%d,%d,%d," % (i, b, a, (f[:, i] > 0).sum()) +
                          ",".join("" if np.isnan(v) else "%.9g" % v for v in numbers) + "\n")
