#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden values of sentence scoring: the convention of lm-evaluation-harness, restated with torch.

Writes golden/sentences.jsonl (items of the form of BLiMP) and golden/sentences.csv (scores of both sentences of every
item by examples/tiny-pythia/step256, in float32). With --harness it also runs lm-evaluation-harness itself (0.4.9) on
the same items and refuses to write unless its acc and acc_norm are those computed here.

The convention: a choice is " " + sentence, tokenized without special tokens behind one start token (bos, else eos; not
doubled); its score is the sum over its tokens of the log softmax over all rows of the head; acc is the share of items
where the first choice has the largest score (ties: the first), acc_norm divides by the characters of the sentence.

Versions: torch 2.5.1, transformers 4.46.3.
"""
import json
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

here = Path(__file__).resolve().parent
example = here.parent.parent / "examples" / "tiny-pythia"
model_path = example / "step256"


def items():
    out = []
    for name in ("en_simple", "en_pp", "fr_rc", "nul_simple"):
        for k, line in enumerate((example / "pairs" / f"{name}.jsonl").read_text().splitlines()[:12]):
            row = json.loads(line)
            good, bad = row["prefix"] + row["good"], row["prefix"] + row["bad"]
            if k % 3 == 1:  # unequal lengths, so that what scores are divided by matters
                bad += " near the old garden"
            if k % 3 == 2:  # characters of several bytes
                good += " \u00e9\u00e8 \u2014 \u6f22"
            out.append({"sentence_good": good + ".", "sentence_bad": bad + ".", "UID": name, "pairID": str(k)})
    same = out[0]["sentence_good"]
    out.append({"sentence_good": same, "sentence_bad": same, "UID": "tie", "pairID": "0"})
    out.append({"sentence_good": "<|endoftext|>The cat sings.", "sentence_bad": "The cat sing.", "UID": "start",
                "pairID": "0"})
    return out


@torch.no_grad()
def score(model, tokenizer, text):
    prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if ids[0] != prefix:
        ids = [prefix] + ids
    logits = model(torch.tensor([ids])).logits[0, :-1]
    return torch.log_softmax(logits.double(), -1).gather(1, torch.tensor(ids[1:])[:, None]).sum().item()


def run_harness(path, rows):
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    config = {"task": "sentences", "dataset_path": "json",
              "dataset_kwargs": {"data_files": {"train": str(path)}},
              "output_type": "multiple_choice", "validation_split": "train", "doc_to_text": "", "doc_to_target": 0,
              "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
              "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}
    lm = HFLM(pretrained=str(model_path), dtype="float32", batch_size=4, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sentences.yaml").write_text(json.dumps(config))  # JSON is YAML
        found = lm_eval.simple_evaluate(lm, tasks=["sentences"], log_samples=True,
                                        task_manager=lm_eval.tasks.TaskManager(include_path=folder))
    samples = sorted(found["samples"]["sentences"], key=lambda s: s["doc_id"])
    worst = max(abs(float(s["filtered_resps"][k][0]) - rows[i][k]) for i, s in enumerate(samples) for k in (0, 1))
    return found["results"]["sentences"], worst


def main():
    model = AutoModelForCausalLM.from_pretrained(model_path, torch_dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    docs = items()
    path = here / "golden" / "sentences.jsonl"
    path.write_text("".join(json.dumps(d) + "\n" for d in docs))
    rows = [[score(model, tokenizer, " " + d[k]) for k in ("sentence_good", "sentence_bad")] for d in docs]
    acc = sum(g >= b for g, b in rows) / len(rows)
    norm = sum(g / len(d["sentence_good"]) >= b / len(d["sentence_bad"]) for (g, b), d in zip(rows, docs)) / len(rows)
    print(f"{len(docs)} items, acc {acc:.6f}, acc_norm {norm:.6f}")
    if "--harness" in sys.argv:
        found, worst = run_harness(path, rows)
        print(f"lm-evaluation-harness: acc {found['acc,none']:.6f}, acc_norm {found['acc_norm,none']:.6f}, "
              f"largest difference of a score {worst:.2e}")
        assert abs(found["acc,none"] - acc) < 1e-12 and abs(found["acc_norm,none"] - norm) < 1e-12 and worst < 1e-3
    with open(here / "golden" / "sentences.csv", "w") as out:
        out.write("good,bad,good_characters,bad_characters,good_bytes,bad_bytes\n")
        for (g, b), d in zip(rows, docs):
            texts = [d["sentence_good"], d["sentence_bad"]]
            out.write(f"{g:.9g},{b:.9g},{len(texts[0])},{len(texts[1])},{len(texts[0].encode())},"
                      f"{len(texts[1].encode())}\n")


if __name__ == "__main__":
    main()
