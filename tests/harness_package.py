#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`crosscoder accuracy --scoring=sentence` against lm-evaluation-harness itself (package lm-eval), task by task: acc,
acc_norm and acc_bytes must be equal to the last item. Usage: tests/harness_package.py BUILD-FOLDER, by a Python that
has lm-eval, transformers and torch; nothing is downloaded.

Models: examples/tiny-pythia at step256 and at step0 (random weights), examples/tiny-olmo at step2048. Tasks: files in
the shapes of BLiMP, CLAMS and MultiBLiMP, from the example's own pairs; and where XCODER_SHARED_DATA names a folder
with blimp/ and clams/, the first sentences of those. HARNESS_LIMIT: sentences of a task, 200. Both sides compute in single precision: two sums of log-probabilities that
differ by less than its rounding may fall either way, so pairs whose two sums agree to 1e-5 of their size are counted,
and that many may differ. An exact tie is right for both.
"""
import csv
import io
import json
import os
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
import logging  # noqa: E402

import torch  # noqa: E402
from lm_eval import simple_evaluate  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

torch.set_num_threads(2)
logging.disable(logging.WARNING)
SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(os.path.abspath(sys.argv[1]), "crosscoder")
MODELS = {name: os.path.join(SOURCE, path) for name, path in (
    ("tiny-pythia", "examples/tiny-pythia/step256"), ("tiny-olmo", "examples/tiny-olmo/step2048"),
    ("untrained", "examples/tiny-pythia/step0"))}
MEASURES = {"none": "acc", "characters": "acc_norm", "bytes": "acc_bytes"}
LIMIT = int(os.environ.get("HARNESS_LIMIT", "200"))
YAML = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: ""
doc_to_target: 0
doc_to_choice: "{{{{[good, bad]}}}}"
target_delimiter: "{delimiter}"
metric_list:
  - {{metric: acc}}
  - {{metric: acc_norm}}
  - {{metric: acc_bytes}}
"""


def own_pairs(name):
    with open(os.path.join(SOURCE, "examples/tiny-pythia/pairs", name + ".jsonl"), encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(r["prefix"] + r["good"], r["prefix"] + r["bad"]) for r in rows][:LIMIT]


def write_blimp(folder, name, pairs):
    path = os.path.join(folder, name + ".jsonl")
    with open(path, "w", encoding="utf-8") as out:
        for i, (good, bad) in enumerate(pairs):
            out.write(json.dumps({"sentence_good": good, "sentence_bad": bad, "field": "morphology",
                                  "linguistics_term": "subject_verb_agreement", "UID": name,
                                  "simple_LM_method": True, "one_prefix_method": False, "two_prefix_method": False,
                                  "lexically_identical": False, "pairID": str(i)}) + "\n")
    return "blimp:" + path, " ", pairs


def write_clams(folder, language, name, pairs):
    """The program capitalises as the paper's code does, str.capitalize()."""
    path = os.path.join(folder, language + "_evalset", name + ".txt")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        out.write("\n".join(f"True\t{good}\nFalse\t{bad}" for good, bad in pairs))
    return "clams:" + path, " ", [(g.capitalize(), b.capitalize()) for g, b in pairs]


def write_multiblimp(folder, language, pairs):
    path = os.path.join(folder, language, "data.tsv")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    text = io.StringIO()
    rows = csv.writer(text, delimiter="\t", lineterminator="\n")
    rows.writerow(["sen", "wrong_sen", "phenomenon", "verb"])
    rows.writerows([good, bad, "SV-#", "x"] for good, bad in pairs)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text.getvalue())
    return "multiblimp:" + path, "", pairs


def read_shared(folder):
    tasks, data = {}, os.environ.get("XCODER_SHARED_DATA")
    if not data:
        return tasks
    name = "distractor_agreement_relational_noun"
    with open(os.path.join(data, "blimp", name + ".jsonl"), encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    tasks["blimp_shared"] = write_blimp(folder, name, [(r["sentence_good"], r["sentence_bad"]) for r in rows][:LIMIT])
    for language in "en", "fr":
        with open(os.path.join(data, "clams", language, "prep_anim.txt"), encoding="utf-8") as text:
            lines = [line.split("\t")[1] for line in text.read().splitlines()][:2 * LIMIT]
        tasks["clams_shared_" + language] = write_clams(folder, language, "prep_anim", list(zip(lines[::2], lines[1::2])))
    return tasks


def ours(model, task, normalize):
    out = subprocess.run([PROGRAM, "accuracy", "--checkpoints=a=" + model, "--task=" + task, "--scoring=sentence",
                          "--normalize=" + normalize, "--quiet"], check=True, capture_output=True, text=True).stdout
    row = [r for r in csv.DictReader(io.StringIO(out)) if r["group"] == "all"][0]
    return int(row["n"]), int(row["correct"])


def harness(folder, model, tasks):
    for name, (_, delimiter, pairs) in tasks.items():
        path = os.path.join(folder, name + "-items.jsonl")
        with open(path, "w", encoding="utf-8") as out:
            out.writelines(json.dumps({"good": good, "bad": bad}) + "\n" for good, bad in pairs)
        with open(os.path.join(folder, name + ".yaml"), "w", encoding="utf-8") as out:
            out.write(YAML.format(name=name, path=path, delimiter=delimiter))
    manager = TaskManager(include_path=folder, include_defaults=False)
    return simple_evaluate(model="hf", model_args=f"pretrained={model},dtype=float32", tasks=list(tasks), device="cpu",
                           batch_size=8, task_manager=manager, log_samples=True, bootstrap_iters=0)


def close(samples, measure, pairs):
    """Pairs that single precision cannot tell apart."""
    n = 0
    for sample in samples:
        sums = [float(r[0]) for r in sample["filtered_resps"]]
        scale = [1 if measure == "acc" else len(s) if measure == "acc_norm" else len(s.encode())
                 for s in pairs[sample["doc_id"]]]
        a, b = sums[0] / scale[0], sums[1] / scale[1]
        n += a != b and abs(a - b) < 1e-5 * max(abs(a), abs(b))
    return n


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        tasks = {"blimp_" + name: write_blimp(folder, name, own_pairs(name)) for name in ("en_simple", "fr_pp")}
        tasks["clams_en"] = write_clams(folder, "en", "simple_agrmt", own_pairs("en_pp"))
        tasks["multiblimp_fra"] = write_multiblimp(folder, "fra", own_pairs("fr_rc"))
        quoted = [(f'"{good}", she said', f'"{bad}", she said') for good, bad in own_pairs("en_rc")]
        tasks["multiblimp_eng"] = write_multiblimp(folder, "eng", quoted)
        tasks.update(read_shared(folder))
        for name, model in MODELS.items():
            if not os.path.isdir(model):
                sys.exit(f"{model}: no such folder")
            found = harness(folder, model, tasks)
            for task, (spec, _, pairs) in tasks.items():
                for normalize, measure in MEASURES.items():
                    n, correct = ours(model, spec, normalize)
                    theirs = found["results"][task][measure + ",none"] * len(pairs)
                    allowed = close(found["samples"][task], measure, pairs)
                    bad = n != len(pairs) or abs(correct - theirs) > allowed + 1e-6
                    failures += bad
                    print(f"{name:12} {task:18} {measure:9} ours {correct:4} of {n:4}   harness {theirs:7.3f} of "
                          f"{len(pairs):4}   too close to tell {allowed}{'   DIFFERENT' if bad else ''}")
    return failures != 0


sys.exit(main())
