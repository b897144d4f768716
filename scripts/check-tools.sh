#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Says in plain words what a build needs and this machine lacks.
set -euo pipefail
cd "$(dirname "$0")/.."

go_needed="1.26"
missing=0

lacks() {
	echo "missing: $1" >&2
	missing=1
}

if ! command -v go >/dev/null; then
	lacks "Go $go_needed or newer. Install it from your system's packages or from the Go project."
else
	# Inside the module, so that a newer toolchain which go fetches itself counts.
	go_found="$(go env GOVERSION 2>/dev/null || true)"
	go_found="${go_found#go}"
	if [ "$(printf '%s\n%s\n' "$go_needed" "${go_found%%[!0-9.]*}" | sort -V | head -n 1)" != "$go_needed" ]; then
		lacks "Go $go_needed or newer; this is Go ${go_found:-of unknown version}."
	fi
fi

compiler="${CC:-cc}"
if ! command -v "${compiler%% *}" >/dev/null && ! command -v gcc >/dev/null; then
	lacks "a C compiler (cc, gcc or clang), which the binding of ONNX Runtime needs."
fi

exit "$missing"
