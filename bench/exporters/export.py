# SPDX-License-Identifier: Apache-2.0
"""Trains models of other people's libraries and exports them.

usage: export.py [--fixtures] DATA FOLDER

DATA is the folder of data sets. FOLDER/models becomes a model repository, with each
model as its exporter writes it. FOLDER/cases holds for each model rows that it was not
trained on, and what its library, not the exported graph, predicts for them.
FOLDER/manifest.json has the versions of all packages, and the exporters that are not
installed, whose models are left out.

With --fixtures only the models to keep beside the test are written, with few rows;
FOLDER must then have all exporters.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import pathlib
import platform
import shutil
import sys
import time
import warnings

from suite import case, data

# The module of cases, and the package that it cannot do without.
FAMILIES = {
    "sklearn_models": "skl2onnx",
    "sklearn_trees": "skl2onnx",
    "sklearn_pipelines": "skl2onnx",
    "lightgbm_models": "lightgbm",
    "xgboost_models": "xgboost",
    "catboost_models": "catboost",
    "torch_cases": "torch",
    "torch_cases": "torch",
}
PACKAGES = ["scikit-learn", "skl2onnx", "lightgbm", "xgboost-cpu", "onnxmltools", "catboost", "torch", "onnxscript", "onnx", "numpy"]

FIXTURE_ROWS = 24
FIXTURE_BYTES_MAX = 60_000


def versions():
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def write_family(family, tables, folder, fixtures):
    """Writes the cases of one module and returns their names."""
    names = []
    for made in importlib.import_module(f"suite.{family}").cases(tables):
        if fixtures and not made.fixture:
            continue
        if fixtures:
            case.strip(made.graph)
        size = case.write(made, folder, FIXTURE_ROWS if fixtures else data.TEST)
        if fixtures and size > FIXTURE_BYTES_MAX:
            raise ValueError(f"{made.name}: {size} bytes are too many to keep")
        names.append(made.name)
    return names


def main(source, folder, fixtures):
    warnings.filterwarnings("ignore")
    for name in ("models", "cases"):
        shutil.rmtree(folder / name, ignore_errors=True)
    tables = data.Data(source)
    manifest = {"versions": versions(), "absent": [], "cases": []}
    for family, package in FAMILIES.items():
        if importlib.util.find_spec(package) is None:
            manifest["absent"].append(package)
            continue
        start = time.monotonic()
        manifest["cases"] += write_family(family, tables, folder, fixtures)
        print(f"{family}: {time.monotonic() - start:.1f} s", file=sys.stderr)
    if fixtures and manifest["absent"]:
        raise ValueError(f"not installed: {manifest['absent']}")
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--fixtures"]
    main(*map(pathlib.Path, arguments), fixtures="--fixtures" in sys.argv)
