#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fetches DuckDB's Python package (pinned) into .millrace/duckdb, for the benchmark
# that compares with it.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.4.1
dir=.millrace/duckdb
if [ -x "$dir/bin/python" ] && [ "$("$dir/bin/python" -c 'import duckdb; print(duckdb.__version__)' 2>/dev/null)" = "$version" ]; then
	exit 0
fi
echo "fetch-duckdb: fetching DuckDB $version with pip"
rm -rf "$dir"
python3 -m venv "$dir"
"$dir/bin/python" -m pip install --quiet "duckdb==$version"
