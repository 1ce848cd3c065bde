#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden/batchtopk.f64: a batchtopk crosscoder with its auxiliary term by torch autograd in float64.

Little-endian float64: n, d, D, B, T, k, m (auxiliary latents of a sample), number of dead latents, the dead ones;
W_enc, b_enc, W_dec, b_dec; batches x [T,B,n,d]; for batch 0: loss, reconstruction, auxiliary, L0, gradient norm, the four
gradients; then the gradient norm of each of T steps of Adam (learning rate 0.01, clipping to norm 1), the four tensors
after them. The loss is reconstruction + auxiliary / 32; the residual x - xhat is a constant in the auxiliary term.
Made with torch 2.5.1.
"""
import os

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
HERE = os.path.dirname(os.path.abspath(__file__))
n, d, D, B, T, k, m = 3, 8, 40, 12, 20, 4, 3
dead = list(range(5, 40, 3))


def loss_of(parameters, x):
    w_enc, b_enc, w_dec, b_dec = parameters
    f_all = torch.relu(torch.einsum("bnd,ndh->bh", x, w_enc) + b_enc)
    score = (f_all * w_dec.norm(dim=-1).sum(-1)).detach().flatten()
    keep = torch.zeros_like(score).scatter(0, score.topk(k * B).indices, 1.0).reshape(f_all.shape)
    f = f_all * keep
    xhat = torch.einsum("bh,hnd->bnd", f, w_dec) + b_dec
    reconstruction = (x - xhat).pow(2).sum((1, 2)).mean()
    e = (x - xhat).detach()
    only = torch.full_like(f_all, -1.0)
    only[:, dead] = f_all[:, dead]
    top = only.detach().topk(m, dim=-1).indices
    f_dead = f_all * torch.zeros_like(f_all).scatter(-1, top, 1.0)
    ehat = torch.einsum("bh,hnd->bnd", f_dead, w_dec)
    variance = (e - e.mean(0)).pow(2).sum((1, 2)).mean()
    auxiliary = (e - ehat).pow(2).sum((1, 2)).mean() / variance
    return reconstruction, auxiliary, (f > 0).double().sum(-1).mean()


rng = np.random.default_rng(4)
w_dec = rng.standard_normal((D, n, d)) * 0.4
start = [w_dec.transpose(1, 2, 0) + 0.1 * rng.standard_normal((n, d, D)), rng.standard_normal(D) * 0.3, w_dec,
         rng.standard_normal((n, d)) * 0.2]
x = rng.standard_normal((T, B, n, d))
out = [np.array([n, d, D, B, T, k, m, len(dead), *dead], dtype=np.float64), *start, x]
parameters = [torch.nn.Parameter(torch.tensor(np.ascontiguousarray(t))) for t in start]
batches = torch.tensor(x)
reconstruction, auxiliary, l0 = loss_of(parameters, batches[0])
loss = reconstruction + auxiliary / 32
gradients = torch.autograd.grad(loss, parameters)
norm = torch.sqrt(sum(g.pow(2).sum() for g in gradients))
out.append(np.array([v.item() for v in (loss, reconstruction, auxiliary, l0, norm)]))
out += [g.numpy() for g in gradients]
adam = torch.optim.Adam(parameters, lr=0.01, betas=(0.9, 0.999), eps=1e-8)
norms = []
for t in range(T):
    adam.zero_grad()
    reconstruction, auxiliary, _ = loss_of(parameters, batches[t])
    (reconstruction + auxiliary / 32).backward()
    norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.0).item())
    adam.step()
out += [np.array(norms), *(p.detach().numpy() for p in parameters)]
flat = np.concatenate([np.ascontiguousarray(a, dtype="<f8").ravel() for a in out])
flat.astype("<f8").tofile(os.path.join(HERE, "golden", "batchtopk.f64"))
print(flat.nbytes, "bytes; L0", l0.item(), "auxiliary", auxiliary.item())
