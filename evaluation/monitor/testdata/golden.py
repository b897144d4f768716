# SPDX-License-Identifier: Apache-2.0
"""Writes the golden values of monitor, drift and estimate: python golden.py (numpy, scipy, scikit-learn, statsmodels).

Statistics are SciPy's, scikit-learn's and statsmodels'; what they do not have is written in the obvious way.
"""
import json
import os

import numpy as np
import scipy
import sklearn
import statsmodels
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import (average_precision_score, brier_score_loss, f1_score, log_loss, mean_absolute_error, mean_squared_error, r2_score,
                             roc_auc_score)
from statsmodels.stats.proportion import proportions_ztest

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(20180725)
versions = {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__}


def write(path, value, more={}, name="golden.json"):
    with open(os.path.join(here, "..", path, "testdata", name), "w") as f:
        json.dump({"versions": {**versions, **more}, **value}, f, indent=1)
        f.write("\n")


def numeric(reference, current):
    ks = stats.ks_2samp(reference, current, method="exact")
    cvm = stats.cramervonmises_2samp(reference, current, method="asymptotic")
    n, m = len(current), len(reference)
    # SciPy's statistic is for rank sums: this is the integral that it estimates.
    return {
        "reference": list(reference), "current": list(current),
        "ks": ks.statistic, "ks_p": ks.pvalue, "cvm_p": cvm.pvalue,
        "wasserstein": stats.wasserstein_distance(reference, current),
    }


def table(reference, current):
    counts = np.array([reference, current])
    p, q = counts[1] / counts[1].sum(), counts[0] / counts[0].sum()
    smooth = lambda x: (x + 0.5) / (x.sum() + 0.5 * len(x))
    a, b = smooth(counts[1]), smooth(counts[0])
    return {
        "reference": list(map(int, reference)), "current": list(map(int, current)),
        "psi": float(np.sum((a - b) * np.log(a / b))),
        "jensen_shannon": float(jensenshannon(p, q) ** 2),
        "g": float(stats.chi2_contingency(counts, correction=False, lambda_="log-likelihood")[0]),
        "chi_squared": float(stats.chi2_contingency(counts, correction=False)[0]),
        "chi_squared_p": float(stats.permutation_test(
            (np.repeat(np.arange(len(reference)), reference), np.repeat(np.arange(len(current)), current)),
            lambda x, y: stats.chi2_contingency(np.array([np.bincount(x, minlength=len(reference)), np.bincount(y, minlength=len(reference))]), correction=False)[0],
            n_resamples=4000, vectorized=False, alternative="greater", rng=np.random.default_rng(1)).pvalue),
    }


def fisher(rm, rn, cm, cn):
    chances = stats.hypergeom(rn + cn, rm + cm, cn).pmf(np.arange(rm + cm + 1))
    own = chances[cm]
    same = np.isclose(chances, own, rtol=1e-9)
    return {"counts": [rm, rn, cm, cn], "fisher": float(stats.fisher_exact([[rm, rn - rm], [cm, cn - cm]])[1]),
            "mid": float(chances[(chances < own) & ~same].sum() + chances[same].sum() / 2)}


p = rng.uniform(size=20) ** 3
write("drift", {
    "numeric": [numeric(rng.normal(size=60).round(6), rng.normal(0.4, 1, size=50).round(6)),
                numeric(rng.exponential(size=300).round(6), rng.exponential(size=80).round(6)),
                numeric(np.floor(rng.exponential(3, size=100)), np.floor(rng.exponential(3.5, size=70)))],
    "tables": [table([20, 30, 50], [15, 35, 20]), table([40, 30, 20, 10, 5, 5], [20, 25, 10, 12, 6, 2]),
               table(np.bincount(rng.integers(0, 40, 120), minlength=40) + 1, np.bincount(rng.integers(0, 40, 100), minlength=40))],
    "fisher": [fisher(3, 100, 9, 100), fisher(0, 1000, 2, 50), fisher(50, 400, 4, 90)],
    "p": list(p), "benjamini_hochberg": list(stats.false_discovery_control(p)),
})

