#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How well each method of attribution predicts exact patching, on the bundled example: bench/attribution_methods.py
PROGRAM RUN [PAIRS] [TASK...]. RUN is the run of examples/tiny-pythia/plan.yaml. Exact patching sets one feature to 0 at
every position and runs the blocks above again (`ablate --feature=all`). Prints the correlation (Pearson and Spearman,
over all features active in the task, mean over tasks) of mean effects with exact ones, the completeness gap and the
processor seconds, as a table of doc/mathematics.md."""
import csv
import glob
import json
import os
import resource
import subprocess
import sys
import tempfile

METHODS = [("gradient", 1), ("left", 10), ("left", 100), ("midpoint", 10), ("trapezoid", 10), ("legendre", 10), ("gauss", 5),
           ("gauss", 10), ("gauss", 20)]


def correlate(x, y):
    mx, my = sum(x) / len(x), sum(y) / len(y)
    xy = sum((a - mx) * (b - my) for a, b in zip(x, y))
    return xy / (sum((a - mx) ** 2 for a in x) * sum((b - my) ** 2 for b in y)) ** 0.5


def rank(x):
    order, out, i = sorted(range(len(x)), key=lambda k: x[k]), [0.0] * len(x), 0
    while i < len(x):
        j = i
        while j < len(x) and x[order[j]] == x[order[i]]:
            j += 1
        for k in order[i:j]:
            out[k] = (i + j - 1) / 2
        i = j
    return out


def run(program, command, run_directory, out, pairs, *options):
    tasks = ",".join("pairs:" + os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", "tiny-pythia",
                                             "pairs", t + ".jsonl") for t in TASKS)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, command, run_directory, "--out=" + out, "--max-pairs=%d" % pairs, "--task=" + tasks, "--quiet",
                    *options], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(program, run_directory, pairs):
    with tempfile.TemporaryDirectory() as out:
        base = run(program, "attribute", run_directory, out, 2, "--bootstrap=0", "--quadrature=gradient")
        seconds = run(program, "ablate", run_directory, out, pairs, "--feature=all")
        exact = {}
        for path in glob.glob(os.path.join(out, "ablation", "pairs-*.csv")):
            task = os.path.basename(path)[6:-4]
            with open(path) as file:
                for row in csv.DictReader(file):
                    if task in TASKS and "change" in row:
                        exact[task, row["checkpoint"], row["feature"]] = -float(row["change"])
        labels = list(dict.fromkeys(key[1] for key in exact))
        print("| method | nodes | " + " | ".join("%s: Pearson, Spearman, gap" % label for label in labels) + " | seconds |")
        print("|" + " --- |" * (3 + len(labels)))
        for rule, steps in METHODS:
            time = run(program, "attribute", run_directory, out, pairs, "--bootstrap=0", "--quadrature=" + rule,
                       "--steps=%d" % steps) - base
            cells = []
            for c, label in enumerate(labels):
                pearson, spearman, gap = [], [], []
                for task in TASKS:
                    name = os.path.join(out, "effects", "pairs-" + task)
                    with open(name + ".csv") as file:
                        both = [(float(r["ie_" + label]), exact[task, label, r["feature"]]) for r in csv.DictReader(file)]
                    x, y = zip(*both)
                    pearson.append(correlate(x, y))
                    spearman.append(correlate(rank(x), rank(y)))
                    with open(name + ".json") as file:
                        gap.append(json.load(file)["checkpoints"][c]["gap_examples_share"])
                mean = lambda v: sum(v) / len(v)
                cells.append("%.3f, %.3f, %.2f %%" % (mean(pearson), mean(spearman), 100 * mean(gap)))
            print("| `%s` | %d | %s | %.1f |" % (rule, steps, " | ".join(cells), time), flush=True)
        print("| exact patching | | " + " | ".join("1, 1, -" for _ in labels) + " | %.1f |" % (seconds - base))


TASKS = sys.argv[4:] or ["en_simple", "en_pp", "en_rc", "fr_rc"]
main(os.path.abspath(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 100)
