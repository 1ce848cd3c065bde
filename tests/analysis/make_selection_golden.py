# SPDX-License-Identifier: Apache-2.0
"""Golden values of similarity and select, beside this file in golden/:

- similarity.csv: mean and deviation over tokens of cosine and Pearson correlation of the three tiny models' activations,
  by numpy in float64 from transformers' activations rounded to bf16, as the tool keeps them;
- select-accuracy.csv, select-similarity.csv: random tables of nine revisions; select.csv: every way to cut them into
  three blocks tried, the best first, with the most typical revision of each block (doc/selecting.md).

Versions used: torch 2.5.1, transformers 4.46.3, numpy.
"""
import csv
import itertools
import os

import numpy as np
import torch
from transformers import GPTNeoXForCausalLM

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
LABELS, LAYER = ["early", "middle", "late"], 0


def activations(label, ids, first):
    model = GPTNeoXForCausalLM.from_pretrained(os.path.join(OUT, label), torch_dtype=torch.float64)
    with torch.no_grad():
        hidden = model(torch.tensor(ids.astype(np.int64)), output_hidden_states=True).hidden_states[LAYER + 1]
    return hidden[:, first:].reshape(-1, hidden.shape[-1]).to(torch.bfloat16).to(torch.float64).numpy()


def similarity():
    ids = np.load(os.path.join(OUT, "heldout.npy"))
    with open(os.path.join(OUT, "similarity.csv"), "w", newline="") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(["keep_first", "a", "b", "n", "cosine", "cosine_sd", "pearson", "pearson_sd"])
        for keep_first in (0, 1):
            x = [activations(label, ids, 1 - keep_first) for label in LABELS]
            for a, b in itertools.combinations(range(len(LABELS)), 2):
                row = [keep_first, LABELS[a], LABELS[b], len(x[a])]
                for centre in (0, 1):
                    u, v = (y - centre * y.mean(1, keepdims=True) for y in (x[a], x[b]))
                    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
                    row += [repr(float(cosine.mean())), repr(float(cosine.std(ddof=1)))]
                rows.writerow(row)


def deviance(k, n):
    p = k / n
    return float(-2 * np.sum(np.where(k > 0, k * np.log(np.where(p > 0, p, 1)), 0) +
                             np.where(k < n, (n - k) * np.log(np.where(p < 1, 1 - p, 1)), 0)))


def block_costs(right, n, kernel, first, last):
    s = slice(first, last + 1)
    accuracy = sum(deviance(right[c, s].sum(keepdims=True), n[c, s].sum(keepdims=True)) -
                   deviance(right[c, s], n[c, s]) for c in range(len(right)))
    block = kernel[s, s]
    return np.array([accuracy, np.trace(block) - block.sum() / len(block)])


def typical(right, n, kernel, first, last):
    members = range(first, last + 1)
    share = right / n
    accuracy = np.array([sum((n[:, j] * (share[:, j] - share[:, c]) ** 2).sum() for j in members) for c in members])
    other = np.array([sum(1 - kernel[c, j] for j in members) for c in members])
    distance = 0.5 * accuracy / max(accuracy.max(), 1e-12) + 0.5 * other / max(other.max(), 1e-12)
    return first + int(np.flatnonzero(distance <= distance.min() + 1e-15)[-1])


def select():
    m, blocks, cells = 9, 3, 2
    rng = np.random.default_rng(7)
    n = np.array([[200] * m, [350] * m])
    level = np.array([[.5, .52, .55, .8, .82, .83, .84, .97, .96], [.4, .4, .45, .5, .5, .7, .72, .7, .9]])
    right = rng.binomial(n, level)
    x = np.cumsum(rng.normal(size=(m, 6)) * np.array([1, .3, .2, 2, .2, .3, 1.5, .2, .3])[:, None], axis=0) + 1
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kernel = np.triu(x @ x.T, 1)
    kernel = kernel + kernel.T + np.eye(m)  # the table has each pair once
    with open(os.path.join(OUT, "select-accuracy.csv"), "w") as out:
        out.write("checkpoint,tokens_seen,task,language,group,n,correct\n")
        for c in range(m):
            for k in range(cells):
                out.write(f"r{c},{1000 * (c + 1)},task{k},,all,{n[k, c]},{right[k, c]}\n")
    with open(os.path.join(OUT, "select-similarity.csv"), "w") as out:
        out.write("a,b,tokens_seen_a,tokens_seen_b,layer,n,cosine,cosine_sd,pearson,pearson_sd\n")
        for a, b in itertools.combinations(range(m), 2):
            out.write(f"r{a},r{b},{1000 * (a + 1)},{1000 * (b + 1)},0,10,{kernel[a, b]!r},0,{kernel[a, b]!r},0\n"
                      .replace("np.float64(", "").replace(")", ""))
    whole = block_costs(right, n, kernel, 0, m - 1)
    ways = []
    for cut in itertools.combinations(range(1, m), blocks - 1):
        first = (0,) + cut
        last = cut + (m,)
        left = sum(block_costs(right, n, kernel, a, b - 1) for a, b in zip(first, last)) / whole
        ways.append((float(left.mean()), first, [typical(right, n, kernel, a, b - 1) for a, b in zip(first, last)],
                     1 - left))
    ways.sort(key=lambda way: way[0])
    with open(os.path.join(OUT, "select.csv"), "w") as out:
        out.write("score,accuracy_share,similarity_share,first_1,first_2,chosen_0,chosen_1,chosen_2\n")
        seen = []
        for cost, first, chosen, share in ways:
            if chosen not in seen and len(seen) < 5:
                seen.append(chosen)
                out.write(",".join([repr(1 - cost), repr(float(share[0])), repr(float(share[1]))] +
                                   [str(v) for v in first[1:] + tuple(chosen)]) + "\n")


similarity()
select()
