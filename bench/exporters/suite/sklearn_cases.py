# SPDX-License-Identifier: Apache-2.0
"""How an estimator of scikit-learn becomes a case."""

import numpy as np
import skl2onnx
import skl2onnx.common._container
from skl2onnx.common.data_types import FloatTensorType

from .case import COMPLETED, OPSET, Case, tensors

_make_node = skl2onnx.common._container.make_node


def _make_node_of_integers(*args, **attributes):
    """skl2onnx 1.20 gives booleans where HistGradientBoosting's nodes want integers,
    which onnx took until 1.20 and refuses since."""
    for name, value in attributes.items():
        if isinstance(value, list) and any(isinstance(v, (bool, np.bool_)) for v in value):
            attributes[name] = [int(v) for v in value]
    return _make_node(*args, **attributes)


skl2onnx.common._container.make_node = _make_node_of_integers


def export(model, types, options=None, opset=None):
    return skl2onnx.to_onnx(model, initial_types=types, options=options, target_opset=opset or OPSET)


# What the second output of a graph may be, in the order in which exporters choose.
SCORES = ("predict_proba", "decision_function", "transform")


def answers(model, graph, rows):
    """What the estimator says, under the names that the exporter gave: label and scores
    of a classifier, a clustering or a detector of outliers, the value of a regressor, or what a
    transformer makes of the rows."""
    names = [value.name for value in graph.graph.output]
    if hasattr(model, "predict"):
        values = [model.predict(rows)]
    else:
        values = [model.transform(rows)]
    if len(names) > 1:
        score = next(getattr(model, score) for score in SCORES if hasattr(model, score))
        values.append(score(rows))
    served = tensors(graph.graph.output)
    return {name: value for name, value in zip(names, values, strict=True) if name in served}


def case(name, model, table, *, options=None, opset=None, floats=FloatTensorType, config=COMPLETED, fixture=False, **how):
    """Fits and exports an estimator whose input is one tensor of all features.

    The library calculates in FP64 from the same FP32 values as the graph, so that what
    differs is what the graph loses.
    """
    model.fit(table.train.astype(np.float64), table.truth)
    graph = export(model, [("features", floats([None, table.rows.shape[1]]))], options, opset)
    outputs = answers(model, graph, table.rows.astype(np.float64))
    return Case(name, "sklearn", graph, {"features": table.rows}, outputs, config=config, fixture=fixture, **how)


def classifier(name, model, table, *, zipmap=False, **how):
    return case(name, model, table, options={"zipmap": zipmap}, **how)


def regressor(name, model, table, **how):
    """A regressor's error is in steps of its largest value."""
    how.setdefault("scale", max(1.0, float(np.abs(table.truth).max())))
    return case(name, model, table, **how)
