#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz target of the module for FUZZTIME (a duration such as 5s, or a
# number of inputs such as 20000x), two at a time: much of it is linking, on one core.
# Targets are found, not listed, so none is forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."

export FUZZTIME="${FUZZTIME:-3000x}"

# fuzz runs one target and shows what it said in one piece.
fuzz() {
	local output status=0
	output=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 10x -parallel 1 "$1" 2>&1) || status=$?
	printf 'fuzz %s %s\n%s\n' "${1#"$PWD"/}" "$2" "$output"
	return "$status"
}
export -f fuzz

targets=$(for folder in $(go list -f '{{.Dir}}' ./...); do
	# A look at the text first, since go test would link every package to list none.
	cat "$folder"/*_test.go 2>/dev/null | sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(.*|$folder \1|p"
done)
if [ -z "$targets" ]; then
	echo "no fuzz target found, though the module has some: is this the whole checkout?" >&2
	exit 1
fi

# 255 makes xargs stop: the first failure is enough.
printf '%s\n' "$targets" | xargs -P 2 -L 1 bash -c 'fuzz "$0" "$1" || exit 255'
echo "fuzz-smoke: $(printf '%s\n' "$targets" | wc -l) targets passed"
