#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fails when a Go file is not formatted as gofmt would.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted="$(gofmt -l .)"
if [ -n "$unformatted" ]; then
	echo "not formatted; run gofmt -w on:" >&2
	echo "$unformatted" >&2
	exit 1
fi
