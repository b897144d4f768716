#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fetches XGBoost's Python package (pinned in bench/learn/trees/requirements.txt) into
# .millrace/xgboost, for the benchmark that compares with it.
set -euo pipefail
cd "$(dirname "$0")/.."

pins=bench/learn/trees/requirements.txt
dir=.millrace/xgboost
if [ -x "$dir/bin/python" ] && cmp -s "$pins" "$dir/requirements.txt"; then
	exit 0
fi
echo "fetch-xgboost: fetching XGBoost with pip"
rm -rf "$dir"
python3 -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --requirement "$pins"
cp "$pins" "$dir/requirements.txt"
