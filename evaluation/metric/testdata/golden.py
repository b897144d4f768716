# SPDX-License-Identifier: Apache-2.0
"""Writes golden.json: values of metrics by scikit-learn.

    pip install scikit-learn==1.9.1 && python golden.py

Null stands for NaN, or for a value that is not defined (scikit-learn raises an error).
"""

import json
import os
import warnings

import numpy as np
import scipy
import sklearn
from sklearn import metrics as m

warnings.simplefilter("ignore")
rng = np.random.default_rng(5)


def value(f, *args, **kwargs):
    try:
        v = float(f(*args, **kwargs))
    except ValueError:
        return None
    return v if np.isfinite(v) else None


def binary(name, y, p, w=None):
    y, p = np.asarray(y, float), np.asarray(p, float)
    k = {"sample_weight": w}
    out = {
        "roc_auc": value(m.roc_auc_score, y, p, **k),
        "average_precision": value(m.average_precision_score, y, p, **k) if y.any() else None,
        "log_loss": value(m.log_loss, y, p, labels=[0, 1], **k),
        "brier": value(m.brier_score_loss, y, p, pos_label=1, **k),
    }
    fpr, tpr, _ = m.roc_curve(y, p, drop_intermediate=False, **k)
    defined = 0 < y.sum() < len(y)
    out["ks"] = float(np.abs(tpr - fpr).max()) if defined else None
    for limit in (0, 0.01, 0.2, 1):
        out[f"recall@fpr={limit}"] = float(tpr[fpr <= limit].max()) if defined else None
    for t in (0.5, 0.3, 1.0):
        d, at = (p >= t).astype(float), "" if t == 0.5 else f"@threshold={t}"
        out["accuracy" + at] = value(m.accuracy_score, y, d, **k)
        out["balanced_accuracy" + at] = value(m.balanced_accuracy_score, y, d, **k)
        out["precision" + at] = value(m.precision_score, y, d, zero_division=0, **k)
        out["recall" + at] = value(m.recall_score, y, d, zero_division=np.nan, **k)
        out["f1" + at] = value(m.f1_score, y, d, zero_division=np.nan, **k)
        out["fbeta@beta=2" + at.replace("@", ",")] = value(m.fbeta_score, y, d, beta=2, zero_division=np.nan, **k)
        out["specificity" + at] = value(m.recall_score, y, d, pos_label=0, zero_division=np.nan, **k)
        out["mcc" + at] = value(m.matthews_corrcoef, y, d, **k)
        out["kappa" + at] = value(m.cohen_kappa_score, y, d, labels=[0, 1], **k)
    return case(name, "binary", y, p, 1, w, out)


def multiclass(name, y, p, w=None):
    y, p = np.asarray(y, float), np.asarray(p, float)
    n, d = p.shape[1], np.argmax(p, axis=1).astype(float)
    k, labels = {"sample_weight": w}, np.arange(n)
    out = {
        "log_loss": value(m.log_loss, y, p, labels=labels, **k),
        "brier": value(m.brier_score_loss, y, p, labels=labels, scale_by_half=False, **k),
        "accuracy": value(m.accuracy_score, y, d, **k),
        "balanced_accuracy": value(m.balanced_accuracy_score, y, d, **k),
        "mcc": value(m.matthews_corrcoef, y, d, **k),
        "kappa": value(m.cohen_kappa_score, y, d, labels=labels, **k),
    }
    if len(set(y)) == n:  # it takes no sample without one of the classes
        out["roc_auc"] = value(m.roc_auc_score, y, p, multi_class="ovr", average="macro", **k)
        out["roc_auc_weighted"] = value(m.roc_auc_score, y, p, multi_class="ovr", average="weighted", **k)
        one = np.eye(n)[y.astype(int)]
        out["average_precision"] = value(m.average_precision_score, one, p, average="macro", **k)
        out["average_precision_weighted"] = value(m.average_precision_score, one, p, average="weighted", **k)
    for average in ("macro", "micro", "weighted"):
        out["precision_" + average] = value(m.precision_score, y, d, average=average, zero_division=0, **k)
        out["recall_" + average] = value(m.recall_score, y, d, average=average, zero_division=0, **k)
        out["f1_" + average] = value(m.f1_score, y, d, average=average, zero_division=0, **k)
    for c in range(n):
        one, of = (y == c).astype(float), (d == c).astype(float)
        if 0 < one.sum() < len(one):
            out[f"roc_auc:{c}"] = value(m.roc_auc_score, one, p[:, c], **k)
            out[f"average_precision:{c}"] = value(m.average_precision_score, one, p[:, c], **k)
        out[f"recall:{c}"] = value(m.recall_score, one, of, zero_division=np.nan, **k)
        out[f"precision:{c}"] = value(m.precision_score, one, of, zero_division=0, **k)
        out[f"f1:{c}"] = value(m.f1_score, one, of, zero_division=np.nan, **k)
        out[f"fbeta:{c}@beta=0.5"] = value(m.fbeta_score, one, of, beta=0.5, zero_division=np.nan, **k)
    for top in range(1, n):
        out[f"top_k_accuracy@{top}"] = value(m.top_k_accuracy_score, y, p, k=top, labels=labels, **k)
    return case(name, "multiclass", y, p, n, w, out)


