# SPDX-License-Identifier: Apache-2.0
"""Trains a LightGBM model for `millrace train` (method: command) and writes it as ONNX.

    python3 -m venv venv && venv/bin/pip install --requirement requirements.txt

In training.yaml:

    method: command
    parameters:
      program: venv/bin/python examples/trainers/lightgbm/train.py
      parameters: '{"num_leaves": 31, "learning_rate": 0.05}'

The file that MILLRACE_TASK names says what to read, what to learn and where to write. The
parameters are LightGBM's; rounds and early_stopping count trees.
"""

import json
import os

import lightgbm
import numpy
import pyarrow.parquet
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

OBJECTIVES = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}


def read(task, path, reference=None):
    table = pyarrow.parquet.read_table(path)
    columns = [table[f["name"]].to_numpy() for f in task["features"]]  # null becomes NaN
    weight = table[task["weight"]].to_numpy() if task.get("weight") else None
    x = numpy.stack(columns, axis=1).astype("float32")
    return lightgbm.Dataset(x, table[task["label"]].to_numpy(), weight=weight, reference=reference, free_raw_data=False)


def progress(total):
    """Tells each round's losses, as lines of JSON."""
    def tell(env):
        metrics = {f"{name}_loss": value for name, _, value, _ in env.evaluation_result_list}
        print(json.dumps({"step": env.iteration + 1, "total": total, "metrics": metrics}), flush=True)
    return tell


def main():
    with open(os.environ["MILLRACE_TASK"]) as file:
        task = json.load(file)
    parameters = dict(task["parameters"])
    rounds, patience = parameters.pop("rounds", 100), parameters.pop("early_stopping", 20)
    parameters |= {
        "objective": OBJECTIVES[task["task"]], "seed": task["seed"] % 2**31, "num_threads": task["workers"],
        "deterministic": True, "force_row_wise": True, "verbose": -1,
        "monotone_constraints": [f.get("monotone", 0) for f in task["features"]],
    }
    if task["task"] == "multiclass":
        parameters["num_class"] = len(task["classes"])
    train = read(task, task["train"])
    sets, names, callbacks = [train], ["train"], [progress(rounds)]
    if task.get("valid"):
        sets, names = sets + [read(task, task["valid"], train)], names + ["valid"]
        callbacks.append(lightgbm.early_stopping(patience, verbose=False))
    model = lightgbm.train(parameters, train, rounds, valid_sets=sets, valid_names=names, callbacks=callbacks)

    # Probabilities as a plain tensor [rows, classes], without a map for each row. Categories
    # are numbers to this model: the converter does not know LightGBM's categorical splits.
    onnx = convert_lightgbm(model, "model", [("input", FloatTensorType([None, len(task["features"])]))],
                            zipmap=False, target_opset=15)
    with open(task["model"], "wb") as file:
        file.write(onnx.SerializeToString())


if __name__ == "__main__":
    main()
