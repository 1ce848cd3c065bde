#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Forward passes to a layer here and in transformers, side by side: random weights, same shapes, same threads.

    make bench/forward && OMP_NUM_THREADS=2 PYTHON bench/forward.py [PROGRAM]

PYTHON is one that has torch, transformers and safetensors. Models are made in FOLDER (environment; default
/tmp/crosscoder-forward) once; SHAPES=pythia-70m runs that one alone, ROUNDS=5 sets the rounds, SEQUENCES=4 how many
sequences a pass has. Both sides run sequences of 1024 tokens to the same layer, without head; transformers in float32
and in bfloat16 (weights too), with its default (fused) attention. Rounds alternate, and the fastest of each counts, so
that other work on the machine disturbs both alike; on a busy machine the ratio of processor times says more. The error
of bf16 is that of the residual stream against our float32, relative in norm. MEMORY=1 also runs three fp16 models in
one process. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are removed for these commands alone.
"""
import os
import subprocess
import sys
import time

# name, width, layers, heads, feed-forward width, layer
SHAPES = [("pythia-70m", 512, 6, 8, 2048, 3), ("pythia-1b", 2048, 16, 8, 8192, 10)]
LENGTH = 1024


def make_model(folder, width, layers, heads, inner):
    if os.path.exists(os.path.join(folder, "model.safetensors")):
        return
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(vocab_size=50304, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                           intermediate_size=inner, max_position_embeddings=2048, rotary_pct=0.25,
                           torch_dtype=torch.float16)
    torch.set_default_dtype(torch.float16)
    GPTNeoXForCausalLM(config).save_pretrained(folder)


def torch_forward(folder, layer, sequences, rounds, threads, compute):
    import torch
    from transformers import AutoModel

    torch.set_num_threads(threads)
    dtype = torch.float32 if compute == "fp32" else torch.bfloat16
    model = AutoModel.from_pretrained(folder, torch_dtype=dtype).eval()
    model.layers = model.layers[:layer + 1]
    model.final_layer_norm = torch.nn.Identity()
    rows = LENGTH * sequences
    ids = (torch.arange(rows) * 7919 % model.config.vocab_size).view(sequences, LENGTH)
    best = cpu = float("inf")
    with torch.inference_mode():
        model(ids, use_cache=False)
        for _ in range(rounds):
            start, cpu_start = time.perf_counter(), time.process_time()
            model(ids, use_cache=False)
            best = min(best, time.perf_counter() - start)
            cpu = min(cpu, time.process_time() - cpu_start)
    print(f"total {best:.6f}\ncpu {cpu:.6f}\nattention {model.config._attn_implementation}")


def run(command, environment):
    lines = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
    values = {}
    for line in lines:
        words = line.split()
        if len(words) == 2:
            try:
                values[words[0]] = float(words[1])
            except ValueError:
                values[words[0]] = words[1]
    return values, lines[0]


def merge(old, new):
    best = {k: max if k in ("peak", "rate", "share") else min for k in new}
    return {k: v if isinstance(v, str) or k not in old else best[k](v, old[k]) for k, v in new.items()}


def main():
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    rounds, sequences = int(os.environ.get("ROUNDS", "3")), int(os.environ.get("SEQUENCES", "1"))
    program = sys.argv[1] if len(sys.argv) > 1 else "bench/forward"
    root = os.environ.get("FOLDER", "/tmp/crosscoder-forward")
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    environment["OMP_NUM_THREADS"] = str(threads)
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    wanted = os.environ.get("SHAPES", "").split(",")
    print(f"{threads} threads; {sequences} sequences of {LENGTH}; load average {os.getloadavg()[0]:.2f}")
    for name, width, layers, heads, inner, layer in SHAPES:
        if wanted != [""] and name not in wanted:
            continue
        folder = os.path.join(root, name)
        subprocess.run([sys.executable, __file__, "--make", folder, str(width), str(layers), str(heads), str(inner)],
                       check=True, env=environment)
        reference = os.path.join(root, name + ".f32")
        if os.path.exists(reference):
            os.remove(reference)
        steps = "3" if width > 1024 else "10"
        ours, theirs, about = {"fp32": {}, "bf16": {}}, {"fp32": {}, "bf16": {}}, ""
        for _ in range(rounds):
            for compute in ("fp32", "bf16"):
                try:
                    values, about = run([program, str(layer), str(LENGTH), str(sequences), steps, str(threads), compute,
                                         folder, "=" + reference], environment)
                    ours[compute] = merge(ours[compute], values)
                except subprocess.CalledProcessError as failure:
                    print(f"  {compute}: {failure.stderr.strip()}")
                values, _ = run([sys.executable, __file__, "--torch", folder, str(layer), str(sequences), steps,
                                 str(threads), compute], environment)
                theirs[compute] = merge(theirs[compute], values)
        print(f"{name} to layer {layer}: {about}")
        for compute in ("fp32", "bf16"):
            a, b = ours[compute], theirs[compute]
            if not a:
                continue
            print(f"  {compute}: {a['total'] * 1e3:.0f} ms, torch {b['total'] * 1e3:.0f} ms ({b['attention']}): "
                  f"{b['total'] / a['total']:.2f} times as fast, processor time {b['cpu'] / a['cpu']:.2f} times less; "
                  f"{sequences * LENGTH / a['total']:.0f} tokens/s; {a['rate']:.0f} GFLOP/s, {a['share']:.2f} of the "
                  f"{a['peak']:.0f} of an sgemm; error {a.get('error', 0):.2g}; load {os.getloadavg()[0]:.2f}", flush=True)
        if os.environ.get("MEMORY") and name == "pythia-1b":
            values, _ = run([program, str(layer), str(LENGTH), str(sequences), "1", str(threads), "fp32"] +
                            copies(root, folder), environment)
            print(f"  three of them in one process: peak memory {values['memory']:.2f} GiB")


def copies(root, folder):
    """Three folders with files of their own, so that no page is shared."""
    folders = []
    for i in range(3):
        copy = os.path.join(root, f"copy-{i}")
        if not os.path.exists(copy):
            subprocess.run(["cp", "-r", folder, copy], check=True)
        folders.append(copy)
    return folders


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "--torch":
        torch_forward(sys.argv[2], *(int(v) for v in sys.argv[3:7]), sys.argv[7])
    elif len(sys.argv) > 2 and sys.argv[1] == "--make":
        make_model(sys.argv[2], *(int(v) for v in sys.argv[3:]))
    else:
        main()
