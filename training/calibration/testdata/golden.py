# SPDX-License-Identifier: Apache-2.0
"""Writes golden.json: what scikit-learn's calibrators say of made-up scores.

    pip install numpy==2.4.6 scikit-learn==1.5.2
    python golden.py > golden.json
"""

import json

import numpy as np
import sklearn
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

random = np.random.default_rng(5)
cases = []
for rows, slope, weighted, steps in ((60, 1.0, False, 0), (400, 3.0, True, 0), (300, 0.5, False, 10), (5, 2.0, False, 0)):
    scores = random.normal(-1, 2, rows)
    if steps:
        scores = np.round(scores * steps) / steps
    scores = scores.astype(np.float32)
    labels = (random.random(rows) < 1 / (1 + np.exp(-slope * (scores - 0.3)))).astype(int)
    labels[0], labels[1] = 0, 1
    weights = random.integers(1, 5, rows).astype(float) if weighted else None
    probes = np.linspace(scores.min(), scores.max(), 41).astype(np.float32)
    platt = _SigmoidCalibration().fit(scores.astype(float), labels, weights)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(scores.astype(float), labels, weights)
    cases.append({
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        "weights": weights.tolist() if weighted else None,
        "probes": probes.tolist(),
        "platt": platt.predict(probes.astype(float)).tolist(),
        "isotonic": isotonic.predict(probes.astype(float)).tolist(),
    })
print(json.dumps({"versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__}, "cases": cases}))
