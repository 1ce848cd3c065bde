#!/usr/bin/env python3
"""Makes the tiny-pythia example: one small pretraining run, laid out as the real ones.

    pip install -r requirements.txt
    python make_example.py            # everything, next to this file

It writes text with grammar.py, trains a byte-level BPE tokenizer and a
GPTNeoXForCausalLM on it, saves checkpoints with save_pretrained, writes
held-out text, minimal pairs and annotated sentences, and scores every
checkpoint from the files it has just written.  The README describes the output.
All seeds are fixed and the versions are checked; on another machine the floating
point sums, and so the last digits of the weights, may still come out otherwise.
"""
import argparse
import csv
import json
import math
import os
import random
import shutil
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
import safetensors
import tokenizers
import transformers
from tokenizers import (Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)
from transformers import (AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM,
                          PreTrainedTokenizerFast)

import grammar
from grammar import GROUPS, LANGS, LANGUAGES

VERSIONS = {torch: "2.5.1", transformers: "4.46.3", tokenizers: "0.20.3",
            safetensors: "0.8.0", np: "2.4.6"}
SEED = 20240607           # of the text, the pairs and the annotated sentences
MODEL_SEED = 7            # of the first weights; of 1..8 the one nearest to chance before training
EOT, PAD = "<|endoftext|>", "<|padding|>"
VOCAB = 1056
MODEL = dict(
    vocab_size=VOCAB, hidden_size=64, num_hidden_layers=4, num_attention_heads=4,
    intermediate_size=128, hidden_act="gelu", rotary_pct=0.25, rotary_emb_base=10000,
    max_position_embeddings=256, initializer_range=0.02, layer_norm_eps=1e-5,
    use_parallel_residual=True, tie_word_embeddings=False, attention_dropout=0.0,
    hidden_dropout=0.0, bos_token_id=0, eos_token_id=0, use_cache=True)
SEQUENCE, BATCH = 128, 16
TOKENS_PER_STEP = SEQUENCE * BATCH
STEPS = [0, 8, 32, 64, 128, 256, 384, 512, 768, 1024, 2048]
SCHEDULE = 4096           # the cosine is that of a run twice as long, stopped half-way
LR, WARMUP, WEIGHT_DECAY, BETAS, CLIP, LR_END = 3e-3, 128, 0.05, (0.9, 0.95), 1.0, 0.1
TRAIN_BYTES, HELDOUT_BYTES = 1_750_000, 150_000
PAIRS_PER_CELL = 600
GOLD_PER_CELL = 120       # per language and construction
LIMIT = 11_000_000        # bytes, all files together


# ---------------------------------------------------------------- text
def documents(seed):
    rng = random.Random(seed)
    while True:
        yield grammar.document(rng)


