#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Load every result of a run into Python. Usage: read_results.py RUN

Needs numpy only; the `safetensors` package would do what read_safetensors() does here in a few lines."""
import csv
import json
import pathlib
import struct
import sys

import numpy as np

DTYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1"}


def read_safetensors(path):
    """Tensors by name, and the metadata. BF16 comes as float32."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(data[begin:end], "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors, metadata


def read_csv(path):
    """Rows as dictionaries; numbers as floats, empty fields as None."""

    def convert(text):
        if text == "":
            return None
        try:
            return float(text)
        except ValueError:
            return text

    with open(path, newline="", encoding="utf-8") as file:
        return [{key: convert(value) for key, value in row.items()} for row in csv.DictReader(file)]


def main(run):
    run = pathlib.Path(run)
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run)
        if "report" in name.parts[:1] or not path.is_file():
            continue
        if path.suffix == ".csv":
            rows = read_csv(path)
            print(f"{name}: {len(rows)} rows, columns {', '.join(rows[0]) if rows else '-'}")
        elif path.suffix == ".safetensors":
            tensors, metadata = read_safetensors(path)
            print(f"{name}: " + ", ".join(f"{key} {list(value.shape)}" for key, value in tensors.items()))
        elif path.suffix == ".json":
            print(f"{name}: {', '.join(json.loads(path.read_text(encoding='utf-8')))}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
