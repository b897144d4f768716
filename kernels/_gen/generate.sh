#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Writes the assembly of kernels/ and its Go stubs. The program in _gen/PKG/NAME
# writes kernels/PKG/NAME_ARCH.s and NAME_ARCH.go; ARCH is what NAME ends in when
# that is arm64, and amd64 otherwise.
#
# usage: generate.sh [PKG[/NAME]]   one package or file only
set -euo pipefail
cd "$(dirname "$0")"

for program in ./*/*/main.go; do
	dir="$(dirname "$program")"
	name="$(basename "$dir")"
	pkg="$(basename "$(dirname "$dir")")"
	case "$pkg/$name" in "${1:-$pkg}" | "${1:-$pkg}"/*) ;; *) continue ;; esac
	[ "$pkg" != internal ] || continue
	file="${name}_amd64"
	[ "$name" = "${name%_arm64}" ] || file="$name"
	go run "./$pkg/$name" -out "../$pkg/$file.s" -stubs "../$pkg/$file.go" -pkg "$pkg"
done