def train_tokenizer(text="train-%d" % SEED):
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=True)
    source = documents(text)
    tok.train_from_iterator(
        (next(source)[0] for _ in range(20000)),
        trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[EOT, PAD], show_progress=False,
                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    assert tok.get_vocab_size() == VOCAB
    assert tok.token_to_id(EOT) == 0 and tok.token_to_id(PAD) == 1
    for lang in LANGS.values():
        words = [w for n in lang.nouns for w in n[:2]] + [w for v in lang.verbs for w in v]
        words += [w for d in lang.det for w in d] + [w for a in lang.lex["adjectives"] for w in a]
        broken = [w for w in words if len(tok.encode(" " + w).ids) != 1]
        assert not broken, "not one token: %s" % broken
    return tok


def save_tokenizer(tok, directory):
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tok, bos_token=EOT, eos_token=EOT, unk_token=EOT, pad_token=PAD,
        add_prefix_space=False, model_max_length=MODEL["max_position_embeddings"],
        clean_up_tokenization_spaces=False)
    fast.save_pretrained(directory)
    # the same content, written compactly, the merges as strings ("a b") as in Pythia's files
    path = os.path.join(directory, "tokenizer.json")
    with open(path, encoding="utf-8") as f:
        t = json.load(f)
    t["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]]
    with open(path, "w", encoding="utf-8") as f:
        json.dump(t, f, ensure_ascii=False, separators=(",", ":"))
    path = os.path.join(directory, "tokenizer_config.json")
    with open(path, encoding="utf-8") as f:
        t = json.load(f)
    t["tokenizer_class"] = "GPTNeoXTokenizer"
    with open(path, "w", encoding="utf-8") as f:
        json.dump(t, f, indent=2)
        f.write("\n")


def write_corpus(path, source, size, avoid=()):
    seen = set()
    with open(path, "w", encoding="utf-8") as f:
        total = 0
        while total < size:
            text, lang = next(source)
            if text in avoid:
                continue
            seen.add(text)
            line = json.dumps({"text": text, "lang": lang}, ensure_ascii=False) + "\n"
            total += len(line.encode())
            f.write(line)
    return seen


def check_never_together():
    """No held-out noun-verb combination stands in one sentence of the training text
    (the model sees about 110000 documents)."""
    source = documents("train-%d" % SEED)
    noun = {n: {w: i for i, x in enumerate(l.nouns) for w in x[:2]} for n, l in LANGS.items()}
    verb = {n: {w: i for i, x in enumerate(l.verbs) for w in x} for n, l in LANGS.items()}
    for _ in range(150000):
        text, name = next(source)
        for s in text.split("."):
            w = s.replace(",", "").split()
            ns = {noun[name][x] for x in w if x in noun[name]}
            vs = {verb[name][x] for x in w if x in verb[name]}
            assert not any((n, v) in LANGS[name].heldout for n in ns for v in vs), text


# ---------------------------------------------------------------- pairs and gold
def make_pairs(tok, name, group):
    """Minimal pairs of one cell.  In en and fr neither the subject nor the attractor
    was ever in one training sentence with the verb.  The attractor has the other
    number.  After every pair follows its mirror image with a plural subject (and a
    singular attractor), so a model that always prefers one form of a verb is right
    exactly half the time."""
    lang, rng = LANGS[name], random.Random("pairs-%s-%s-%d" % (name, group, SEED))
    kind = {"simple": "intransitive", "irregular": "intransitive", "pp": "pp",
            "rc": "rc_object"}[group]
    out, seen, tries = [], set(), 0
    while len(out) < PAIRS_PER_CELL:
        tries += 1
        verb = rng.randrange(len(lang.verbs))
        # in the control nothing agrees and there is nothing to hold out: all its nouns
        held = (sorted(n for n, v in lang.heldout if v == verb) if lang.agrees
                else list(range(len(lang.nouns))))
        if group in ("simple", "irregular"):
            held = [n for n in held if lang.nouns[n][2] == (group == "irregular")]
        nouns = rng.sample(held, 2 if group in ("pp", "rc") else 1)
        inner = None
        if group == "rc":
            ok = [v for v in lang.tran if v != verb
                  and not any((n, v) in lang.heldout for n in nouns)]
            if not ok:
                continue
            inner = rng.choice(ok)
        before = ""
        if tries > 20 * PAIRS_PER_CELL:     # a small cell: a sentence of other text before it
            before = lang.filler(rng) + " "
        state = rng.getstate()

        def prefix_of(number, attractor):
            rng.setstate(state)             # the same draws every time
            s = lang.clause(rng, kind, number=number, attractor=attractor, verb=verb,
                            inner=inner, nouns=nouns, plain_end=True)
            p = " ".join(s.words[:s.verb])
            return before + p[0].upper() + p[1:], s.words[0]

        both = []
        for number in (0, 1):
            prefix, det = prefix_of(number, 1 - number)
            counter, _ = prefix_of(1 - number, 1 - number)
            good, bad = (" " + lang.verbs[verb][k] for k in (number, 1 - number))
            ids, other = tok.encode(prefix).ids, tok.encode(counter).ids
            if name == "en" and group == "irregular" \
                    and det not in lang.lex["neutral_determiners"]:
                break                       # the noun alone is to tell the number
            if (prefix, good) in seen or len(ids) != len(other):
                break
            for w in (good, bad):
                assert tok.encode(prefix + w).ids[:-1] == ids
            both.append(dict(prefix=prefix, good=good, bad=bad, language=name, group=group,
                             counterfactual=counter))
        if len(both) == 2:
            seen.update((p["prefix"], p["good"]) for p in both)
            out += both
    return out


def make_gold(tok, avoid):
    out, seen = [], set()
    for name in LANGUAGES:
        lang, rng = LANGS[name], random.Random("gold-%s-%d" % (name, SEED))
        held = sorted(lang.heldout)
        for group in GROUPS:
            count = 0
            while count < GOLD_PER_CELL:
                number = count % 2
                kind = {"simple": "intransitive", "irregular": "intransitive", "pp": "pp",
                        "rc": rng.choice(["rc_object", "rc_object", "rc_subject"])}[group]
                verb, nouns = rng.choice(list(lang.intr)), None
                allowed = [n for n in range(len(lang.nouns))
                           if group not in ("simple", "irregular")
                           or lang.nouns[n][2] == (group == "irregular")]
                heldout = count % 4 < 2
                allowed = [n for n in allowed if ((n, verb) in lang.heldout) == heldout]
                nouns = [rng.choice(allowed)]
                inner = None
                if group == "rc":
                    ok = [v for v in lang.tran if (nouns[0], v) not in lang.heldout]
                    inner = rng.choice(ok)
                s = lang.clause(rng, kind, number=number,
                                attractor=(1 - number if count // 4 % 2 else number),
                                verb=verb, inner=inner, nouns=nouns)
                text = s.text()
                if text in seen or text in avoid:
                    continue
                enc = tok.encode(text)
                tokens, at, ok = [], [], True
                starts, p = [], 0
                for w in s.words:
                    starts.append(p)
                    p += len(w) + 1
                # a token belongs to the word its last character stands in
                for (a, b) in enc.offsets:
                    a = a - 1 if a and text[a - 1] == " " and text[a] != " " else a
                    tokens.append(text[a:b])
                    at.append(max(i for i, x in enumerate(starts) if x <= b - 1))
                if "".join(tokens) != text:
                    continue
                subject, verb_at = at.index(s.subject), at.index(s.verb)
                labels = [None] * len(tokens)
                last = [None] * len(tokens)
                for i in range(subject, verb_at):
                    labels[i] = ("sg", "pl")[number]
                k, mark = None, dict(s.noun_marks)
                for i in range(len(tokens)):
                    if at[i] in mark and (i == 0 or at[i] != at[i - 1]):
                        k = ("sg", "pl")[mark[at[i]]]
                    last[i] = k
                seen.add(text)
                out.append(dict(
                    text=text, tokens=tokens, ids=enc.ids, language=name, agreement=name != "nul", construction=group,
                    kind=kind, subject_number=("sg", "pl")[number],
                    attractor_number=None if s.attractor_number is None
                    else ("sg", "pl")[s.attractor_number],
                    noun_heldout=heldout, subject_position=subject, predict_index=verb_at - 1,
                    verb_position=verb_at, labels=labels, last_noun=last))
                count += 1
    random.Random("gold-%d" % SEED).shuffle(out)
    return out


def write_jsonl(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        for r in rows:
            f.write(json.dumps(r, ensure_ascii=False) + "\n")


# ---------------------------------------------------------------- scoring
def wilson(k, n, z=1.959964):
    p = k / n
    mid, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (mid - half) / (1 + z * z / n), (mid + half) / (1 + z * z / n)


@torch.no_grad()
def score(model, tok, pairs):
    """Accuracy on pairs: is the good continuation more probable than the bad one?"""
    model.eval()
    rows = [[0] + tok.encode(p["prefix"]).ids for p in pairs]
    good = torch.tensor([tok.encode(p["good"]).ids[0] for p in pairs])
    bad = torch.tensor([tok.encode(p["bad"]).ids[0] for p in pairs])
    n, w = len(rows), max(map(len, rows))
    ids = torch.ones((n, w), dtype=torch.long)
    for i, r in enumerate(rows):
        ids[i, :len(r)] = torch.tensor(r)
    at = torch.tensor([len(r) - 1 for r in rows])
    logits = model(ids).logits[torch.arange(n), at]     # causal: what stands after is not seen
    i = torch.arange(n)
    return int((logits[i, good] > logits[i, bad]).sum())


def pack(tok, texts):
    out = []
    for e in tok.encode_batch(texts):
        out.append(0)
        out += e.ids
    return np.array(out, dtype=np.int64)


@torch.no_grad()
def loss_on(model, stream, sequences=64):
    model.eval()
    x = torch.from_numpy(stream[:sequences * SEQUENCE].reshape(sequences, SEQUENCE))
    logits = model(x).logits
    return F.cross_entropy(logits[:, :-1].reshape(-1, VOCAB), x[:, 1:].reshape(-1)).item()


# ---------------------------------------------------------------- training
def learning_rate(step):
    if step < WARMUP:
        return LR * (step + 1) / WARMUP
    x = (step - WARMUP) / (SCHEDULE - WARMUP)
    return LR * (LR_END + (1 - LR_END) * 0.5 * (1 + math.cos(math.pi * x)))


def new_model():
    return GPTNeoXForCausalLM(GPTNeoXConfig(**MODEL))


def train(tok, steps, save, watch, create=new_model, text="train-%d" % SEED):
    """The training run: `create` makes the untrained model, `text` seeds the documents."""
    torch.manual_seed(MODEL_SEED)
    model = create()
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    opt = torch.optim.AdamW([dict(params=decay, weight_decay=WEIGHT_DECAY),
                             dict(params=rest, weight_decay=0.0)], lr=LR, betas=BETAS)
    source, buffer = documents(text), np.empty(0, dtype=np.int64)
    begin, last = time.time(), steps[-1]
    for step in range(last + 1):
        if step in steps:
            save(step, model)
        if step in steps or step in watch:
            watch_line(step, model, tok, begin)
        if step == last:
            break
        if len(buffer) < TOKENS_PER_STEP:
            texts = [next(source)[0] for _ in range(20000)]
            buffer = np.concatenate([buffer, pack(tok, texts)])
        x = torch.from_numpy(buffer[:TOKENS_PER_STEP].reshape(BATCH, SEQUENCE))
        buffer = buffer[TOKENS_PER_STEP:]
        for g in opt.param_groups:
            g["lr"] = learning_rate(step)
        model.train()
        logits = model(x).logits
        loss = F.cross_entropy(logits[:, :-1].reshape(-1, VOCAB), x[:, 1:].reshape(-1))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        opt.step()
    return model


WATCH = {}


def save_half(model, tok, directory):
    """The checkpoint as a folder that transformers loads, its weights in fp16."""
    shutil.rmtree(directory, ignore_errors=True)
    half = type(model)(model.config)
    half.load_state_dict(model.state_dict())
    half = half.half()
    assert all(torch.isfinite(p).all() for p in half.parameters())
    half.save_pretrained(directory, safe_serialization=True)
    os.chmod(os.path.join(directory, "model.safetensors"), 0o644)
    save_tokenizer(tok, directory)


def watch_line(step, model, tok, begin):
    acc = {k: score(model, tok, p) / len(p) for k, p in WATCH["pairs"].items()}
    print("%5d %6.1fs loss %.4f  " % (step, time.time() - begin, loss_on(model, WATCH["stream"]))
          + "  ".join("%s %s" % (l, " ".join("%3d" % round(100 * acc[l, g]) for g in GROUPS))
                      for l in LANGUAGES), flush=True)


def readme(out):
    """Writes the accuracy table between the marks of the README."""
    path = os.path.join(out, "README.md")
    if not os.path.exists(path):
        return
    with open(os.path.join(out, "accuracy.csv"), newline="") as f:
        rows = list(csv.DictReader(f))
    cell = {(int(r["step"]), r["language"], r["construction"]): float(r["accuracy"]) for r in rows}
    columns = [(l, g) for l in LANGUAGES for g in GROUPS]
    lines = ["| step | " + " | ".join("%s %s" % c for c in columns) + " |",
             "| ---: |" + " ---: |" * len(columns)]
    for step in STEPS:
        lines.append("| %d | " % step
                     + " | ".join("%.1f" % (100 * cell[(step,) + c]) for c in columns) + " |")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    begin, end = "<!-- accuracy -->\n", "<!-- /accuracy -->"
    a, b = text.index(begin) + len(begin), text.index(end)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text[:a] + "\n" + "\n".join(lines) + "\n\n" + text[b:])


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    ap.add_argument("--try-steps", type=int, help="only train this long and print, write no model")
    ap.add_argument("--no-training", action="store_true",
                    help="keep the checkpoints that are there; write and score all the rest anew")
    args = ap.parse_args()
    for module, want in VERSIONS.items():
        if module.__version__.split("+")[0] != want:
            sys.exit("%s %s is pinned, this is %s" % (module.__name__, want, module.__version__))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    torch.use_deterministic_algorithms(True)
    out = args.out

    tok = train_tokenizer()
    check_never_together()
    pairs = {(l, g): make_pairs(tok, l, g) for l in LANGUAGES for g in GROUPS}
    held = documents("heldout-%d" % SEED)
    WATCH.update(pairs=pairs, stream=pack(tok, [next(held)[0] for _ in range(400)]))
    if args.try_steps:
        n = args.try_steps
        watch = {int(2 ** (k / 2)) for k in range(8, 40)}
        train(tok, [0, n], lambda step, model: None, watch)
        return

    os.makedirs(os.path.join(out, "pairs"), exist_ok=True)
    seen = write_corpus(os.path.join(out, "train.jsonl"), documents("train-%d" % SEED),
                        TRAIN_BYTES)
    write_corpus(os.path.join(out, "heldout.jsonl"), documents("heldout-%d" % SEED),
                 HELDOUT_BYTES, seen)
    for (l, g), p in pairs.items():
        write_jsonl(os.path.join(out, "pairs", "%s_%s.jsonl" % (l, g)), p)
    write_jsonl(os.path.join(out, "gold.jsonl"), make_gold(tok, seen))

    losses = {}

    def save(step, model):
        save_half(model, tok, os.path.join(out, "step%d" % step))
        losses[step] = loss_on(model, WATCH["stream"])

    if args.no_training:
        with open(os.path.join(out, "run.json")) as f:
            losses = {c["step"]: c["heldout_loss"] for c in json.load(f)["checkpoints"]}
    else:
        train(tok, STEPS, save, set())

    # everything below is read back from the files
    with open(os.path.join(out, "accuracy.csv"), "w", newline="") as f:
        table = csv.writer(f, lineterminator="\n")
        table.writerow("step language construction n accuracy low high".split())
        log = []
        for step in STEPS:
            d = os.path.join(out, "step%d" % step)
            t = AutoTokenizer.from_pretrained(d)
            model = GPTNeoXForCausalLM.from_pretrained(d, torch_dtype=torch.float32)
            half_loss = loss_on(model, WATCH["stream"])
            assert abs(half_loss - losses[step]) < 2e-3, (step, half_loss, losses[step])
            log.append(dict(step=step, tokens=step * TOKENS_PER_STEP,
                            heldout_loss=round(losses[step], 4),
                            heldout_loss_fp16=round(half_loss, 4)))
            for (l, g), p in pairs.items():
                assert t(p[0]["prefix"]).input_ids == tok.encode(p[0]["prefix"]).ids
                k, n = score(model, tok, p), len(p)
                low, high = wilson(k, n)
                table.writerow([step, l, g, n, "%.4f" % (k / n), "%.4f" % low, "%.4f" % high])
    with open(os.path.join(out, "run.json"), "w") as f:
        json.dump(dict(tokens_per_step=TOKENS_PER_STEP, sequence_length=SEQUENCE,
                       batch_size=BATCH, steps=STEPS, seed=SEED,
                       model_seed=MODEL_SEED, learning_rate=LR,
                       learning_rate_last=round(learning_rate(STEPS[-1]), 9), warmup_steps=WARMUP,
                       weight_decay=WEIGHT_DECAY, betas=BETAS, clip=CLIP,
                       versions={m.__name__: v for m, v in VERSIONS.items()},
                       checkpoints=log), f, indent=1)
        f.write("\n")
    readme(out)
    total = sum(os.path.getsize(os.path.join(r, x)) for r, _, fs in os.walk(out) for x in fs
                if not x.endswith(".pyc"))
    print("%d bytes in all" % total)
    assert total <= LIMIT, "too large for the repository"


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main()
