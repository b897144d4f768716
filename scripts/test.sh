#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs go test with the given arguments and prints a line per package, every skipped
# test with its reason, and when something fails all of the output of the packages that
# failed, then what failed in short, where a reader of a long log looks.
set -uo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# machine says in a line what tests may depend on.
machine() {
	echo "machine: $(getconf _NPROCESSORS_ONLN) cores," \
		"$(awk -F ': *' '/^model name/ { print $2; exit }' /proc/cpuinfo 2>/dev/null) with" \
		"$(grep -m 1 -oE '^(flags|Features).*' /proc/cpuinfo 2>/dev/null | tr ' ' '\n' | grep -xE 'avx2|avx512(bw|_vnni|_bf16)|avx_vnni|amx_int8|asimd|sve' | tr '\n' ' ')," \
		"user $(id -u), $(go version)"
}

go test -v "$@" >"$log" 2>&1
status=$?
if [ "$status" -ne 0 ]; then
	# A package's output ends with its verdict, which names it after a tab.
	awk '
		{ lines[n++] = $0 }
		/^(ok|FAIL|\?) *\t/ { if ($1 == "FAIL") for (i = 0; i < n; i++) print lines[i]; n = 0 }
		END { for (i = 0; i < n; i++) print lines[i] }
	' "$log"
	echo "---- what failed ----"
	machine
	awk '
		{ before[NR % 30] = $0 }
		/^ *--- FAIL: |^panic: |^fatal error: |WARNING: DATA RACE|\[build failed\]|^FAIL\t/ {
			for (i = NR - 29; i <= NR; i++) if (i > last && i > 0) print before[i % 30]
			last = NR; after = 12; next
		}
		after > 0 { print; last = NR; after-- }
	' "$log" | tail -n 400
	echo "---- in short ----"
	grep -E '^ *--- FAIL: |^panic: |^fatal error: |WARNING: DATA RACE|\[build failed\]|^FAIL	' "$log" | tail -n 60
	exit "$status"
fi
# The reason of a skip is the last indented line before "--- SKIP: NAME (0.00s)".
awk '
	/^ *--- SKIP: / { sub(/^ *--- SKIP: /, ""); sub(/ \([0-9.]+s\)$/, ""); print "skip  " $0 ": " reason; next }
	/^ +[^ ]+\.go:[0-9]+: / { reason = $0; sub(/^ +[^ ]+: /, "", reason); next }
	/^ok / { print }
' "$log"
