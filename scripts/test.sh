#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs go test with the given arguments and prints a line per package, every skipped
# test with its reason, and all of the output when something fails.
set -uo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT

go test -v "$@" >"$log" 2>&1
status=$?
if [ "$status" -ne 0 ]; then
	cat "$log"
	# Once more at the end, where a reader of a long log looks: what failed, and the
	# last lines before it.
	echo "---- what failed ----"
	awk '
		{ before[NR % 30] = $0 }
		/^ *--- FAIL: |^panic: |^fatal error: |WARNING: DATA RACE|\[build failed\]|^FAIL\t/ {
			for (i = NR - 29; i <= NR; i++) if (i > last && i > 0) print before[i % 30]
			last = NR; after = 12; next
		}
		after > 0 { print; last = NR; after-- }
	' "$log" | tail -n 400
	exit "$status"
fi
# The reason of a skip is the last indented line before "--- SKIP: NAME (0.00s)".
awk '
	/^ *--- SKIP: / { sub(/^ *--- SKIP: /, ""); sub(/ \([0-9.]+s\)$/, ""); print "skip  " $0 ": " reason; next }
	/^ +[^ ]+\.go:[0-9]+: / { reason = $0; sub(/^ +[^ ]+: /, "", reason); next }
	/^ok / { print }
' "$log"
