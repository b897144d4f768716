# SPDX-License-Identifier: Apache-2.0
"""What a case is, and the files that it becomes."""

import dataclasses
import json

import numpy as np
import onnx

# The latest operators that all the exporters write.
OPSET = {"": 15, "ai.onnx.ml": 3}

# Configurations to serve with; none at all leaves everything to be completed from the
# graph.
BATCHED = "max_batch_size: 64\ndynamic_batching { }\n"
COMPLETED = None

# How far a float may be from the library's own, beyond a relative error of 1e-5, for
# values near one: graphs calculate in FP32, and give a small probability as one minus a
# large one, so what remains of it is exact to FP32's steps near one.
STEP = 2.0**-22

DATATYPES = {
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.DOUBLE: "FP64",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.STRING: "BYTES",
}


@dataclasses.dataclass
class Case:
    """A graph, inputs for it, and what its library predicts for them.

    inputs and outputs map names of the graph to arrays whose first axis is the row.
    Outputs that are no tensors, such as a ZipMap's, cannot be served and have no entry.
    scale is the magnitude of the numbers that the outputs are sums of: the absolute part
    of the error bound is in steps of it. exact says that nothing but FP32 additions in
    the order of the trees and comparisons makes the float outputs, so that two engines
    must agree in every bit.
    """

    name: str
    exporter: str
    graph: onnx.ModelProto
    inputs: dict
    outputs: dict
    config: str | None = COMPLETED
    scale: float = 1.0
    exact: bool = False
    fixture: bool = False


def tensors(values):
    """Name and datatype of each graph input or output that is a tensor."""
    return {
        value.name: DATATYPES[value.type.tensor_type.elem_type]
        for value in values
        if value.type.HasField("tensor_type")
    }


def number(value):
    """The shortest text that gives an input's value again; null for NaN."""
    return None if np.isnan(value) else float(str(value))


def flat(array, datatype):
    array = np.asarray(array)
    if datatype == "BYTES":
        return [str(value) for value in array.ravel()]
    if datatype.startswith("INT"):
        return [int(value) for value in array.ravel()]
    if datatype == "FP32" and array.dtype != np.float32:
        # A prediction in FP64: digits enough for the bound that it is held to.
        return [float(f"{value:.10g}") for value in array.ravel()]
    return [number(value) for value in array.ravel()]


def described(case, rows):
    """The case as the test reads it, of its first rows."""
    sources, results = tensors(case.graph.graph.input), tensors(case.graph.graph.output)
    if sources.keys() != case.inputs.keys() or results.keys() != case.outputs.keys():
        raise ValueError(f"{case.name}: the graph has {sources} -> {results}, the case {[*case.inputs]} -> {[*case.outputs]}")
    described = {"model": case.name, "exporter": case.exporter, "exact": case.exact}
    described["inputs"] = [
        {"name": name, "datatype": datatype, "shape": list(case.inputs[name].shape[1:]), "values": flat(case.inputs[name][:rows], datatype)}
        for name, datatype in sources.items()
    ]
    described["outputs"] = [
        {"name": name, "datatype": datatype, "absolute": STEP * case.scale, "values": flat(case.outputs[name][:rows], datatype)}
        for name, datatype in results.items()
    ]
    return described | {"rows": min(rows, len(next(iter(case.inputs.values()))))}


def strip(message):
    """Takes out what no engine reads: notes, among them where in which file a node was
    written, and the types that are inferred again."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props", "value_info"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                strip(part)


def write(case, folder, rows):
    """Writes the model into FOLDER/models and the rest into FOLDER/cases, and returns
    the bytes written."""
    model = folder / "models" / case.name
    (model / "1").mkdir(parents=True)
    graph = case.graph.SerializeToString()
    (model / "1" / "model.onnx").write_bytes(graph)
    if case.config is not None:
        (model / "config.pbtxt").write_text(case.config)
    text = json.dumps(described(case, rows))
    (folder / "cases").mkdir(exist_ok=True)
    (folder / "cases" / f"{case.name}.json").write_text(text + "\n")
    return len(graph) + len(text)
