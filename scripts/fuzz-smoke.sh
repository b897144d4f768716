#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz target of the module for FUZZTIME (a duration such as 5s, or a
# number of inputs such as 20000x). Targets are found, not listed, so none is forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime="${FUZZTIME:-3000x}"
targets=0

for folder in $(go list -f '{{.Dir}}' ./...); do
	# A look at the text first, since go test would link every package to list none.
	for target in $(cat "$folder"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do
		echo "fuzz ${folder#"$PWD"/} $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -fuzzminimizetime 10x -parallel 2 "$folder"
		targets=$((targets + 1))
	done
done

if [ "$targets" -eq 0 ]; then
	echo "no fuzz target found, though the module has some: is this the whole checkout?" >&2
	exit 1
fi
echo "fuzz-smoke: $targets targets passed"