reference = rng.beta(1, 4, size=200).round(3)
labels = (rng.uniform(size=200) < reference**1.5).astype(float)
scores = rng.beta(1, 3, size=80).round(2)
isotonic = IsotonicRegression(out_of_bounds="clip").fit(reference, labels)
truth = (rng.uniform(size=80) < scores).astype(float)


def cbpe(s, p, t):
    """Expected metrics, by looking at all pairs."""
    i, j = np.meshgrid(np.arange(len(s)), np.arange(len(s)), indexing="ij")
    off = i != j
    both = p[i] * (1 - p[j]) * off
    tp, fp = p[s >= t].sum(), (1 - p[s >= t]).sum()
    ap = sum(p[k] * (1 + p[(s >= s[k]) & (np.arange(len(s)) != k)].sum()) / (s >= s[k]).sum() for k in range(len(s))) / p.sum()
    return [float((both * ((s[i] > s[j]) + 0.5 * (s[i] == s[j]))).sum() / both.sum()), float(ap),
            float((tp + (1 - p[s < t]).sum()) / len(s)), float(tp / (tp + fp)), float(tp / p.sum()), float(2 * tp / (tp + fp + p.sum())),
            float(-np.mean(p * np.log(np.clip(s, 1e-15, 1)) + (1 - p) * np.log1p(-s))), float(np.mean(p * (1 - s) ** 2 + (1 - p) * s**2))]


hard = (scores >= 0.3).astype(float)
write("estimate", {
    "reference": list(reference), "labels": list(labels), "isotonic": [float(v) for v in isotonic.predict(reference)],
    "scores": list(scores), "truth": list(truth), "threshold": 0.3,
    "realised": [roc_auc_score(truth, scores), average_precision_score(truth, scores), float(np.mean(hard == truth)),
                 float(truth[hard == 1].mean()), float(hard[truth == 1].mean()), f1_score(truth, hard),
                 log_loss(truth, np.clip(scores, 1e-15, 1 - 1e-15)), brier_score_loss(truth, scores)],
    "chances": list((scores**1.2).round(6)), "expected": cbpe(scores, (scores**1.2).round(6), 0.3),
})


def fell(before, rows_before, now, rows):
    """Whether a share fell: right of so many rows, before and now."""
    p = proportions_ztest([now, before], [rows, rows_before], alternative="smaller")[1]
    return {"counts": [before, rows_before, now, rows], "p": float(p)}


write("", {
    "fell": [fell(900, 1000, 430, 500), fell(900, 1000, 450, 500), fell(180, 200, 460, 500), fell(1999, 2000, 96, 100), fell(50, 100, 0, 60)],
    "below": [{"z": z, "p": float(stats.norm.cdf(z))} for z in (-8.5, -3.1, -0.4, 0.0, 1.7)],
}, {"statsmodels": statsmodels.__version__})


def amounts(seed, rows, shift):
    """A regression's metrics, and the chance of so large a difference of mean errors when pooled rows are dealt out."""
    own = np.random.default_rng(seed)
    before, now = own.exponential(size=400).round(6), (own.exponential(size=rows) + shift).round(6)
    score, noise = own.normal(200, 50, size=rows).round(4), own.normal(3, 12, size=rows).round(4)
    truth = (score - noise).round(4)
    at = stats.permutation_test((now, before), lambda x, y, axis: x.mean(axis) - y.mean(axis), n_resamples=200_000, batch=2000, alternative="greater", vectorized=True, rng=own)
    size = np.abs(score - truth)
    low, high = stats.norm.interval(0.95, size.mean(), stats.sem(size))
    return {"scores": list(score), "labels": list(truth), "mae": mean_absolute_error(truth, score), "rmse": float(np.sqrt(mean_squared_error(truth, score))),
            "bias": float(np.mean(score - truth)), "r2": r2_score(truth, score), "mae_low": float(low), "mae_high": float(high),
            "before": list(before), "now": list(now), "above": float(at.pvalue)}


write("estimate", {"amounts": [amounts(1, 50, 0.35), amounts(2, 60, 0), amounts(3, 200, 0.15), amounts(4, 30, -0.2)]}, name="amounts.json")
