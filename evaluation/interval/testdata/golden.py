# SPDX-License-Identifier: Apache-2.0
"""Writes golden.json: what NumPy and statsmodels say of the tests of this package.

    pip install numpy==2.* scipy statsmodels && python golden.py > golden.json

DeLong's variance is computed here from the definition, pair by pair, and Obuchowski's from
sums over clusters in a loop, to have an obvious second implementation.
"""

import json
import platform
import sys

import numpy as np
import scipy
import statsmodels
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from scipy.stats import norm

rng = np.random.default_rng(20240517)


def kernel(x, y):
    return (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])


def placements(labels, scores):
    k = kernel(scores[labels == 1], scores[labels == 0])
    place = np.empty(len(labels))
    place[labels == 1] = k.mean(axis=1)
    place[labels == 0] = k.mean(axis=0)
    return place, k.mean()


def covariance(labels, a, b, clusters):
    pa, ta = placements(labels, a)
    pb, tb = placements(labels, b)
    numbers = np.unique(clusters)
    m, n = (labels == 1).sum(), (labels == 0).sum()
    s10 = s01 = s11 = 0.0
    with1 = with0 = 0
    for c in numbers:
        one, zero = (clusters == c) & (labels == 1), (clusters == c) & (labels == 0)
        with1 += one.any()
        with0 += zero.any()
        xa, xb = pa[one].sum() - one.sum() * ta, pb[one].sum() - one.sum() * tb
        ya, yb = pa[zero].sum() - zero.sum() * ta, pb[zero].sum() - zero.sum() * tb
        s10 += xa * xb
        s01 += ya * yb
        s11 += xa * yb + ya * xb
    s10 *= with1 / ((with1 - 1) * m)
    s01 *= with0 / ((with0 - 1) * n)
    s11 *= len(numbers) / (len(numbers) - 1)
    return s10 / m + s01 / n + s11 / (m * n)


def delong(name, labels, a, b, clusters=None):
    own = np.arange(len(labels)) if clusters is None else clusters
    va, vb = covariance(labels, a, a, own), covariance(labels, b, b, own)
    vab = covariance(labels, a, b, own)
    if clusters is None:  # the same by NumPy's covariances
        ka = kernel(a[labels == 1], a[labels == 0])
        kb = kernel(b[labels == 1], b[labels == 0])
        m, n = ka.shape
        again = np.cov(ka.mean(1), kb.mean(1)) / m + np.cov(ka.mean(0), kb.mean(0)) / n
        assert np.allclose(again, [[va, vab], [vab, vb]])
    ta, tb = placements(labels, a)[1], placements(labels, b)[1]
    se = np.sqrt(va + vb - 2 * vab)
    z = (ta - tb) / se
    return {
        "name": name,
        "labels": labels.astype(int).tolist(),
        "a": a.tolist(),
        "b": b.tolist(),
        "clusters": None if clusters is None else clusters.tolist(),
        "auc_a": ta, "se_a": np.sqrt(va), "auc_b": tb, "se_b": np.sqrt(vb),
        "se": se, "z": z, "p": 2 * norm.sf(abs(z)),
    }


def rounded(x, digits):
    return np.round(x, digits)


def delong_cases():
    labels = (rng.random(60) < 0.4).astype(int)
    a = rounded(rng.normal(size=60) + labels, 4)
    yield delong("independent", labels, a, rounded(0.6 * a + rng.normal(size=60), 4))
    a = rounded(rng.normal(size=80) + 0.8 * (labels2 := (rng.random(80) < 0.3)), 0)
    yield delong("ties", labels2.astype(int), a, rounded(a + 2 * rng.normal(size=80), 0))
    labels = np.array([1, 1, 0, 0, 0])
    yield delong("small", labels, np.array([3.0, 1, 2, 0, -1]), np.array([1.0, 3, 2, 5, 1]))
    clusters = rng.integers(0, 25, 120)
    effect = rng.normal(size=25)[clusters]
    labels = (effect + rng.normal(size=120) > 0.5).astype(int)
    a = rounded(labels + effect + rng.normal(size=120), 4)
    yield delong("clusters", labels, a, rounded(a + rng.normal(size=120), 4), clusters)
    clusters = rng.permutation(40)
    yield delong("clusters of one row", labels[:40], a[:40], rounded(rng.normal(size=40), 3), clusters)


def mcnemar_cases():
    for a, b in [(0, 1), (3, 3), (1, 9), (12, 12), (24, 0), (10, 15), (13, 12), (100, 60), (40, 40), (0, 500), (2000, 1900)]:
        exact = mcnemar([[0, a], [b, 0]], exact=True)
        corrected = mcnemar([[0, a], [b, 0]], exact=False, correction=True)
        yield {"a": a, "b": b, "exact": float(exact.pvalue), "corrected": float(corrected.pvalue), "statistic": float(corrected.statistic)}


def main():
    wilson = []
    for k, n, level in [(0, 1, 0.95), (1, 1, 0.95), (0, 30, 0.95), (3, 30, 0.9), (81, 263, 0.95), (500, 500, 0.99), (291, 1000, 0.5)]:
        low, high = proportion_confint(k, n, alpha=1 - level, method="wilson")
        wilson.append({"successes": k, "trials": n, "level": level, "low": float(low), "high": float(high)})
    holm = []
    for p in [[0.01, 0.04, 0.03, 0.005], [0.5], [0.2, 0.9, 0.9, 1.0], [0.01] * 5, rng.random(20).round(4).tolist(), (rng.random(12) ** 4).round(6).tolist()]:
        holm.append({"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()})
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__}
    out = {"versions": versions, "delong": list(delong_cases()), "mcnemar": list(mcnemar_cases()), "wilson": wilson, "holm": holm}
    json.dump(out, sys.stdout, default=float)
    print()


main()
