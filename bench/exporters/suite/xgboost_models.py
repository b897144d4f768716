# SPDX-License-Identifier: Apache-2.0
"""XGBoost's models."""

import numpy as np
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from .case import BATCHED, COMPLETED, OPSET, Case
from .data import quarter

SMALL = {"n_estimators": 20, "max_depth": 4, "random_state": 1, "n_jobs": 2}


def cases(data):
    payments, prices = data.payments, data.electricity
    tiers = prices.learning(quarter(prices.truth))
    big = SMALL | {"n_estimators": 50, "max_depth": 6}
    yield case("xgboost", xgboost.XGBClassifier(**big), data.all_payments, config=BATCHED)
    yield case("xgboost_multiclass", xgboost.XGBClassifier(**SMALL | {"n_estimators": 8}), tiers)
    yield case("xgboost_missing", xgboost.XGBClassifier(**SMALL), data.missing(), fixture=True)
    yield case("xgboost_base_score", xgboost.XGBClassifier(**SMALL, base_score=0.3), payments)
    yield case("xgboost_forest", xgboost.XGBRFClassifier(**SMALL), payments)
    kinds = {"enable_categorical": True, "feature_types": ["q", "c", "q", "q", "q", "q", "q", "q", "c"]}
    yield case("xgboost_categories", xgboost.XGBClassifier(**SMALL, **kinds), data.categories, fixture=True)
    yield case("xgboost_regressor", xgboost.XGBRegressor(**SMALL), prices, exact=True, fixture=True)
    regression = data.missing()
    regression = regression.learning(regression.train[:, 0])
    yield case("xgboost_missing_regressor", xgboost.XGBRegressor(**SMALL), regression, exact=True)
    yield case("xgboost_leafwise", xgboost.XGBRegressor(**SMALL, grow_policy="lossguide", max_leaves=8), prices, exact=True)
    positive = prices.learning(prices.truth + 0.1)
    for name, objective in {"poisson": "count:poisson", "tweedie": "reg:tweedie", "gamma": "reg:gamma"}.items():
        yield case(f"xgboost_{name}", xgboost.XGBRegressor(**SMALL, objective=objective), positive)


def case(name, model, table, config=COMPLETED, **how):
    model.fit(table.train, table.truth)
    types = [("features", FloatTensorType([None, table.rows.shape[1]]))]
    graph = onnxmltools.convert_xgboost(model, initial_types=types, target_opset=OPSET[""])
    values = [model.predict(table.rows)]
    if len(graph.graph.output) > 1:
        values.append(model.predict_proba(table.rows))
    outputs = {result.name: value for result, value in zip(graph.graph.output, values, strict=True)}
    scale = max(1.0, float(np.abs(table.truth).max()))
    return Case(name, "xgboost", graph, {"features": table.rows}, outputs, config=config, scale=scale, **how)
