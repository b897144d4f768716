# SPDX-License-Identifier: Apache-2.0
"""LightGBM's models."""

import copy

import lightgbm
import numpy as np
import onnxmltools
from onnxmltools.convert.common.data_types import FloatTensorType

from .case import BATCHED, COMPLETED, OPSET, Case, tensors
from .data import quarter

SMALL = {"n_estimators": 20, "num_leaves": 12, "random_state": 1, "n_jobs": 2, "verbose": -1, "deterministic": True}


def cases(data):
    payments, prices = data.payments, data.electricity
    tiers = prices.learning(quarter(prices.truth))
    first = classifier("lightgbm", lightgbm.LGBMClassifier(**SMALL | {"n_estimators": 50}), data.all_payments)
    yield first
    yield batched(first)
    yield classifier("lightgbm_multiclass", lightgbm.LGBMClassifier(**SMALL), tiers)
    yield classifier("lightgbm_zipmap", lightgbm.LGBMClassifier(**SMALL), payments, zipmap=True)
    yield classifier("lightgbm_missing", lightgbm.LGBMClassifier(**SMALL), data.missing(), fixture=True)
    yield classifier("lightgbm_categories", lightgbm.LGBMClassifier(**SMALL), data.categories, categories=[1, 8], fixture=True)
    for name, how in {"dart": {"boosting_type": "dart"}, "goss": {"data_sample_strategy": "goss"}}.items():
        yield classifier(f"lightgbm_{name}", lightgbm.LGBMClassifier(**SMALL, **how), payments)
    yield regressor("lightgbm_regressor", lightgbm.LGBMRegressor(**SMALL), prices, exact=True, fixture=True)
    yield regressor("lightgbm_categories_regressor", lightgbm.LGBMRegressor(**SMALL), data.categories, categories=[1, 8], exact=True)
    yield regressor("lightgbm_tweedie", lightgbm.LGBMRegressor(**SMALL, objective="tweedie"), prices.learning(prices.truth + 0.1))
    groups = [20] * (len(tiers.train) // 20)
    yield regressor("lightgbm_ranker", lightgbm.LGBMRanker(**SMALL), tiers, groups=groups, exact=True)
    yield booster(payments)


def export(model, width, zipmap=False):
    types = [("features", FloatTensorType([None, width]))]
    return onnxmltools.convert_lightgbm(model, initial_types=types, target_opset=OPSET[""], zipmap=zipmap)


def classifier(name, model, table, zipmap=False, categories="auto", **how):
    model.fit(table.train, table.truth, categorical_feature=categories)
    graph = export(model, table.rows.shape[1], zipmap)
    return labelled(name, graph, model.predict(table.rows), model.predict_proba(table.rows), table, **how)


def labelled(name, graph, labels, probabilities, table, **how):
    outputs = dict(zip((value.name for value in graph.graph.output), (labels, probabilities), strict=True))
    served = tensors(graph.graph.output)
    outputs = {name: value for name, value in outputs.items() if name in served}
    return Case(name, "lightgbm", graph, {"features": table.rows}, outputs, config=COMPLETED, **how)


def batched(case):
    """The exporter says that there is one label for all rows; without a declared
    shape that is right, a model cannot be batched."""
    graph = copy.deepcopy(case.graph)
    graph.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "rows"
    return Case(case.name + "_batched", "lightgbm", graph, case.inputs, case.outputs, config=BATCHED)


def regressor(name, model, table, categories="auto", groups=None, **how):
    model.fit(table.train, table.truth, categorical_feature=categories, **({"group": groups} if groups else {}))
    graph = export(model, table.rows.shape[1])
    outputs = {graph.graph.output[0].name: model.predict(table.rows)}
    scale = max(1.0, float(np.abs(table.truth).max()))
    return Case(name, "lightgbm", graph, {"features": table.rows}, outputs, scale=scale, **how)


def booster(table):
    """A model of the library's own interface."""
    parameters = {"objective": "binary", "num_leaves": 12, "verbose": -1, "seed": 1, "num_threads": 2, "deterministic": True}
    model = lightgbm.train(parameters, lightgbm.Dataset(table.train, table.truth), 10)
    positive = model.predict(table.rows)
    probabilities = np.column_stack([1 - positive, positive])
    return labelled("lightgbm_booster", export(model, table.rows.shape[1]), (positive > 0.5).astype(np.int64), probabilities, table)
