# SPDX-License-Identifier: Apache-2.0
"""Writes what NannyML says of the same rows: python golden_nannyml.py (pip install nannyml statsmodels).

Rows are synthetic: a reference and chunks of it whose inputs shift more and more. NannyML
chooses whether it calibrates; the chances that it counts with are written beside its
estimates, so that what is compared is how metrics follow from chances.
"""
import json
import os

import nannyml
import numpy as np
import pandas as pd
import scipy
import sklearn

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(20181001)
versions = {"nannyml": nannyml.__version__, "numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__}
METRICS = ["roc_auc", "average_precision", "accuracy", "precision", "recall", "f1"]
CHUNK, CHUNKS = 150, 4
CATEGORIES = ["a", "b", "c", "d", "e"]


def write(path, value):
    with open(os.path.join(here, "..", path, "testdata", "nannyml.json"), "w") as f:
        json.dump({"versions": versions, **value}, f, indent=None, separators=(",", ":"))
        f.write("\n")


def rows(n, shift, sharp):
    """Scores that are the chance of the truth if sharp is 1, and too sure of it above."""
    x = rng.normal(shift, 1, n)
    chance = 1 / (1 + np.exp(1 - 1.5 * x))
    score = 1 / (1 + np.exp(sharp * (1 - 1.5 * x)))
    return pd.DataFrame({
        "x": x.round(4), "whole": rng.poisson(3 + shift, n).astype(float),
        "category": rng.choice(CATEGORIES, n, p=np.array([8, 5, 4, 2, 1 + 2 * shift]) / (20 + 2 * shift)),
        "score": score.round(6), "predicted": (score.round(6) >= 0.5).astype(int), "truth": (rng.uniform(size=n) < chance).astype(int),
    })


def shifted(sharp):
    return rows(3000, 0, sharp), pd.concat([rows(CHUNK, 0.3 * i, sharp) for i in range(CHUNKS)], ignore_index=True)


def estimates(sharp):
    reference, analysis = shifted(sharp)
    cbpe = nannyml.CBPE(problem_type="classification_binary", y_pred_proba="score", y_pred="predicted", y_true="truth", metrics=METRICS, chunk_size=CHUNK)
    got = cbpe.fit(reference).estimate(analysis).filter(period="analysis").to_df()
    realised = nannyml.PerformanceCalculator(problem_type="classification_binary", y_pred_proba="score", y_pred="predicted", y_true="truth", metrics=METRICS, chunk_size=CHUNK)
    real = realised.fit(reference).calculate(analysis).filter(period="analysis").to_df()
    chances = analysis["score"].to_numpy()
    if cbpe.needs_calibration:
        chances = cbpe.calibrator.calibrate(chances)
    cut = lambda values, i: [float(v) for v in values[i * CHUNK:(i + 1) * CHUNK]]
    return {"calibrated": bool(cbpe.needs_calibration), "chunks": [{
        "scores": cut(analysis["score"], i), "truth": cut(analysis["truth"], i), "chances": cut(chances.round(9), i),
        "estimated": [float(got[m]["value"].iloc[i]) for m in METRICS], "realised": [float(real[m]["value"].iloc[i]) for m in METRICS],
    } for i in range(CHUNKS)]}


def drift():
    reference, analysis = shifted(1)
    reference = reference[:600]
    numbers, categories = ["kolmogorov_smirnov", "jensen_shannon", "wasserstein"], ["chi2", "jensen_shannon", "l_infinity"]
    calculator = nannyml.UnivariateDriftCalculator(column_names=["x", "whole", "category"], treat_as_categorical=["category"],
                                                   continuous_methods=numbers, categorical_methods=categories, chunk_size=CHUNK)
    got = calculator.fit(reference).calculate(analysis).filter(period="analysis").to_df()
    out = {"numbers": [], "tables": []}
    for name in ("x", "whole"):
        edges = np.histogram_bin_edges(reference[name], bins="doane")
        inside = lambda values: [int(v) for v in np.histogram(values, edges)[0]]
        for i in range(CHUNKS):
            current = analysis[name][i * CHUNK:(i + 1) * CHUNK]
            out["numbers"].append({"reference": list(reference[name]), "current": list(current),
                                   # Rows beyond the reference are a bin of their own.
                                   "bins": [inside(reference[name]) + [0], inside(current) + [int(CHUNK - sum(inside(current)))]],
                                   **{m: float(got[name][m]["value"].iloc[i]) for m in numbers}})
    for i in range(CHUNKS):
        count = lambda values: [int((values == c).sum()) for c in CATEGORIES]
        out["tables"].append({"reference": count(reference["category"]), "current": count(analysis["category"][i * CHUNK:(i + 1) * CHUNK]),
                              **{m: float(got["category"][m]["value"].iloc[i]) for m in categories}})
    return out


write("estimate", {"metrics": METRICS, "threshold": 0.5, "sets": [estimates(1), estimates(2)]})
write("drift", drift())
