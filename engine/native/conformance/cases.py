#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the operator cases of the Python package onnx into a .tar.gz file.

    cases.py FILE [NAMES]

With NAMES, a file that lists a case in each line, only those are written. What is
written is the same in every run. Each member of the archive is one case: a line of JSON,
then the bytes that it speaks of, the model first and the tensors after it in order.
Elements are little-endian; a string is its length in four bytes and its bytes.
"""

import gzip
import io
import json
import sys
import tarfile
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test import loader
from onnx.backend.test.case import node

STRING = onnx.TensorProto.STRING


def tensor(value):
    """The type, the shape and the bytes of a value; type 0 is what is no tensor."""
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    if value is None or isinstance(value, (list, dict, onnx.SequenceProto, onnx.OptionalProto)):
        return {"elem": 0, "shape": [], "bytes": 0}, b""
    array = np.asarray(value)
    if array.dtype.kind in "OUS":
        texts = [t if isinstance(t, bytes) else str(t).encode() for t in array.reshape(-1).tolist()]
        elem, data = STRING, b"".join(len(t).to_bytes(4, "little") + t for t in texts)
    else:
        elem, data = onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.tobytes()
    return {"elem": elem, "shape": list(array.shape), "bytes": len(data)}, data


def record(model, sets, rtol, atol):
    content = [model.SerializeToString()]
    head = {"rtol": rtol, "atol": atol, "model": len(content[0]), "sets": []}
    for inputs, outputs in sets:
        both = {"inputs": [], "outputs": []}
        for key, values in (("inputs", inputs), ("outputs", outputs)):
            for value in values:
                described, data = tensor(value)
                both[key].append(described)
                content.append(data)
        head["sets"].append(both)
    return json.dumps(head).encode() + b"\n" + b"".join(content)


def read_set(folder):
    """The inputs and outputs in a folder of .pb files; None where one is no tensor."""
    def read(pattern):
        values = []
        while (file := folder / pattern.format(len(values))).exists():
            values.append(onnx.TensorProto.FromString(file.read_bytes()))
        return values
    return read("input_{}.pb"), read("output_{}.pb")


def stored(kind):
    """The cases that the package has as files."""
    from pathlib import Path
    for case in loader.load_model_tests(kind=kind):
        folder = Path(case.model_dir)
        model = onnx.load(folder / "model.onnx")
        if any(i.type.WhichOneof("value") != "tensor_type" for i in [*model.graph.input, *model.graph.output]):
            continue
        sets = [read_set(f) for f in sorted(folder.glob("test_data_set_*"))]
        yield f"{kind}/{case.name}", record(model, sets, case.rtol, case.atol)


def cases():
    for case in node.collect_testcases(None):
        yield f"node/{case.name}", record(case.model, case.data_sets, case.rtol, case.atol)
    yield from stored("simple")
    yield from stored("pytorch-operator")
    yield from stored("pytorch-converted")


def main():
    warnings.simplefilter("ignore")
    names = None
    if len(sys.argv) > 2:
        with open(sys.argv[2], encoding="utf-8") as lines:
            names = set(lines.read().split())
    with open(sys.argv[1], "wb") as file, \
            gzip.GzipFile("", "wb", 9, file, mtime=0) as packed, \
            tarfile.open(mode="w", fileobj=packed) as archive:
        for name, content in cases():
            if names is None or name in names:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


main()
