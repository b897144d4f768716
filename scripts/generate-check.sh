#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Generates the code of proto/ and kernels/ in a copy and compares, so that the check
# neither changes the tree nor needs git.
set -euo pipefail
cd "$(dirname "$0")/.."

copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
cp -R proto kernels "$copy/"
(cd "$copy/proto/_gen" && go run .)
"$copy/kernels/_gen/generate.sh"
for folder in proto kernels; do
	if ! diff -r "$folder" "$copy/$folder" >&2; then
		echo "generated code differs from $folder/: run make generate" >&2
		exit 1
	fi
done
echo "generate-check: up to date"
