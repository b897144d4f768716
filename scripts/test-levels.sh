#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of the native engine once for each CPU level that this machine has,
# then those of engine and kernels without assembly, then the kernels for arm64 under
# qemu-user where that is installed. The kernels' own tests go through all levels by
# themselves, so they are not repeated here.
#
# usage: test-levels.sh [go test flags]
set -euo pipefail
cd "$(dirname "$0")/.."

engine=(./engine/native/... ./engine/auto/...)

for level in generic avx2 avx512 avx512vnni avx512bf16 neon; do
	# The tests of kernels/cpu fail at a level that the machine does not have.
	if ! MILLRACE_CPU=$level go run ./cmd/millrace version >/dev/null 2>&1; then
		echo "level $level: not on this machine"
		continue
	fi
	echo "level $level:"
	MILLRACE_CPU=$level scripts/test.sh "$@" "${engine[@]}"
done

echo "without assembly:"
scripts/test.sh "$@" -tags purego ./kernels/... "${engine[@]}"

if [ "$(go env GOARCH)" != amd64 ]; then
	exit 0
fi
if qemu="$(command -v qemu-aarch64-static || command -v qemu-aarch64)"; then
	echo "arm64 under $qemu:"
	GOARCH=arm64 CGO_ENABLED=0 scripts/test.sh "$@" -short -exec "$qemu" ./kernels/...
else
	echo "arm64: skipped, qemu-user is not installed (Debian: apt install qemu-user-static)"
fi
