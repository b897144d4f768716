# SPDX-License-Identifier: Apache-2.0
"""Fits XGBoost when asked: reads "DEPTH" lines, answers with the seconds of one fit,
binning included, and writes the scores of the test rows to a file.

    fit.py FOLDER ROWS TEST_ROWS FEATURES TREES THREADS
"""

import os
import sys
import time

import numpy as np
import xgboost as xgb

folder = sys.argv[1]
rows, test_rows, features, trees, threads = map(int, sys.argv[2:])


def load(name, *shape):
    return np.fromfile(os.path.join(folder, name), dtype="<f4").reshape(shape)


x, y = load("train.f32", rows, features), load("labels.f32", rows)
test = xgb.DMatrix(load("test.f32", test_rows, features))
for line in sys.stdin:
    parameters = {
        "objective": "binary:logistic", "tree_method": "hist", "max_bin": 256, "eta": 0.1,
        "max_depth": int(line), "nthread": threads,
    }
    start = time.perf_counter()
    data = xgb.QuantileDMatrix(x, y, nthread=threads, max_bin=256)
    booster = xgb.train(parameters, data, trees)
    seconds = time.perf_counter() - start
    booster.predict(test, output_margin=True).astype("<f4").tofile(os.path.join(folder, "scores.f32"))
    print(seconds, flush=True)
