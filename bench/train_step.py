#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One training step here and in dense PyTorch (fp32), side by side: same shapes, same threads, same process conditions.

    make bench/train_step && OMP_NUM_THREADS=2 PYTHON bench/train_step.py [PROGRAM]

PYTHON is one that has torch; SHAPES=example,paper runs these shapes alone. Rounds alternate between the two and the
fastest step of each counts, so that other work on the machine disturbs both alike; on a busy machine the ratio of
processor times says more. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are removed for these commands alone.
"""
import os
import subprocess
import sys
import time

# n checkpoints, width, latents, batch, wanted L0 (0: as after initialisation, about half of all), steps, rounds
SHAPES = [
    ("example", 3, 96, 1024, 1024, 32, 20, 3),
    ("example-dense", 3, 96, 1024, 1024, 0, 20, 3),
    ("half", 3, 512, 8192, 2048, 64, 5, 2),
    ("half-dense", 3, 512, 8192, 2048, 0, 5, 2),
    ("paper", 3, 2048, 16384, 4096, 64, 1, 1),
    ("paper-dense", 3, 2048, 16384, 4096, 0, 1, 1),
]


def torch_step(n, d, n_latents, batch, steps, threads):
    """The dense L1 step: forward, loss with decoder norms, backward, clipping, Adam."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    w_dec = torch.randn(n_latents, n, d)
    w_dec *= 0.08 / w_dec.norm(dim=-1, keepdim=True)
    parameters = [torch.nn.Parameter(t) for t in (w_dec.permute(1, 2, 0).contiguous(), torch.zeros(n_latents), w_dec,
                                                  torch.zeros(n, d))]
    w_enc, b_enc, w_dec, b_dec = parameters
    adam = torch.optim.Adam(parameters, lr=5e-5, betas=(0.9, 0.999), eps=1e-8)
    x = torch.randn(batch, n, d)
    best = cpu = float("inf")
    for step in range(steps + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
        f = torch.relu(torch.einsum("bnd,ndh->bh", x, w_enc) + b_enc)
        error = (torch.einsum("bh,hnd->bnd", f, w_dec) + b_dec - x).pow(2).sum((1, 2)).mean()
        sparsity = (f * w_dec.norm(dim=-1).sum(-1)).sum(-1).mean()
        (error + 2.0 * sparsity).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        adam.zero_grad()
        if step > 0:
            best = min(best, time.perf_counter() - start)
            cpu = min(cpu, time.process_time() - cpu_start)
    print(f"total {best:.6f}\ncpu {cpu:.6f}")


def run(command, environment):
    lines = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
    values = dict(line.split() for line in lines if len(line.split()) == 2)
    return {name: float(value) for name, value in values.items()}, lines[0]


def main():
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    program = sys.argv[1] if len(sys.argv) > 1 else "bench/train_step"
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    environment["OMP_NUM_THREADS"] = str(threads)
    wanted = os.environ.get("SHAPES", "").split(",")
    print(f"{threads} threads; load average {os.getloadavg()[0]:.2f}")
    for name, n, d, n_latents, batch, l0, steps, rounds in SHAPES:
        if wanted != [""] and name not in wanted:
            continue
        shape = [str(v) for v in (n, d, n_latents, batch)]
        ours, theirs, theirs_cpu, alone, about = {}, float("inf"), float("inf"), float("inf"), ""
        for _ in range(rounds):
            times, about = run([program, *shape, str(l0), str(steps), str(threads)], environment)
            ours = {k: min(v, ours.get(k, v)) for k, v in times.items()}
            alone = min(alone, run([program, *shape, str(l0), str(steps), "1"], environment)[0]["total"])
            command = [sys.executable, __file__, "--torch", *shape, str(steps), str(threads)]
            times = run(command, environment)[0]
            theirs, theirs_cpu = min(theirs, times["total"]), min(theirs_cpu, times["cpu"])
        print(f"{name}: n={n} d={d} D={n_latents} B={batch}; {about}")
        print("  " + ", ".join(f"{k} {v * 1e3:.1f} ms" for k, v in ours.items()))
        print(f"  torch {theirs * 1e3:.1f} ms: {theirs / ours['total']:.2f} times as fast; "
              f"{batch / ours['total']:.0f} against {batch / theirs:.0f} tokens/s; "
              f"{threads} threads {alone / ours['total']:.2f} times as fast as one; processor time "
              f"{theirs_cpu / ours['cpu']:.2f} times less; load {os.getloadavg()[0]:.2f}",
              flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "--torch":
        torch_step(*(int(v) for v in sys.argv[2:]))
    else:
        main()
