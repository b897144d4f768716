# SPDX-License-Identifier: Apache-2.0
"""Writes xgboost_contributions.json: trees of XGBoost with the weights of rows that came
by each node (cover), rows with missing values, and the contributions that XGBoost gives.

    pip install xgboost==3.2.0 numpy==2.4.6
    python xgboost_contributions.py > xgboost_contributions.json
"""

import json
import sys

import numpy as np
import xgboost

random = np.random.default_rng(5)
x = random.standard_normal((400, 5)).astype(np.float32).round(2)
y = (x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3] > 0).astype(np.float32)
x[random.random(x.shape) < 0.1] = np.nan
booster = xgboost.train(
    {"objective": "binary:logistic", "max_depth": 4, "eta": 0.3, "base_score": 0.5, "seed": 1, "nthread": 1},
    xgboost.DMatrix(x, y),
    6,
)

nodes = []


def add(tree, node):
    leaf = "leaf" in node
    nodes.append({
        "tree": tree,
        "id": node["nodeid"],
        "leaf": leaf,
        "value": node["leaf"] if leaf else node["split_condition"],
        "feature": 0 if leaf else int(node["split"][1:]),
        "yes": 0 if leaf else node["yes"],
        "no": 0 if leaf else node["no"],
        "missing_yes": not leaf and node["missing"] == node["yes"],
        "cover": node["cover"],
    })
    for child in node.get("children", []):
        add(tree, child)


for t, text in enumerate(booster.get_dump(dump_format="json", with_stats=True)):
    add(t, json.loads(text))

rows = x[:20]
contributions = booster.predict(xgboost.DMatrix(rows), pred_contribs=True)
json.dump({
    "versions": {"xgboost": xgboost.__version__, "numpy": np.__version__},
    "nodes": nodes,
    "rows": [[None if np.isnan(v) else float(v) for v in row] for row in rows],
    "contributions": [[float(v) for v in row] for row in contributions],
}, sys.stdout)
print()