def regression(name, y, p, w=None):
    y, p = np.asarray(y, float), np.asarray(p, float)
    k = {"sample_weight": w}
    out = {
        "mae": value(m.mean_absolute_error, y, p, **k),
        "mse": value(m.mean_squared_error, y, p, **k),
        "rmse": value(m.root_mean_squared_error, y, p, **k),
        "mape": value(m.mean_absolute_percentage_error, y, p, **k),
        "median_ae": value(m.median_absolute_error, y, p, **k),
        "max_error": value(m.max_error, y, p),
        "r2": value(m.r2_score, y, p, **k) if len(set(y)) > 1 else None,
        "pinball@0.9": value(m.mean_pinball_loss, y, p, alpha=0.9, **k),
        "pinball@0.25": value(m.mean_pinball_loss, y, p, alpha=0.25, **k),
    }
    return case(name, "regression", y, p, 1, w, out)


def ranking(name, y, p, queries, tied):
    y, p, queries = np.asarray(y, float), np.asarray(p, float), np.asarray(queries)
    groups = [queries == q for q in sorted(set(queries))]
    out = {}
    for top in (1, 3, None):
        at = "" if top is None else f"@{top}"
        out["ndcg" + at] = float(np.mean([m.ndcg_score([y[g]], [p[g]], k=top) for g in groups]))
    if not tied:  # ties are a matter of definition
        relevant = [g for g in groups if y[g].max() > 0]
        out["map"] = float(np.mean([m.average_precision_score(y[g] > 0, p[g]) for g in relevant]))
        out["mrr"] = float(np.mean([1 / (1 + np.argmax((y[g] > 0)[np.argsort(-p[g])])) for g in relevant]))
    return case(name, "ranking", y, p, 1, None, out, queries)


def case(name, task, y, p, outputs, w, out, queries=None):
    return {
        "name": name, "task": task, "outputs": outputs, "labels": y.tolist(), "scores": p.ravel().tolist(),
        "weights": None if w is None else np.asarray(w).tolist(),
        "queries": None if queries is None else queries.tolist(), "metrics": out,
    }


def simplex(rows, classes, sharp=1.0):
    p = rng.dirichlet(np.full(classes, sharp), rows)
    return p / p.sum(axis=1, keepdims=True)


def main():
    n = 60
    y, p, w = rng.integers(0, 2, n), rng.random(n), rng.random(n) + 0.1
    cases = [
        binary("random", y, p), binary("weighted", y, p, w),
        binary("ties", y, np.round(p, 1)), binary("ties, weighted", y, np.round(p, 1), w),
        binary("all scores equal", y, np.full(n, 0.5)), binary("good", y, np.clip(y * 0.6 + p * 0.4, 0, 1)),
        binary("reversed", y, 1 - np.clip(y * 0.6 + p * 0.4, 0, 1)), binary("rare", (p > 0.95).astype(int), rng.random(n)),
        binary("extreme, right", [0, 0, 1, 1], [0, 1e-300, 1, 1 - 1e-16]), binary("extreme, wrong", [0, 0, 1, 1], [1, 1 - 1e-16, 0, 1e-300]),
        binary("positives only", np.ones(5), p[:5]), binary("negatives only", np.zeros(5), p[:5]),
        binary("one positive row", [1], [0.7]), binary("one negative row", [0], [0.7]), binary("one row, at 0", [0], [0.0]),
        binary("two rows", [0, 1], [0.2, 0.7], [3, 0.5]), binary("denormal", [0, 1, 0, 1], [5e-324, 1e-323, 0, 0]),
    ]
    y4 = rng.integers(0, 4, n)
    y4[:4] = range(4)
    q = simplex(n, 4)
    q2 = np.round(rng.integers(0, 3, (n, 4)) + 0.0, 0) + 1
    q2 /= q2.sum(axis=1, keepdims=True)
    cases += [
        multiclass("random", y4, q), multiclass("weighted", y4, q, w), multiclass("ties", y4, q2), multiclass("ties, weighted", y4, q2, w),
        multiclass("sure", y4, np.eye(4)[y4]), multiclass("sure and wrong", y4, np.eye(4)[(y4 + 1) % 4]),
        multiclass("one class", np.full(6, 2), q[:6]), multiclass("one row", [1], q[:1]),
        multiclass("a class missing", y4 % 3, q), multiclass("decided for one class", y4, np.tile([0.1, 0.7, 0.1, 0.1], (n, 1))),
        multiclass("three classes", y4 % 3, simplex(n, 3, 0.3), w),
    ]
    z = rng.normal(0, 3, n)
    cases += [
        regression("random", z, z + rng.normal(0, 1, n)), regression("weighted", z, z + rng.normal(0, 1, n), w),
        regression("odd", z[:9], z[:9] * 1.1), regression("with zeros", np.round(z / 4), np.round(z / 3)),
        regression("large", z * 1e12, z * 1.01e12), regression("constant truth", np.full(5, 2.0), z[:5]),
        regression("one row", [1.5], [2.0]), regression("exact", z, z), regression("whole weights", z, z * 0.5, rng.integers(1, 4, n).astype(float)),
    ]
    queries, rel = np.repeat(np.arange(12), 5), rng.integers(0, 4, n)
    rel[:5] = 0
    cases += [
        ranking("random", rel, p, queries, False), ranking("ties", rel, np.round(p * 2), queries, True),
        ranking("shuffled queries", rel, p, rng.permutation(queries), False),
    ]
    doc = {"versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "scipy": scipy.__version__}, "cases": cases}
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json"), "w") as f:
        json.dump(doc, f, indent=None, separators=(",", ":"))
        f.write("\n")


main()
