#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of kernels and native engine as other machines would: without
# assembly, and the kernels for arm64 under qemu-user where that is installed. The CPU
# levels of this machine need no run of their own: the tests go through all of them.
#
# usage: test-portable.sh [go test flags]
set -euo pipefail
cd "$(dirname "$0")/.."

echo "without assembly:"
scripts/test.sh "$@" -tags purego ./kernels/... ./engine/native/...

if [ "$(go env GOARCH)" != amd64 ]; then
	exit 0
fi
if qemu="$(command -v qemu-aarch64-static || command -v qemu-aarch64)"; then
	echo "arm64 under $qemu:"
	GOARCH=arm64 CGO_ENABLED=0 scripts/test.sh "$@" -short -exec "$qemu" ./kernels/...
else
	echo "arm64: skipped, qemu-user is not installed (Debian: apt install qemu-user-static)"
fi
