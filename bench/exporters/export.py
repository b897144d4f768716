# SPDX-License-Identifier: Apache-2.0
"""Trains classifiers of other people's libraries on card payments and exports them.

usage: export.py TRANSACTIONS.parquet FOLDER

FOLDER/models becomes a model repository, with each model as its exporter writes it.
FOLDER/cases.json holds payments that no model was trained on, and for each model what
its library, not the exported graph, predicts for them.
"""

import json
import pathlib
import sys

import lightgbm
import numpy as np
import onnx
import onnxmltools
import pyarrow.parquet
import skl2onnx
import xgboost
from onnxmltools.convert.common import data_types as tools_types
from skl2onnx.common import data_types
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROWS = 50_000
HELD_OUT_ROWS = 5_000
TEST_ROWS = 500

# The latest operators that all the exporters write.
OPSET = {"": 15, "ai.onnx.ml": 3}

# The configurations to serve with; none at all leaves everything to be completed
# from the graph.
BATCHED = "max_batch_size: 64\ndynamic_batching { }\n"
COMPLETED = None


def read_payments(path):
    """The last payments, in time order."""
    names = ["event_timestamp", "customer_id", "terminal_id", "amount", "is_fraud"]
    table = pyarrow.parquet.read_table(path, columns=names)
    table = table.slice(table.num_rows - ROWS)
    return {name: table[name].to_numpy() for name in names}


def so_far(key, value):
    """For each row, the sum of value over the rows up to it that have its key."""
    order = np.argsort(key, kind="stable")
    total = np.cumsum(value[order])
    starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
    before = np.r_[0, total][starts]
    sums = np.empty(len(key))
    sums[order] = total - np.repeat(before, np.diff(np.r_[starts, len(key)]))
    return sums


def features(payments):
    """What a server could know at the time of each payment, as FP32."""
    time, amount, customer = payments["event_timestamp"], payments["amount"], payments["customer_id"]
    hour = time.astype("datetime64[h]").astype(np.int64) % 24
    weekday = (time.astype("datetime64[D]").astype(np.int64) + 3) % 7
    count = so_far(customer, np.ones(ROWS))
    mean = so_far(customer, amount) / count
    terminal_count = so_far(payments["terminal_id"], np.ones(ROWS))
    columns = [amount, hour, hour <= 6, weekday >= 5, count, mean, amount / mean, terminal_count]
    return np.column_stack(columns).astype(np.float32)


def export_sklearn(model, width, zipmap=False, floats=data_types.FloatTensorType):
    types = [("payment", floats([None, width]))]
    return skl2onnx.to_onnx(model, initial_types=types, options={"zipmap": zipmap}, target_opset=OPSET)


def export_sklearn_double(model, width):
    return export_sklearn(model, width, floats=data_types.DoubleTensorType)


def export_sklearn_zipmap(model, width):
    return export_sklearn(model, width, zipmap=True)


def export_lightgbm(model, width):
    types = [("payment", tools_types.FloatTensorType([None, width]))]
    return onnxmltools.convert_lightgbm(model, initial_types=types, target_opset=OPSET[""], zipmap=False)


def export_lightgbm_batched(model, width):
    """The exporter says that there is one label for all rows; without a declared
    shape that is right, a model cannot be batched."""
    graph = export_lightgbm(model, width)
    graph.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "rows"
    return graph


def export_xgboost(model, width):
    types = [("payment", tools_types.FloatTensorType([None, width]))]
    return onnxmltools.convert_xgboost(model, initial_types=types, target_opset=OPSET[""])


def logistic():
    return make_pipeline(StandardScaler(), LogisticRegression())


def models():
    """Name, classifier, exporter and configuration of each model."""
    network = MLPClassifier((32, 16), early_stopping=True, n_iter_no_change=3, random_state=1)
    forest = RandomForestClassifier(50, max_depth=8, random_state=1)
    boosting = GradientBoostingClassifier(n_estimators=30, random_state=1)
    lightgbm_trees = lightgbm.LGBMClassifier(n_estimators=50, random_state=1, n_jobs=2, verbose=-1)
    xgboost_trees = xgboost.XGBClassifier(n_estimators=50, max_depth=6, random_state=1, n_jobs=2)
    return [
        ("sklearn_logistic", logistic(), export_sklearn, BATCHED),
        ("sklearn_logistic_double", logistic(), export_sklearn_double, COMPLETED),
        ("sklearn_logistic_zipmap", logistic(), export_sklearn_zipmap, BATCHED),
        ("sklearn_mlp", make_pipeline(StandardScaler(), network), export_sklearn, BATCHED),
        ("sklearn_forest", forest, export_sklearn, BATCHED),
        ("sklearn_boosting", boosting, export_sklearn, COMPLETED),
        ("lightgbm", lightgbm_trees, export_lightgbm, COMPLETED),
        ("lightgbm_batched", lightgbm_trees, export_lightgbm_batched, BATCHED),
        ("xgboost", xgboost_trees, export_xgboost, BATCHED),
    ]


def write_model(folder, graph, config):
    version = folder / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(graph.SerializeToString())
    if config is not None:
        (folder / "config.pbtxt").write_text(config)


def case(name, classifier, graph, rows):
    """The library's own answers, under the names that the exporter gave."""
    (source,), (label, probabilities) = graph.graph.input, graph.graph.output
    double = source.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
    answers = {
        "model": name,
        "input": {"name": source.name, "datatype": "FP64" if double else "FP32"},
        "label": {"name": label.name, "values": classifier.predict(rows).tolist()},
    }
    if probabilities.type.HasField("tensor_type"):  # otherwise it cannot be served
        values = classifier.predict_proba(rows).tolist()
        answers["probabilities"] = {"name": probabilities.name, "values": values}
    return answers


def main(transactions, folder):
    payments = read_payments(transactions)
    rows, truth = features(payments), payments["is_fraud"].astype(np.int64)
    train, train_truth = rows[:-HELD_OUT_ROWS], truth[:-HELD_OUT_ROWS]
    # All frauds and some of the rest, so that both labels are among the predictions.
    frauds_first = np.argsort(-truth[-HELD_OUT_ROWS:], kind="stable")
    test = rows[-HELD_OUT_ROWS:][frauds_first[:TEST_ROWS]]

    cases = []
    for name, classifier, export, config in models():
        classifier.fit(train, train_truth)
        graph = export(classifier, rows.shape[1])
        write_model(folder / "models" / name, graph, config)
        cases.append(case(name, classifier, graph, test))
    (folder / "cases.json").write_text(json.dumps({"rows": test.tolist(), "cases": cases}))


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
