#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokenizing, side by side with the Hugging Face tokenizers library, one thread each.

Usage: bench/tokenize_speed.py PROGRAM TOKENIZER.json TEXT [TEXT ...] (plain text, a document a line; needs `tokenizers`).
Counts processor time (user and system) of a process each, less what it takes on one line, so that starting and loading
do not count and other work on the machine disturbs little. Checks that both give the same ids.
"""
import json
import os
import subprocess
import sys
import tempfile

PEER = """
import sys
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
lines = open(sys.argv[2], encoding="utf-8").read().split("\\n")
for line in lines:
    if line:
        tokenizer.encode(line, add_special_tokens=False).ids
"""


def seconds(command):
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env=dict(os.environ, RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false"))
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def measure(make_command, text, one_line, repeats=3):
    start = min(seconds(make_command(one_line)) for _ in range(repeats))
    return max(min(seconds(make_command(text)) for _ in range(repeats)) - start, 1e-9)


def check(program, tokenizer, path):
    from tokenizers import Tokenizer
    ours = subprocess.run([program, "tokenize", f"--tokenizer={tokenizer}", f"--corpus={path}", "--line-documents",
                           "--ids"], check=True, capture_output=True, text=True).stdout.splitlines()
    peer = Tokenizer.from_file(tokenizer)
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file][:2000]
    for line, ids in zip([line for line in lines if line], ours):
        if peer.encode(line, add_special_tokens=False).ids != json.loads(ids):
            sys.exit(f"different ids for: {line!r}")


def main():
    program, tokenizer, texts = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3:]
    print(f"{'text':30} {'MB':>8} {'ours MB/s':>10} {'peer MB/s':>10} {'ratio':>7}")
    for text in texts:
        check(program, tokenizer, text)
        with tempfile.TemporaryDirectory() as folder:
            with open(text, "rb") as file:
                first = file.readline()
            line = os.path.join(folder, "line.txt")
            with open(line, "wb") as file:
                file.write(first)
            megabytes = (os.path.getsize(text) - len(first)) / 1e6
            ours = measure(lambda path: [program, "tokenize", f"--tokenizer={tokenizer}", f"--corpus={path}", "--length=2",
                                         "--line-documents", "--threads=1", "--quiet"], text, line)
            peer = measure(lambda path: [sys.executable, "-c", PEER, tokenizer, path], text, line)
        print(f"{os.path.basename(text)[:30]:30} {megabytes:8.1f} {megabytes / ours:10.1f} {megabytes / peer:10.1f} "
              f"{peer / ours:7.1f}")


if __name__ == "__main__":
    main()
