#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Generates the code of proto/ in a copy and compares, so that the check neither
# changes the tree nor needs git.
set -euo pipefail
cd "$(dirname "$0")/.."

copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
cp -R proto "$copy/proto"
(cd "$copy/proto/_gen" && go run .)
if ! diff -r proto "$copy/proto" >&2; then
	echo "generated code differs from proto/: run make generate" >&2
	exit 1
fi
echo "generate-check: up to date"
