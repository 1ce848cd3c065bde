#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden values of CLAMS and MultiBLiMP: both data sets' forms, scored by examples/tiny-pythia/step256 with torch.

Writes golden/fr_evalset/agreement.txt, golden/fra/data.tsv (items of the example's languages in the forms of the data
sets) and golden/tasks.csv with a row for every item and scoring:
  sentence       log-probabilities of both sentences behind one start token (lm-evaluation-harness: CLAMS " " +
                 sentence, MultiBLiMP the sentence itself), sums over all their tokens
  next token     sentences cut at the first word that differs and tokenized whole; behind the end-of-text token and what
                 they share, log-probabilities of the first tokens that differ, of words of at most two tokens
  authors        the authors' rule: prefix and each word (with its blank) tokenized by themselves, equal numbers of
                 tokens, at most two; of two the first that differs; nothing before the prompt
Items that a rule leaves out have no row. Versions: torch 2.5.1, transformers 4.46.3.
"""
import csv
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

here = Path(__file__).resolve().parent
example = here.parent.parent / "examples" / "tiny-pythia"
model = AutoModelForCausalLM.from_pretrained(example / "step256", torch_dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(example / "step256")
START = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
END_OF_TEXT = tokenizer.convert_tokens_to_ids("<|endoftext|>")


def encode(text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@torch.no_grad()
def log_probs(ids):
    return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)


def score_sentence(text):
    ids = encode(text)
    ids = ids if ids[0] == START else [START] + ids
    return log_probs(ids)[:-1].gather(1, torch.tensor(ids[1:])[:, None]).sum().item()


def cut(good, bad):
    """Common words, and the first word of each that differs; None if one begins with the other."""
    good, bad = good.split(), bad.split()
    n = 0
    while n < min(len(good), len(bad)) and good[n] == bad[n]:
        n += 1
    return (good[:n], good[n], bad[n]) if n < min(len(good), len(bad)) else None


def by_first_difference(prefix, good, bad):
    a, b = encode(" ".join(prefix + [good])), encode(" ".join(prefix + [bad]))
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    if not 0 < len(a) - n <= 2 or not 0 < len(b) - n <= 2:
        return None
    return [END_OF_TEXT] + a[:n], a[n], b[n]


def by_authors(prefix, good, bad):
    ids, a, b = encode(" ".join(prefix)), encode(" " + good), encode(" " + bad)
    if len(a) != len(b) or len(a) > 2:
        return None
    if len(a) == 2 and a[0] == b[0]:
        ids, a, b = ids + a[:1], a[1:], b[1:]
    return (ids, a[0], b[0]) if ids else None


def items():
    """(good, bad, phenomenon); every fourth continues behind the verb, some differ already in the first word."""
    out = []
    for name in ("fr_simple", "fr_pp", "fr_rc", "en_pp"):
        for k, line in enumerate((example / "pairs" / f"{name}.jsonl").read_text().splitlines()[:9]):
            row = json.loads(line)
            tail = " près du jardin" if k % 4 == 3 else ""
            out.append((row["prefix"] + row["good"] + tail, row["prefix"] + row["bad"] + tail, "SV-#"))
    out += [(g.split(" ", 1)[1], b.split(" ", 1)[1], "SV-G") for g, b, _ in out[:3]]
    out += [("Il " + w, "Ils " + w, "SV-P") for w in ("nage", "aime le jardin")]
    out.append(("Le chat dort", "Le chat", "SV-P"))
    out.append(("Le\u00a0chat \u00ab dort \u00bb", "Le chat \u00ab dorment \u00bb", "SP-G"))
    return out


def write_rows(out, task, rows, capital, delimiter):
    for k, (good, bad, _) in enumerate(rows):
        whole = (good, bad)
        if capital:
            good, bad = good.capitalize(), bad.capitalize()
            whole = (" ".join(good.split()), " ".join(bad.split()))
        out.writerow([task, "sentence", k, "", "", ""] + [f"{score_sentence(delimiter + s):.9g}" for s in whole])
        parts = cut(good, bad)
        for scoring, rule in (("next token", by_first_difference), ("authors", by_authors)):
            found = rule(*parts) if parts else None
            if found:
                ids, right, wrong = found
                p = log_probs(ids)[-1]
                out.writerow([task, scoring, k, len(ids), right, wrong] + [f"{p[t].item():.9g}" for t in (right, wrong)])


def main():
    golden = here / "golden"
    rows = items()
    for name in ("fr_evalset", "fra"):
        (golden / name).mkdir(exist_ok=True)
    lower = [(g.lower(), b.lower(), p) for g, b, p in rows]
    (golden / "fr_evalset" / "agreement.txt").write_text(
        "\n".join(f"True\t{g}\nFalse\t{b}" for g, b, _ in lower), encoding="utf-8")
    quoted = rows + [('"Le chat dort", dit le chien', '"Le chat dorment", dit le chien', "SV-#")]
    with open(golden / "fra" / "data.tsv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")  # quotes what has quotes, as pandas does
        table.writerow(["verb", "phenomenon", "sen", "distance", "wrong_sen"])
        table.writerows([[g.split()[-1], p, g, len(g.split()), b] for g, b, p in quoted])
    with open(golden / "tasks.csv", "w") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["task", "scoring", "item", "n_prefix", "right", "wrong", "log_prob_good", "log_prob_bad"])
        write_rows(out, "clams", lower, True, " ")
        write_rows(out, "multiblimp", quoted, False, "")


if __name__ == "__main__":
    main()
