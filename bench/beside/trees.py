#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what LightGBM and XGBoost take for a row, in ns, on one thread.

usage: trees.py FOLDER

FOLDER holds what `beside trees FOLDER` wrote: rows, models, and what the models answer,
which both libraries must answer too. Their C interfaces are called, so that what Python
itself takes is one call of a foreign function, about a microsecond.
"""

import ctypes
import json
import statistics
import sys
import time
from pathlib import Path

import lightgbm
import numpy
import xgboost

FEATURES = 32
ROWS = [1, 64, 256]
ROUNDS = 9
TURN_SECONDS = 0.05


class LightGBM:
    """Predicts by LGBM_BoosterPredictForMat, single rows by its fast form."""

    name = "LightGBM"

    def __init__(self, path, x, rows):
        self.booster = lightgbm.Booster(model_file=str(path) + ".txt")
        self.library = lightgbm.basic._LIB
        self.handle = self.booster._handle
        self.out = numpy.zeros(rows, dtype=numpy.float64)
        self.length = ctypes.c_int64()
        self.inputs = [x[i : i + rows] for i in range(0, len(x) - rows + 1, rows)]
        self.call = self.batch
        if rows == 1:
            self.fast = ctypes.c_void_p()
            self.check(
                self.library.LGBM_BoosterPredictForMatSingleRowFastInit(
                    self.handle, 0, 0, -1, 0, FEATURES, b"num_threads=1", ctypes.byref(self.fast)
                )
            )
            self.call = self.single

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.library.LGBM_GetLastError())

    def batch(self, i):
        rows = self.inputs[i]
        self.check(
            self.library.LGBM_BoosterPredictForMat(
                self.handle, rows.ctypes.data_as(ctypes.c_void_p), 0, ctypes.c_int32(len(rows)), ctypes.c_int32(FEATURES),
                1, 0, 0, -1, b"num_threads=1", ctypes.byref(self.length), self.out.ctypes.data_as(ctypes.c_void_p),
            )
        )  # fmt: skip
        return self.out

    def single(self, i):
        self.check(
            self.library.LGBM_BoosterPredictForMatSingleRowFast(
                self.fast, self.inputs[i].ctypes.data_as(ctypes.c_void_p), ctypes.byref(self.length),
                self.out.ctypes.data_as(ctypes.c_void_p),
            )
        )  # fmt: skip
        return self.out


class XGBoost:
    """Predicts by XGBoosterPredictFromDense."""

    name = "XGBoost"

    def __init__(self, path, x, rows):
        self.booster = xgboost.Booster({"nthread": 1}, model_file=str(path) + ".json")
        self.library = xgboost.core._LIB
        self.inputs = []
        for i in range(0, len(x) - rows + 1, rows):
            part = x[i : i + rows]
            interface = {"data": (part.ctypes.data, True), "shape": part.shape, "typestr": "<f4", "version": 3}
            self.inputs.append(json.dumps(interface).encode())
        config = {"type": 0, "training": False, "iteration_begin": 0, "iteration_end": 0}
        config.update({"strict_shape": False, "missing": float("nan"), "cache_id": 0})
        self.config = json.dumps(config).encode()
        self.shape, self.dim = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        self.result = ctypes.POINTER(ctypes.c_float)()
        self.rows = rows

    def call(self, i):
        status = self.library.XGBoosterPredictFromDense(
            self.booster.handle, self.inputs[i], self.config, None,
            ctypes.byref(self.shape), ctypes.byref(self.dim), ctypes.byref(self.result),
        )  # fmt: skip
        if status != 0:
            raise RuntimeError(self.library.XGBGetLastError())
        return numpy.ctypeslib.as_array(self.result, (self.rows,))


def verify(contender, want):
    """Fails when any answer is wrong."""
    got = numpy.concatenate([contender.call(i).copy() for i in range(len(contender.inputs))])
    worst = float(numpy.abs(got - want[: len(got)]).max())
    if not worst <= 1e-4 * max(1.0, float(numpy.abs(want).max())):
        raise SystemExit(f"{contender.name}: an answer is {worst:g} off")


def turn(contender, calls):
    inputs = len(contender.inputs)
    began = time.process_time()
    for i in range(calls):
        contender.call(i % inputs)
    return (time.process_time() - began) / calls


def measure(contenders):
    """The median of each contender's seconds a call, taken in turns."""
    calls = [max(1, int(TURN_SECONDS / max(turn(c, 20), 1e-9))) for c in contenders]
    rounds = [[turn(c, n) for c, n in zip(contenders, calls)] for _ in range(ROUNDS)]
    return [statistics.median(column) for column in zip(*rounds)]


def main():
    folder = Path(sys.argv[1])
    x = numpy.fromfile(folder / "rows.f32", dtype=numpy.float32).reshape(-1, FEATURES)
    print(f"trees, ns/row on one thread: LightGBM {lightgbm.__version__}, XGBoost {xgboost.__version__}")
    print(f"{'trees':>6}{'leaves':>8}{'rows':>6}{'LightGBM':>10}{'XGBoost':>10}")
    for name in json.loads((folder / "models.json").read_text()):
        want = numpy.fromfile(folder / f"{name}.f32", dtype=numpy.float32)
        trees, leaves = name.split("_")
        for rows in ROWS:
            contenders = [kind(folder / name, x, rows) for kind in (LightGBM, XGBoost)]
            for contender in contenders:
                verify(contender, want)
            nanos = [1e9 * seconds / rows for seconds in measure(contenders)]
            print(f"{trees:>6}{leaves:>8}{rows:>6}{nanos[0]:>10.0f}{nanos[1]:>10.0f}", flush=True)


if __name__ == "__main__":
    main()
