#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden/jumprelu_1.f64 and jumprelu_3.f64: jumprelu with trained thresholds by torch autograd in float64.

The two functions below are the straight-through estimators of Rajamanoharan et al., arXiv 2407.14435, section 3 and
equations 11 and 12, with the rectangle kernel; the bandwidth of latent i is BANDWIDTH over the sum of its decoder
norms, which counts as a constant.

Little-endian float64: n, d, D, B, T, BANDWIDTH, weight of L0; W_enc, b_enc, W_dec, b_dec, log theta [D]; batches x
[T,B,n,d]; for batch 0: loss, reconstruction, L0, gradient norm, the four gradients, that of log theta; then the
gradient norm of each of T steps of Adam (learning rate 0.01, clipping to norm 1), and the five tensors after them.
Made with torch 2.5.1.
"""
import os

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
HERE = os.path.dirname(os.path.abspath(__file__))
BANDWIDTH, L0 = 0.75, 0.5


def kernel(z, theta, bandwidth):
    return ((z - theta).abs() < bandwidth / 2).to(z.dtype)


class JumpReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, theta, bandwidth):
        ctx.save_for_backward(z, theta, bandwidth)
        return z * (z > theta)

    @staticmethod
    def backward(ctx, g):
        z, theta, bandwidth = ctx.saved_tensors
        return g * (z > theta), (-(theta / bandwidth) * kernel(z, theta, bandwidth) * g).sum(0), None


class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, theta, bandwidth):
        ctx.save_for_backward(z, theta, bandwidth)
        return (z > theta).to(z.dtype)

    @staticmethod
    def backward(ctx, g):
        z, theta, bandwidth = ctx.saved_tensors
        return torch.zeros_like(z), (-kernel(z, theta, bandwidth) / bandwidth * g).sum(0), None


def loss_of(parameters, x):
    w_enc, b_enc, w_dec, b_dec, log_theta = parameters
    bandwidth = BANDWIDTH / w_dec.detach().norm(dim=-1).sum(-1)
    z = torch.relu(torch.einsum("bnd,ndh->bh", x, w_enc) + b_enc)
    theta = log_theta.exp()
    assert (theta > bandwidth / 2).all()  # so that no z of 0 lies in a window
    f = JumpReLU.apply(z, theta, bandwidth)
    xhat = torch.einsum("bh,hnd->bnd", f, w_dec) + b_dec
    reconstruction = (x - xhat).pow(2).sum((1, 2)).mean()
    return reconstruction, Step.apply(z, theta, bandwidth).sum(-1).mean()


def make(name, n, d, D, B, T, seed):
    rng = np.random.default_rng(seed)
    w_dec = rng.standard_normal((D, n, d)) * 0.4
    norms = np.linalg.norm(w_dec, axis=-1).sum(-1)
    start = [w_dec.transpose(1, 2, 0) + 0.1 * rng.standard_normal((n, d, D)), rng.standard_normal(D) * 0.3, w_dec,
             rng.standard_normal((n, d)) * 0.2, np.log(BANDWIDTH / norms * (0.7 + rng.random(D)))]
    x = rng.standard_normal((T, B, n, d))
    out = [np.array([n, d, D, B, T, BANDWIDTH, L0]), *start, x]
    parameters = [torch.nn.Parameter(torch.tensor(np.ascontiguousarray(t))) for t in start]
    batches = torch.tensor(x)
    reconstruction, l0 = loss_of(parameters, batches[0])
    gradients = torch.autograd.grad(reconstruction + L0 * l0, parameters)
    norm = torch.sqrt(sum(g.pow(2).sum() for g in gradients))
    out.append(np.array([(reconstruction + L0 * l0).item(), reconstruction.item(), l0.item(), norm.item()]))
    out += [g.numpy() for g in gradients]
    print(name, "L0", l0.item(), "thresholds with a gradient", int((gradients[4] != 0).sum()), "of", D)
    adam = torch.optim.Adam(parameters, lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    norms = []
    for t in range(T):
        adam.zero_grad()
        reconstruction, l0 = loss_of(parameters, batches[t])
        (reconstruction + L0 * l0).backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.0).item())
        adam.step()
    out += [np.array(norms), *(p.detach().numpy() for p in parameters)]
    flat = np.concatenate([np.ascontiguousarray(a, dtype="<f8").ravel() for a in out])
    flat.astype("<f8").tofile(os.path.join(HERE, "golden", name))
    print(flat.nbytes, "bytes")


make("jumprelu_1.f64", 1, 9, 21, 40, 12, 5)
make("jumprelu_3.f64", 3, 6, 24, 30, 12, 6)
