#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small good, bad and unsupported files for the readers of the data layer, and what must become of them.

Writes good/, bad/, unsupported/ and cases.tsv beside this script: kind, file, status, and words of the message or the
number of documents. Large cases (deep nesting, long lines, bombs) are made by the tests themselves.
"""
import gzip
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = []

BASE = {
    "version": "1.0",
    "added_tokens": [{"id": 4, "content": "<|endoftext|>", "special": True, "normalized": False}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "\u0120": 3}, "merges": ["a b"]},
}


def add(folder, kind, name, data, status, words):
    path = os.path.join(HERE, folder, f"{kind}-{name}")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if isinstance(data, str):
        data = data.encode("utf-8")
    with open(path, "wb") as file:
        file.write(data)
    ROWS.append((kind, f"{folder}/{kind}-{name}", status, str(words)))


def tokenizer(**changes):
    """BASE with members replaced; 'model__x' reaches into the model; None removes."""
    root = json.loads(json.dumps(BASE))
    for key, value in changes.items():
        target = root
        if key.startswith("model__"):
            target, key = root["model"], key[7:]
        if value is None:
            del target[key]
        else:
            target[key] = value
    return json.dumps(root, ensure_ascii=False)


def vocab(**more):
    return dict(BASE["model"]["vocab"], **more)


def added(*entries):
    return BASE["added_tokens"] + [dict(e) for e in entries]


def split(pattern, behavior="Isolated"):
    return {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior,
                                                   "invert": False}, {"type": "ByteLevel", "use_regex": False}]}


def nested(depth):
    node = {"type": "ByteLevel"}
    for _ in range(depth):
        node = {"type": "Sequence", "pretokenizers": [node]}
    return node


def tokenizers():
    def bad(name, data, words):
        add("bad", "tokenizer", name + ".json", data, "format", words)

    def unsupported(name, data, words):
        add("unsupported", "tokenizer", name + ".json", data, "unsupported", words)

    def good(name, data):
        add("good", "tokenizer", name + ".json", data, "ok", "")

    plain = tokenizer()
    good("plain", plain)
    good("pairs", tokenizer(model__merges=[["a", "b"]]))
    good("version-line", tokenizer(model__merges=["#version: 0.2", "a b"]))
    good("script-token", tokenizer(added_tokens=added({"id": 5, "content": "<script>alert(1)</script>"})))
    good("no-type", tokenizer(model__type=None))
    good("backtracking", tokenizer(pre_tokenizer=split("(a+)+$")))  # loads; the text decides
    good("shared-id", tokenizer(added_tokens=added({"id": 2, "content": "ab"})))
    good("template", tokenizer(post_processor={"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}))
    good("no-merges", tokenizer(model__merges=None))
    good("unknown", tokenizer(model__unk_token="ab"))
    bad("empty", "", "not valid JSON")
    bad("truncated", plain[:120], "not valid JSON")
    bad("bom", b"\xef\xbb\xbf" + plain.encode(), "not valid JSON")
    bad("utf8", plain.encode().replace(b'"ab"', b'"a\xff"'), "not valid JSON")
    bad("lone-surrogate", plain.replace('"ab"', '"\\ud800"'), "not valid JSON")
    bad("nul", plain.replace('"ab"', '"a\\u0000"'), "not valid JSON")
    bad("duplicate-key", plain.replace('"b": 1', '"a": 1'), "duplicate")
    bad("duplicate-id", tokenizer(model__vocab=vocab(b=0)), "belongs to another token")
    bad("id-negative", tokenizer(model__vocab=vocab(b=-1)), "id -1, expected 0 to")
    bad("id-fraction", tokenizer(model__vocab=vocab(b=0.5)), "no integer")
    bad("id-text", tokenizer(model__vocab=vocab(b="1")), "no integer")
    bad("id-2e31", tokenizer(model__vocab=vocab(b=2**31)), "id 2147483648, expected 0 to")
    bad("id-4e9", tokenizer(model__vocab=vocab(b=4 * 10**9)), "id 4000000000, expected 0 to")
    bad("id-1e12", tokenizer(model__vocab=vocab(b=10**12)), "id 1000000000000, expected 0 to")
    bad("id-1e30", tokenizer(model__vocab=vocab(b=10**30)), "not valid JSON")
    bad("added-id-negative", tokenizer(added_tokens=added({"id": -1, "content": "x"})), "id -1 is out of range")
    bad("added-id-large", tokenizer(added_tokens=added({"id": 2**31 - 1, "content": "x"})), "id 2147483647, expected 0 to")
    bad("merge-unknown-left", tokenizer(model__merges=["x b"]), "left part that is no token")
    bad("merge-unknown-right", tokenizer(model__merges=["a x"]), "right part that is no token")
    bad("merge-unknown-product", tokenizer(model__merges=["b a"]), "gives a text that is no token")
    bad("merge-one-part", tokenizer(model__merges=["ab"]), "not two parts")
    bad("merge-three-parts", tokenizer(model__merges=["a b a"]), "not two parts")
    bad("merge-number", tokenizer(model__merges=[7]), "neither a text nor a pair")
    bad("merge-triple", tokenizer(model__merges=[["a", "b", "a"]]), "neither a text nor a pair")
    bad("merge-self", tokenizer(model__merges=[["ab", ""]]), "neither a text nor a pair")
    bad("merge-self-text", tokenizer(model__merges=["ab "]), "not two parts")
    bad("merges-object", tokenizer(model__merges={"a": "b"}), "expected a list")
    bad("empty-token", tokenizer(model__vocab=dict(vocab(), **{"": 9})), "a token of no text")
    bad("empty-added", tokenizer(added_tokens=added({"id": 9, "content": ""})), "a token of no text")
    bad("added-clash", tokenizer(added_tokens=added({"id": 2, "content": "x"})), "belongs to another token")
    bad("added-clash-text", tokenizer(added_tokens=added({"id": 9, "content": "ab"})), "belongs to another token")
    bad("added-twice", tokenizer(added_tokens=added({"id": 9, "content": "x"}, {"id": 9, "content": "y"})), "belongs to another token")
    bad("added-object", tokenizer(added_tokens={"id": 9}), "expected a list")
    bad("added-number", tokenizer(added_tokens=[9]), "expected an object")
    bad("added-flag", tokenizer(added_tokens=added({"id": 9, "content": "x", "lstrip": 1})), "expected true or false")
    bad("missing-model", tokenizer(model=None), "no 'model' object")
    bad("model-list", tokenizer(model=[]), "no 'model' object")
    bad("vocab-list", tokenizer(model__vocab=["a", "b"]), "model.vocab: expected an object")
    bad("vocab-empty", tokenizer(model__vocab={}, model__merges=[], added_tokens=[]), "it is empty")
    bad("vocab-missing", tokenizer(model__vocab=None), "model.vocab: expected an object")
    bad("not-object", "[1, 2]", "expected a JSON object")
    bad("sequence-300", tokenizer(pre_tokenizer=nested(300)), "nested deeper than 64")
    bad("sequence-without-list", tokenizer(pre_tokenizer={"type": "Sequence"}), "without a list")
    bad("pre-tokenizer-text", tokenizer(pre_tokenizer="ByteLevel"), "expected an object with a 'type'")
    bad("split-without-pattern", tokenizer(pre_tokenizer={"type": "Split", "behavior": "Isolated"}), "needs a pattern")
    bad("split-without-behavior", tokenizer(pre_tokenizer={"type": "Split", "pattern": {"String": "a"}}), "without 'behavior'")
    bad("split-empty", tokenizer(pre_tokenizer=split("")), "a pattern of 0 bytes")
    bad("flag-text", tokenizer(pre_tokenizer={"type": "ByteLevel", "use_regex": "no"}), "expected true or false")
    bad("unk-missing", tokenizer(model__unk_token="<unk>"), "model.unk_token")
    unsupported("model", tokenizer(model__type="WordPiece"), "'WordPiece' is not supported")
    unsupported("pre-tokenizer", tokenizer(pre_tokenizer={"type": "Metaspace"}), "pre_tokenizer: type 'Metaspace'")
    unsupported("fixed-length", tokenizer(pre_tokenizer={"type": "FixedLength", "length": 0}), "type 'FixedLength'")
    unsupported("behavior", tokenizer(pre_tokenizer=split("a", "Sideways")), "'Sideways'")
    unsupported("normalizer", tokenizer(normalizer={"type": "Lowercase"}), "normalizer: type 'Lowercase'")
    unsupported("decoder", tokenizer(decoder={"type": "WordPiece"}), "decoder: type 'WordPiece'")
    unsupported("no-byte-level", tokenizer(pre_tokenizer=None), "without ByteLevel")
    unsupported("byte-level-first", tokenizer(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "ByteLevel"}, {"type": "Digits"}]}), "after ByteLevel")
    unsupported("byte-fallback", tokenizer(model__byte_fallback=True), "model.byte_fallback")
    unsupported("dropout", tokenizer(model__dropout=0.1), "model.dropout")
    unsupported("suffix", tokenizer(model__end_of_word_suffix="</w>"), "model.end_of_word_suffix")
    unsupported("long-added", tokenizer(added_tokens=added({"id": 5, "content": "x" * 1025})), "a token of 1025 bytes")
    unsupported("regex-broken", tokenizer(pre_tokenizer=split("(a")), "does not compile")
    unsupported("regex-class", tokenizer(pre_tokenizer=split("[a[^b]]")), "nests a negated class")
    unsupported("regex-intersection", tokenizer(pre_tokenizer=split("[a-z&&[aeiou]]")), "intersects classes")
    unsupported("regex-possessive", tokenizer(pre_tokenizer=split("a{1,3}+")), "'+' follows an interval")
    unsupported("regex-escape", tokenizer(pre_tokenizer=split(r"a\K")), "depends on the engine")


def frame(content, *, declared=None, checksum=None, descriptor=0x20, window=b"", dictionary=b""):
    """A zstd frame of one raw block; by default a single segment with a one-byte content size."""
    size = b"" if window else bytes([len(content) if declared is None else declared])
    if checksum is not None:
        descriptor |= 4
    block = struct.pack("<I", len(content) << 3 | 1)[:3] + content
    tail = b"" if checksum is None else struct.pack("<I", checksum)
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + window + dictionary + size + block + tail


def corpora():
    two = b'{"text": "ab"}\n{"text": "b a"}\n'

    def bad(name, data, words):
        add("bad", "jsonl", name, data, "format", words)

    def good(name, data, documents):
        add("good", "jsonl", name, data, "ok", documents)

    def gz(data):
        return gzip.compress(data, mtime=0)

    good("plain.jsonl", two, 2)
    good("empty.jsonl", b"", 0)
    good("blank-lines.jsonl", b"\n\n" + two.replace(b"\n", b"\n \n"), 2)
    good("no-final-newline.jsonl", two[:-1], 2)
    good("bom-crlf.jsonl", b"\xef\xbb\xbf" + two.replace(b"\n", b"\r\n"), 2)
    good("empty-text.jsonl", b'{"text": ""}\n' + two, 3)
    good("other-members.jsonl", b'{"id": [1, {"a": null}], "text": "a", "meta": {"text": 7}}\n', 1)
    good("surrogate-pair.jsonl", b'{"text": "\\ud83d\\ude00"}\n', 1)
    good("no-name", two, 2)
    good("text.txt", b"ab\nb a\n", 1)
    good("brace.txt", b"{a} is a set\n", 1)
    good("utf8.txt", b"a\xffb\n", 1)
    bad("broken-line.jsonl", two[:15] + b'{"text": \n' + two, "line 2, byte")
    bad("missing-text.jsonl", b'{"body": "a"}\n', "line 1: no key 'text'")
    bad("number-text.jsonl", b'{"text": 7}\n', "line 1: 'text' is no text")
    bad("null-text.jsonl", b'{"text": null}\n', "line 1: 'text' is no text")
    bad("list.jsonl", two + b'["a"]\n', "line 3: expected a JSON object")
    bad("utf8.jsonl", two + b'{"text": "\xff"}\n', "line 3")
    bad("lone-surrogate.jsonl", b'{"text": "\\ud800"}\n', "line 1")
    bad("raw-nul.jsonl", b'{"text": "a\x00b"}\n', "line 1")
    bad("escaped-nul.jsonl", b'{"text": "a\\u0000b"}\n', "line 1")
    bad("duplicate-key.jsonl", b'{"text": "a", "text": "b"}\n', "line 1")
    bad("two-values.jsonl", b'{"text": "a"} {"text": "b"}\n', "line 1")
    c4 = b'{"text": "a b", "timestamp": "2019-04-25T12:57:54Z", "url": "https://example.org/a"}\n'
    good("c4.json.gz", gz(c4 + c4.replace(b"a b", b"b\\na")) + gz(c4), 3)  # as mC4 is published
    good("two-members.jsonl.gz", gz(two) + gz(two), 4)
    good("plain-named.jsonl.gz", two, 2)
    good("gzip-named.jsonl.zst", gz(two), 2)
    bad("truncated.jsonl.gz", gz(two)[:-12], "middle of a gzip member")
    bad("header-only.jsonl.gz", gz(two)[:5], "middle of a gzip member")
    packed = gz(two)
    bad("crc.jsonl.gz", packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:], "incorrect data check")
    bad("length.jsonl.gz", packed[:-1] + bytes([packed[-1] ^ 1]), "incorrect length check")
    bad("garbage.jsonl.gz", packed + b"garbage", "behind the last gzip member")
    bad("second-member.jsonl.gz", packed + b"\x1f\x8b\x07" + 20 * b"x", "not valid gzip")
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 3) + b"abc"
    good("frames.jsonl.zst", frame(two) + frame(two), 4)
    good("skippable.jsonl.zst", skippable + frame(two) + skippable + frame(two) + skippable, 4)
    bad("truncated.jsonl.zst", frame(two)[:-3], "middle of a zstd frame")
    bad("header-only.jsonl.zst", frame(two)[:5], "middle of a zstd frame")
    bad("checksum.jsonl.zst", frame(two, checksum=12345), "checksum")
    bad("magic.jsonl.zst", b"\x28\xb5\x2f\xfe" + frame(two)[4:], "line 1")
    bad("magic.txt.zst", b"\x28\xb5\x2f\xfe" + frame(two)[4:], "neither compressed nor text")
    bad("second-magic.jsonl.zst", frame(two) + b"abcd", "not valid zstd")
    flipped = bytearray(frame(two))
    flipped[6] ^= 6  # the type of the block
    bad("flipped.jsonl.zst", bytes(flipped), "not valid zstd")
    bad("content-size.jsonl.zst", frame(two, declared=len(two) + 1), "not valid zstd")
    # 2 GiB: exponent 21 (log 31) in the window descriptor, no single segment.
    add("bad", "jsonl", "window.jsonl.zst", frame(two, descriptor=0, window=bytes([21 << 3])), "memory", "window of more than 128 MiB")
    add("unsupported", "jsonl", "dictionary.jsonl.zst", frame(two, descriptor=0x21, dictionary=b"\x07"), "unsupported",
        "needs a dictionary")


def pairs():
    def bad(name, data, words, status="format"):
        add("bad", "pairs", name + ".jsonl", data, status, words)

    one = {"prefix": "ab", "good": " a", "bad": " b"}
    add("good", "pairs", "plain.jsonl", json.dumps(one) + "\n", "ok", 1)
    add("good", "pairs", "members.jsonl", json.dumps(dict(one, language="en", group=None, counterfactual="ba", gold=1)) + "\n\n", "ok", 1)
    bad("not-json", "{", "line 1")
    bad("list", "[]", "line 1: expected a JSON object")
    bad("missing", json.dumps({"prefix": "a", "good": "b"}), "line 1: no key 'bad'")
    bad("number", json.dumps(dict(one, good=1)), "line 1: 'good' is no text")
    bad("group-number", json.dumps(dict(one, group=1)), "line 1: 'group' is no text")
    bad("empty-answer", json.dumps(dict(one, good="")), "line 1: an empty answer")
    bad("same-answers", json.dumps(dict(one, good=" b")), "are the same")
    bad("empty", "", "no pair can be used: kept 0 of 0", "mismatch")
    bad("long-answers", json.dumps(dict(one, good=" aa", bad=" bbb")), "answer longer than 2 tokens: 1", "mismatch")
    bad("contained", json.dumps(dict(one, good=" a", bad=" aa")), "begins with the other: 1", "mismatch")


def main():
    tokenizers()
    corpora()
    pairs()
    with open(os.path.join(HERE, "cases.tsv"), "w", encoding="utf-8") as file:
        file.write("kind\tfile\tstatus\twords\n")
        for row in ROWS:
            file.write("\t".join(row) + "\n")


if __name__ == "__main__":
    main()
