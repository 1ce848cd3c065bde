#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden/coder_*.f64: the L1 crosscoder's loss, gradients and 20 Adam steps by torch autograd in float64.

A file holds little-endian float64 numbers: n, d, D, B, T; W_enc [n,d,D], b_enc [D], W_dec [D,n,d], b_dec [n,d]; the
batches x [T,B,n,d]; then for batch 0 and lambda = 2: loss, reconstruction, sparsity, L0, gradient norm, the squared
error of each checkpoint, the four gradients; then the gradient norm of each of the T steps, and the four tensors after them.
Step t uses batch t, lambda = 2 min(1, t / (0.05 T)), learning rate 0.01, clipping to norm 1.
Made with torch 2.5.1.
"""
import os

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
HERE = os.path.dirname(os.path.abspath(__file__))
T = 20


def parts(parameters, x):
    w_enc, b_enc, w_dec, b_dec = parameters
    f = torch.relu(torch.einsum("bnd,ndh->bh", x, w_enc) + b_enc)
    xhat = torch.einsum("bh,hnd->bnd", f, w_dec) + b_dec
    per_checkpoint = (x - xhat).pow(2).sum(2).mean(0)
    sparsity = (f * w_dec.norm(dim=-1).sum(-1)).sum(-1).mean()
    return per_checkpoint, sparsity, f


def make(name, n, d, n_latents, batch, seed):
    rng = np.random.default_rng(seed)
    w_dec = rng.standard_normal((n_latents, n, d)) * 0.4
    w_dec[n_latents // 2, 0] = 0  # the derivative of a norm at 0 is 0
    w_dec[n_latents // 3] = 0
    start = [w_dec.transpose(1, 2, 0) + 0.1 * rng.standard_normal((n, d, n_latents)),
             rng.standard_normal(n_latents) * 0.3, w_dec, rng.standard_normal((n, d)) * 0.2]
    start[1][1] = -50.0  # never active
    x = rng.standard_normal((T, batch, n, d))
    out = [np.array([n, d, n_latents, batch, T], dtype=np.float64), *start, x]

    parameters = [torch.nn.Parameter(torch.tensor(np.ascontiguousarray(t))) for t in start]
    batches = torch.tensor(x)
    per_checkpoint, sparsity, f = parts(parameters, batches[0])
    loss = per_checkpoint.sum() + 2.0 * sparsity
    gradients = torch.autograd.grad(loss, parameters)
    norm = torch.sqrt(sum(g.pow(2).sum() for g in gradients))
    out.append(np.array([loss.item(), per_checkpoint.sum().item(), sparsity.item(),
                         (f > 0).double().sum(-1).mean().item(), norm.item()]))
    out += [per_checkpoint.detach().numpy(), *(g.numpy() for g in gradients)]

    adam = torch.optim.Adam(parameters, lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    norms = []
    for t in range(T):
        adam.zero_grad()
        per_checkpoint, sparsity, _ = parts(parameters, batches[t])
        (per_checkpoint.sum() + 2.0 * min(1.0, t / (0.05 * T)) * sparsity).backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.0).item())
        adam.step()
    out += [np.array(norms), *(p.detach().numpy() for p in parameters)]
    flat = np.concatenate([np.ascontiguousarray(a, dtype="<f8").ravel() for a in out])
    flat.astype("<f8").tofile(os.path.join(HERE, "golden", name))
    print(name, flat.nbytes, "bytes; gradient norms", norms[0], norms[-1])


make("coder_3.f64", 3, 10, 24, 17, 1)
make("coder_1.f64", 1, 7, 33, 5, 2)
make("coder_5.f64", 5, 4, 19, 9, 3)
