# SPDX-License-Identifier: Apache-2.0
"""Trains the model of this example and writes it as ONNX.

    python3 -m venv venv && venv/bin/pip install numpy pandas pyarrow scikit-learn lightgbm onnxmltools
    venv/bin/python train.py TRAIN.parquet models/fraud/1/model.onnx [TEST.parquet ...]

TRAIN and TEST are training sets that `millrace features dataset` writes; README.md has the
command lines. The features are the columns of the service `fraud`, in its order.
"""

import sys

import lightgbm
import pandas
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.metrics import average_precision_score, roc_auc_score

FEATURES = ["amount", "during_weekend", "during_night"]
for entity, value in (("customer", "mean_amount"), ("terminal", "risk")):
    for days in (1, 7, 30):
        FEATURES += [f"{entity}_payments_{days}d", f"{entity}_{value}_{days}d"]


def read(path):
    rows = pandas.read_parquet(path)
    return rows[FEATURES].astype("float32").to_numpy(), rows["is_fraud"].astype(int).to_numpy()


def main(train, output, *tests):
    x, y = read(train)
    model = lightgbm.LGBMClassifier(
        n_estimators=100, num_leaves=31, learning_rate=0.05, min_child_samples=200,
        subsample=0.8, subsample_freq=1, colsample_bytree=0.8, reg_lambda=5.0,
        random_state=1, n_jobs=1, deterministic=True, force_row_wise=True, verbose=-1)
    model.fit(x, y)
    # Probabilities as a plain tensor [rows, 2], which any server can answer.
    onnx = convert_lightgbm(
        model.booster_, "fraud", [("input", FloatTensorType([None, len(FEATURES)]))],
        zipmap=False, target_opset=15)
    with open(output, "wb") as file:
        file.write(onnx.SerializeToString())
    for path in (train, *tests):
        x, y = read(path)
        score = model.predict_proba(x)[:, 1]
        print(f"{path}: {len(y)} payments, {y.mean():.4f} frauds, "
              f"ROC AUC {roc_auc_score(y, score):.3f}, average precision {average_precision_score(y, score):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
