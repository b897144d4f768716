# SPDX-License-Identifier: Apache-2.0
"""Writes golden.json: the weights that scikit-learn gives to standardised made-up rows.

    pip install numpy==2.4.6 scikit-learn==1.5.2
    python golden.py > golden.json
"""

import json

import numpy as np
import sklearn
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge

random = np.random.default_rng(3)
ROWS, FEATURES = 160, 6


def rows():
    x = random.normal(0, 1, (ROWS, FEATURES)) * np.array([1, 10, 0.1, 1, 300, 1]) + np.array([0, 5, 1, -3, 1000, 0])
    x[:, 3] += x[:, 0]  # related columns
    return np.round(x, 3)


def standardised(x, weights=None):
    mean = np.average(x, axis=0, weights=weights)
    return (x - mean) / np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))


cases = []


def add(name, task, x, y, weights, l1, l2, fitted):
    cases.append({
        "name": name, "task": task, "columns": x.T.tolist(), "labels": np.asarray(y, float).tolist(),
        "weights": None if weights is None else weights.tolist(), "l1": l1, "l2": l2,
        "coefficients": np.atleast_2d(fitted.coef_).tolist(),
        "intercepts": np.atleast_1d(fitted.intercept_).tolist(),
    })


truth = np.array([1.0, -0.7, 0.5, 0.0, 0.3, 0.0])
for name, task, penalty, c, weighted in (
    ("logistic", "binary", "l2", 1.0, False),
    ("logistic, weighted", "binary", "l2", 0.05, True),
    ("logistic, l1", "binary", "l1", 0.05, False),
    ("logistic, elastic net", "binary", "elasticnet", 0.1, False),
    ("multinomial", "multiclass", "l2", 0.5, False),
    ("multinomial, l1", "multiclass", "l1", 0.1, False),
):
    x = rows()
    weights = random.integers(1, 4, ROWS).astype(float) if weighted else None
    z = standardised(x, weights)
    score = z @ truth
    if task == "binary":
        y = (random.random(ROWS) < 1 / (1 + np.exp(-score + 0.5))).astype(int)
    else:
        y = np.argmax(np.stack([score, -score, 0.5 * z[:, 5] + 0.3], 1) + random.gumbel(size=(ROWS, 3)), 1)
    total = ROWS if weights is None else weights.sum()
    share = {"l2": 0.0, "l1": 1.0, "elasticnet": 0.4}[penalty]
    model = LogisticRegression(
        penalty=penalty, C=c, tol=1e-10, max_iter=100000, l1_ratio=share if penalty == "elasticnet" else None,
        solver="lbfgs" if penalty == "l2" else "saga", random_state=0)
    model.fit(z, y, weights)
    add(name, task, x, y, weights, share / (c * total), (1 - share) / (c * total), model)

for name, model, l1, l2 in (
    ("ridge", Ridge(alpha=20.0, tol=1e-12), 0.0, 20.0 / ROWS),
    ("least squares", Ridge(alpha=0.0, tol=1e-12), 0.0, 0.0),
    ("lasso", Lasso(alpha=5.0, tol=1e-12, max_iter=100000), 5.0, 0.0),
    ("elastic net", ElasticNet(alpha=3.0, l1_ratio=0.3, tol=1e-12, max_iter=100000), 0.9, 2.1),
):
    x = rows()
    z = standardised(x)
    y = np.round(50 * (z @ truth) + 200 + random.normal(0, 20, ROWS), 2)
    model.fit(z, y)
    add(name, "regression", x, y, None, l1, l2, model)
print(json.dumps({"versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__}, "cases": cases}))
