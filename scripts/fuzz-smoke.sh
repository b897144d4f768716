#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz target of the module for FUZZTIME (a duration such as 5s, or a
# number of inputs such as 20000x), two packages at a time. Targets are found, not
# listed, so none is forgotten.
#
# Without GUIDED=1 the inputs are mutations of the seeds that no coverage guides: for a
# moment it would not come to bear, and building every package once more with its
# instrumentation takes longer than the fuzzing.
set -euo pipefail
cd "$(dirname "$0")/.."

export FUZZTIME="${FUZZTIME:-3000x}" GUIDED="${GUIDED:-}"
binaries=$(mktemp -d)
export binaries
trap 'rm -rf "$binaries"' EXIT

# fuzz runs the targets of one package and shows what each said in one piece.
fuzz() {
	local folder=$1 binary output status target flags=()
	shift
	binary=$binaries/${folder//\//_}
	[ -z "$GUIDED" ] || flags=(-fuzz=Fuzz)
	go test -c "${flags[@]}" -o "$binary" "$folder" || return 1
	for target in "$@"; do
		status=0
		output=$(cd "$folder" && "$binary" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$FUZZTIME" -test.fuzzminimizetime 10x \
			-test.parallel 1 -test.fuzzcachedir "$binary.cache" 2>&1) || status=$?
		printf 'fuzz %s %s\n%s\n' "${folder#"$PWD"/}" "$target" "$(grep -v 'not built with coverage instrumentation' <<<"$output")"
		[ "$status" -eq 0 ] || return "$status"
	done
	rm -rf "$binary" "$binary.cache"
}
export -f fuzz

packages=$(for folder in $(go list -f '{{.Dir}}' ./...); do
	# A look at the text first, since go test would link every package to list none.
	targets=$(cat "$folder"/*_test.go 2>/dev/null | sed -n 's|^func \(Fuzz[A-Za-z0-9_]*\)(.*|\1|p' | xargs)
	[ -z "$targets" ] || echo "$folder $targets"
done)
if [ -z "$packages" ]; then
	echo "no fuzz target found, though the module has some: is this the whole checkout?" >&2
	exit 1
fi

# 255 makes xargs stop: the first failure is enough.
printf '%s\n' "$packages" | xargs -P 2 -L 1 bash -c 'fuzz "$0" "$@" || exit 255'
echo "fuzz-smoke: $(($(wc -w <<<"$packages") - $(wc -l <<<"$packages"))) targets passed"
