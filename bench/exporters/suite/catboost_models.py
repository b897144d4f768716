# SPDX-License-Identifier: Apache-2.0
"""CatBoost's models, which it exports itself.

Its classifiers end in a ZipMap, whose output cannot be served; each is here as it was
exported, and once more without the ZipMap, which then gives the probabilities.
"""

import copy
import pathlib
import tempfile

import catboost
import numpy as np
import onnx

from .case import Case, tensors
from .data import quarter
from .sklearn_models import TIERS

SMALL = {"iterations": 15, "depth": 4, "random_seed": 1, "thread_count": 2, "verbose": 0, "allow_writing_files": False}


def cases(data):
    payments, prices = data.payments, data.electricity
    tiers = prices.learning(quarter(prices.truth))
    binary = case("catboost", catboost.CatBoostClassifier(**SMALL), payments, fixture=True)
    yield from (binary, without_zipmap(binary))
    multiclass = case("catboost_multiclass", catboost.CatBoostClassifier(**SMALL | {"depth": 3}), tiers, fixture=True)
    yield from (multiclass, without_zipmap(multiclass))
    yield case("catboost_strings", catboost.CatBoostClassifier(**SMALL | {"depth": 3}), tiers.learning(TIERS[tiers.truth]), fixture=True)
    for mode in ("Min", "Max"):
        lacking = case(f"catboost_missing_{mode.lower()}", catboost.CatBoostClassifier(**SMALL, nan_mode=mode), data.missing(), fixture=True)
        yield without_zipmap(lacking)
    yield case("catboost_regressor", catboost.CatBoostRegressor(**SMALL), prices, exact=True, fixture=True)
    yield case("catboost_absolute", catboost.CatBoostRegressor(**SMALL, loss_function="MAE"), prices, exact=True)


def export(model):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.onnx"
        model.save_model(str(file), format="onnx")
        return onnx.load(file)


def case(name, model, table, **how):
    model.fit(table.train, table.truth)
    graph = export(model)
    values = {"label": lambda: model.predict(table.rows), "predictions": lambda: model.predict(table.rows), "probabilities": lambda: model.predict_proba(table.rows)}
    outputs = {result: values[result]() for result in (value.name for value in graph.graph.output)}
    case = Case(name, "catboost", graph, {"features": table.rows}, outputs, **how)
    case.scale = max(1.0, float(np.abs(table.truth).max())) if "predictions" in outputs else 1.0
    return served(case)


def served(case):
    """Leaves out what cannot be served; all is still in the graph."""
    names = tensors(case.graph.graph.output)
    case.all_outputs, case.outputs = case.outputs, {name: case.outputs[name] for name in names}
    return case


def without_zipmap(case):
    graph = copy.deepcopy(case.graph)
    (zipmap,) = (node for node in graph.graph.node if node.op_type == "ZipMap")
    source, result = zipmap.input[0], zipmap.output[0]
    graph.graph.node.remove(zipmap)
    for node in graph.graph.node:
        for i, name in enumerate(node.output):
            if name == source:
                node.output[i] = result
    (old,) = (value for value in graph.graph.output if value.name == result)
    graph.graph.output.remove(old)
    classes = case.all_outputs[result].shape[1]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(result, onnx.TensorProto.FLOAT, ["N", classes]))
    return Case(case.name + "_probabilities", "catboost", graph, case.inputs, case.all_outputs, fixture=case.fixture)
