#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the small torch.save files of tests/formats/golden and of tests/model/golden/torch-*: values are simple
functions of their index, so that the test knows them. Needs torch and safetensors. Usage: make_torch_golden.py"""
import collections
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file

here = pathlib.Path(__file__).resolve().parent
golden = here / "golden"
golden.mkdir(exist_ok=True)

base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
state = collections.OrderedDict(
    plain=base,
    transposed=base.T,                      # shares the storage, strides (1, 4)
    column=base[:, 1],                      # offset 1, stride 4
    tied=base,
    half=base.half(),
    brain=base.bfloat16(),
    double=base.double(),
    ids=torch.arange(5) - 2,
    mask=torch.tensor([True, False]),
    scalar=torch.tensor(7.0),
    empty=torch.zeros(0, 3),
    parameter=torch.nn.Parameter(base + 1),
)
torch.save(state, golden / "zip.pt")
torch.save(state, golden / "legacy.pt", _use_new_zipfile_serialization=False)
torch.save({"epoch": 3, "optimizer": {"lr": 0.5, 0: []}, "state_dict": state}, golden / "nested.pt")
torch.save(torch.arange(6).reshape(2, 3), golden / "bare.pt")
module = torch.nn.Linear(2, 2)
torch.nn.init.ones_(module.weight)
torch.nn.init.zeros_(module.bias)
torch.save(module.state_dict(), golden / "module.pt")

# The models of the other golden tests once more: one file, and shards with an index.
models = here.parent / "model" / "golden"
tensors = load_file(models / "tiny-neox" / "model.safetensors")
single = models / "torch-single"
single.mkdir(exist_ok=True)
torch.save(collections.OrderedDict(tensors), single / "pytorch_model.bin")
sharded = models / "torch-sharded"
sharded.mkdir(exist_ok=True)
names = sorted(tensors)
shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
for i, shard in enumerate(shards):
    part = {name: tensors[name] for name in names[i::2]}
    torch.save(part, sharded / shard, _use_new_zipfile_serialization=i == 0)
(sharded / "pytorch_model.bin.index.json").write_text(json.dumps(
    {"metadata": {"total_size": 2 ** 62}, "weight_map": {name: shards[i % 2] for i, name in enumerate(names)}}))
for folder in (single, sharded):
    shutil.copy(models / "tiny-neox" / "config.json", folder / "config.json")
