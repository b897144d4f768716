# SPDX-License-Identifier: Apache-2.0
"""Writes golden.json: what cleanlab says of the labels of a small world.

    pip install numpy cleanlab && python golden.py > golden.json
"""

import json
import sys

import cleanlab
import numpy as np
from cleanlab.count import compute_confident_joint, estimate_joint, get_confident_thresholds
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_normalized_margin_for_each_label, get_self_confidence_for_each_label

rng = np.random.default_rng(20240811)
n, k = 240, 4
truth = rng.integers(0, k, n)
logits = rng.normal(0, 1, (n, k))
logits[np.arange(n), truth] += 2.2
probabilities = np.exp(logits)
probabilities = np.round(probabilities / probabilities.sum(axis=1, keepdims=True), 9)
probabilities[:, -1] = 1 - probabilities[:, :-1].sum(axis=1)
labels = truth.copy()
flip = rng.random(n) < 0.15
labels[flip] = (labels[flip] + rng.integers(1, k, flip.sum())) % k

# The package scales its counts to whole numbers when it calibrates, so counts and joint are
# taken uncalibrated and calibrated here from the paper's formula 3.
counts, off = compute_confident_joint(labels, probabilities, calibrate=False, return_indices_of_off_diagonals=True)
rows = counts / counts.sum(axis=1, keepdims=True) * np.bincount(labels, minlength=k)[:, None]
joint = rows / rows.sum()

json.dump({
    "versions": {"python": sys.version.split()[0], "numpy": np.__version__, "cleanlab": cleanlab.__version__},
    "labels": labels.tolist(),
    "probabilities": probabilities.tolist(),
    "thresholds": get_confident_thresholds(labels, probabilities).tolist(),
    "counts": counts.tolist(),
    "joint": joint.tolist(),
    "off_diagonal": sorted(int(i) for i in off),
    "flipped": np.flatnonzero(flip).tolist(),
    "normalized_margin": get_normalized_margin_for_each_label(labels, probabilities).tolist(),
    "self_confidence": get_self_confidence_for_each_label(labels, probabilities).tolist(),
    "by_class": np.flatnonzero(find_label_issues(labels, probabilities, filter_by="prune_by_class", min_examples_per_class=0, n_jobs=1)).tolist(),
    "by_noise_rate": np.flatnonzero(find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", min_examples_per_class=0, n_jobs=1)).tolist(),
}, sys.stdout)
