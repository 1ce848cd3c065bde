#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small tokenizers of our own and what the Hugging Face `tokenizers` library makes of test strings with them.

Run in this folder with tokenizers 0.20.3; writes golden/*.json and golden/*.jsonl. Everything here is deterministic.
"""
import json
import os
import random

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")

TEXT = """
The author of the books that the senators like laughs at the keys to the cabinet. The authors laugh.
A child near the old houses sings; the children near the old house sing. Don't they? We'll see, I'd say they're right.
The mouse runs, the mice run, and nobody who has seen the cats of the farmer has forgotten the 1234 dogs of 2025.
L'auteur des livres que les sénateurs aiment rit. Les enfants près de la vieille maison chantent, n'est-ce pas ?
Où sont les clés de l'armoire ? Elles étaient là hier, à côté du château, près de la forêt où l'été s'achève.
Der Schlüssel für die Häuser der Künstler liegt über der Tür; die Schlüssel liegen dort, wo wir sie fanden.
Ключи от шкафа лежат на столе, а ключ от дома лежит у двери. Авторы смеются, автор смеётся.
作者们笑了，作者笑了。钥匙在桌子上。我们的生活的真谛是什么？
लेखक हँसता है। लेखक हँसते हैं। चाबियाँ मेज़ पर हैं।
int main(void) {
  for (int i = 0; i < 10; i++) printf("%d\\n", i * i);
  return 0;
}
def f(x):
    return [y ** 2 for y in x if y != 0]
"""

GPT2_LIKE = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
             r"|\s+(?!\S)|\s+")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"

HAND = [
    "", " ", "  ", "   x", "a b", "a  b", "a   b", "x\n\ny", "x\n  y", "x ", "x  ", "\r\n\r\nx", "tab\tx", "\t\t",
    "Hello, I am", " Hello", "The author laughs", "The authors laugh.", "The keys to the cabinet are", "don't can't we'll I'VE",
    "'s 't 're 've 'm 'll 'd '", "it''s", " 's", "1234567 3.14", "a1b22c333", "naïve café Ünïcode", "e\u0301 vs é",
    "\u212b\u2126", "a\u0323\u0307 a\u0307\u0323", "\u1100\u1161\u11a8 각", "ﬁ ﬂ", "a\u00a0b", "a\u180eb", "a\u200bb", "a\u3000b",
    "a\u2003 \u2003b", "\u1680x", "x\u0085y", "x\u2028y", "a\u00adb", "\ufeffx", "😀👍🏽", "👨\u200d👩\u200d👧", "生活的真谛是", "作者们笑了，作者笑了。",
    "हिन्दी लेखक।", "שלום עולם", "مرحبا، كيف؟", "Ключи от шкафа", "x (y", "(a|b)", "wait... what?!", ". . .", "a,b;c",
    "<|endoftext|>", "a<|endoftext|>b", "a <|endoftext|> b", "<|endoftext|><|endoftext|>", "<|endof", "</s>", "Hello</s>Hello!</s>",
    "<one>x", "x<one> y", "x <one> y", "a<one>b", "<one>", "<one><one>", "é<one>.", " <left>x", "x  <left>  y", "x\n\t<left>z", "x<right>  y",
    "<right> ", "<both>", "  <both>  ", "x <both> <both> y", "<right>    x", "word", "a word b", "aword wordb", "word.word", "swordfish",
    "Ö-token", "O\u0308-token", "xÖ-tokeny", " " * 26 + "x", " " * 24, " " * 50, "\n" * 30, "a" * 200, "^" * 100, "ab" * 60, "ab " * 40,
    "0" * 70, "é" * 90, "The" + " " * 5 + "end", "x\u0000y", "mixed 中文 and English", "²³½ Ⅳ ൪ ۳", "_under_score_", "a.b.c", "C++ -> Rust::new()",
    "    return [y ** 2 for y in x]", "if (a && b) { c = \"d\"; }", "http://example.org/a?b=c&d=e#f", "\U0001d54f\U0001d7d9", "ʼn ǅ ß ẞ İ",
]

SCRIPTS = ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJ", "0123456789", "     ", " \t\n\r\u00a0\u2003\u3000", ".,;:!?'\"()[]{}<>|/\\-_=+*&^%$#@~`",
           "éèêëàâçîïôùûüœæñßøå", "абвгдежзийклмнопрстуфхцчшщ", "αβγδεζηθικλμνξοπρστυφχψω", "אבגדהוזחטי", "ابتثجحخدذر،؟۔",
           "कखगघङचछज।", "中文字符漢語書寫。，、", "ひらがなカタカナ", "한국어문장", "\u0301\u0327\u0323\u0308\u200d\u200b\u180e", "😀👍🏽🎉", "²½Ⅳ३٣"]


def random_string(rng):
    words = []
    for _ in range(rng.randint(1, 8)):
        if rng.random() < 0.4:
            words.append(rng.choice(["the ", " the", "author", " laughs", "keys", "'s", "'ll", "don't", "  ", "\n", "<one>", "<both>", "word", "</s>"]))
        else:
            script = rng.choice(SCRIPTS)
            words.append("".join(rng.choice(script) for _ in range(rng.randint(1, 6))))
    return "".join(words)


def byte_level(**arguments):
    return pre_tokenizers.ByteLevel(**arguments)


def special(text, **flags):
    return AddedToken(text, special=True, normalized=False, **flags)


def spaces():
    return [AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)]


def train():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=4 + 256 + 240, special_tokens=["<unk>", "<|endoftext|>", "</s>", "<pad>"],
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    return json.loads(tokenizer.to_str())["model"]


def build(model, normalizer, pre_tokenizer, added, ignore_merges=False):
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges, ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    for token in added:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    return tokenizer


def main():
    model = train()
    ends = [special("<|endoftext|>"), special("</s>"), special("<pad>")]
    flags = ends + [
        AddedToken("<one>", single_word=True, normalized=False), AddedToken("<left>", lstrip=True, normalized=False),
        AddedToken("<right>", rstrip=True, normalized=True), AddedToken("<both>", lstrip=True, rstrip=True, normalized=True),
        AddedToken("word", single_word=True, normalized=True), AddedToken("O\u0308-token", normalized=True),
        AddedToken("  ", normalized=True), AddedToken("<one><one>", normalized=False), AddedToken("\n\n", normalized=False)]
    sequence = pre_tokenizers.Sequence
    split = pre_tokenizers.Split
    plain = byte_level(add_prefix_space=False, use_regex=False)
    pipelines = {
        "neox": build(model, normalizers.NFC(), byte_level(add_prefix_space=False), ends + spaces()),
        "bloom": build(model, None, sequence([split(Regex(BLOOM), "isolated"), plain]), ends),
        "olmo2": build(model, None, sequence([split(Regex(GPT2_LIKE), "removed", invert=True), plain]), ends),
        "llama": build(model, None, sequence([split(Regex(GPT2_LIKE), "isolated"), plain]), ends, ignore_merges=True),
        "flags": build(model, normalizers.NFC(), byte_level(add_prefix_space=True), flags),
        "digits": build(model, normalizers.Sequence([normalizers.NFD(), normalizers.NFKC()]),
                        sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(add_prefix_space=False)]), ends,
                        ignore_merges=True),
        "joined": build(model, None, sequence([split("the", "merged_with_next"), split(" ", "merged_with_previous"),
                                               split(Regex(r"\w"), "contiguous"), split(Regex(r"[a-c]+|(?=z)"), "isolated", invert=True),
                                               split(Regex(r"\d\b"), "merged_with_previous"),
                                               byte_level(add_prefix_space=True, use_regex=True)]), ends),
    }
    rng = random.Random(7)
    strings = HAND + [random_string(rng) for _ in range(90)]
    for name, tokenizer in pipelines.items():
        data = json.loads(tokenizer.to_str())
        if name != "neox":  # newer files list pairs; neox has both forms
            data["model"]["merges"] = [list(m) if not isinstance(m, str) else m.split(" ") for m in data["model"]["merges"]]
        else:
            pairs = [list(m) if not isinstance(m, str) else m.split(" ") for m in data["model"]["merges"]]
            data["model"]["merges"] = pairs
            write_json(data, "neox_pairs.json")
            data["model"]["merges"] = ["#version: 0.2"] + [" ".join(m) for m in pairs]
        write_json(data, name + ".json")
        with open(os.path.join(OUT, name + ".jsonl"), "w", encoding="utf-8") as file:
            for text in strings:
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                decoded = tokenizer.decode(ids, skip_special_tokens=False)
                file.write(json.dumps({"text": text, "ids": ids, "decoded": decoded}, ensure_ascii=False) + "\n")


    write_template(model, ends, HAND[:40] + HAND[60:72])


def write_template(model, ends, strings):
    """Special tokens by a Sequence of post-processors, encoded with add_special_tokens."""
    tokenizer = build(model, normalizers.NFC(), byte_level(add_prefix_space=False), ends)
    around = processors.TemplateProcessing(single="<pad> <|endoftext|> $A </s>", pair="$A $B",
                                           special_tokens=[("<pad>", 3), ("<|endoftext|>", 1), ("</s>", 2)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), around])
    write_json(json.loads(tokenizer.to_str()), "template.json")
    with open(os.path.join(OUT, "template.jsonl"), "w", encoding="utf-8") as file:
        for text in strings:
            ids = tokenizer.encode(text, add_special_tokens=True).ids
            file.write(json.dumps({"text": text, "ids": ids}, ensure_ascii=False) + "\n")


def write_json(data, name):
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
