# SPDX-License-Identifier: Apache-2.0
"""Trains a scikit-learn model for `millrace train` (method: command) and writes it as ONNX.

    python3 -m venv venv && venv/bin/pip install --requirement requirements.txt

In training.yaml:

    method: command
    parameters:
      program: venv/bin/python examples/trainers/sklearn/train.py
      parameters: '{"trees": 200, "depth": 8}'

The file that MILLRACE_TASK names says what to read, what to learn and where to write.
"""

import json
import os

import numpy
import pyarrow.parquet
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.pipeline import make_pipeline


def read(task, path):
    table = pyarrow.parquet.read_table(path)
    columns = [table[f["name"]].to_numpy() for f in task["features"]]  # null becomes NaN
    weight = table[task["weight"]].to_numpy() if task.get("weight") else None
    return numpy.stack(columns, axis=1).astype("float32"), table[task["label"]].to_numpy(), weight


def main():
    with open(os.environ["MILLRACE_TASK"]) as file:
        task = json.load(file)
    if any(f.get("monotone") for f in task["features"]):
        raise SystemExit("random forests cannot keep predictions monotone")
    parameters = task["parameters"]
    x, y, weight = read(task, task["train"])
    classify = task["task"] != "regression"
    forest = (RandomForestClassifier if classify else RandomForestRegressor)(
        n_estimators=parameters.get("trees", 100), max_depth=parameters.get("depth", 8),
        min_samples_leaf=parameters.get("leaf", 20), random_state=task["seed"] % 2**32, n_jobs=task["workers"])
    model = make_pipeline(SimpleImputer(keep_empty_features=True), forest)
    model.fit(x, y, **{f"{model.steps[-1][0]}__sample_weight": weight})

    # Probabilities as a plain tensor [rows, classes], without a map for each row.
    options = {id(model): {"zipmap": False}} if classify else None
    onnx = to_onnx(model, x[:1], options=options, target_opset={"": task["opset"], "ai.onnx.ml": task["opset_ml"]})
    with open(task["model"], "wb") as file:
        file.write(onnx.SerializeToString())

    if task.get("valid"):
        x, y, weight = read(task, task["valid"])
        if classify:
            metrics = {"valid_loss": log_loss(y, model.predict_proba(x), labels=model.classes_, sample_weight=weight)}
        else:
            metrics = {"valid_loss": mean_squared_error(y, model.predict(x), sample_weight=weight)}
        with open(task["metrics"], "w") as file:
            json.dump(metrics, file)


if __name__ == "__main__":
    main()
