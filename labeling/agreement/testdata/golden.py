# SPDX-License-Identifier: Apache-2.0
"""Writes golden.json: what scikit-learn, statsmodels and krippendorff say of random labels.

    pip install numpy scikit-learn statsmodels krippendorff && python golden.py > golden.json
"""

import json
import sys
from importlib.metadata import version

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

rng = np.random.default_rng(20240917)
n, k = 80, 5
truth = rng.integers(0, k, n)


def rater(noise):
    return np.where(rng.random(n) < noise, rng.integers(0, k, n), truth)


a, b = rater(0.3), rater(0.5)
raters = np.array([rater(x) for x in (0.2, 0.3, 0.4, 0.6)])
counts = np.stack([(raters == j).sum(axis=0) for j in range(k)], axis=1)
missing = raters.astype(float) + 1
missing[rng.random(missing.shape) < 0.35] = np.nan

json.dump({
    "versions": {"python": sys.version.split()[0]} | {p: version(p) for p in ("numpy", "scikit-learn", "statsmodels", "krippendorff")},
    "a": a.tolist(), "b": b.tolist(), "k": k,
    "cohen": {w: cohen_kappa_score(a, b, weights=w or None) for w in ("", "linear", "quadratic")},
    "counts": counts.tolist(),
    "fleiss": fleiss_kappa(counts),
    "values": [[None if np.isnan(x) else x for x in row] for row in missing.T.tolist()],
    "alpha": {level: krippendorff.alpha(missing, level_of_measurement=level) for level in ("nominal", "ordinal", "interval", "ratio")},
    "wilson": [list(proportion_confint(r, m, method="wilson")) for r, m in ((7, 9), (0, 4), (5, 5))],
}, sys.stdout)
