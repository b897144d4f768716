#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the ONNX Runtime shared library into .millrace/onnxruntime/lib (with
# --gpu: .millrace/onnxruntime-gpu/lib), out of the package that pip or npm offers.
# onnxruntime.lock beside this script pins the version and the SHA-256 of every
# file. Nothing happens when the files are there already, or when ONNXRUNTIME_LIB
# names a library of the user's own.
#
# usage: fetch-onnxruntime.sh [--gpu] [--from pip|npm]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
lock=$here/onnxruntime.lock
version=$(awk '$1 == "version" { print $2 }' "$lock")

say() { echo "fetch-onnxruntime: $*"; }
fail() {
	echo "fetch-onnxruntime: $*" >&2
	exit 1
}

# pins SOURCE prints the "file sha256" lines of this variant and machine.
pins() {
	awk -v s="$1" -v v="$variant" -v m="$machine" '$1 == s && $2 == v && $3 == m { print $4, $5 }' "$lock"
}

sha256() {
	if command -v sha256sum >/dev/null 2>&1; then
		sha256sum "$1" | cut -d ' ' -f 1
	else
		shasum -a 256 "$1" | cut -d ' ' -f 1
	fi
}

# installed_name FILE is the name a package's file gets here: the main library
# carries its full version whatever the package calls it.
installed_name() {
	case $1 in
	libonnxruntime.so*) echo "libonnxruntime.so.$version" ;;
	*) echo "$1" ;;
	esac
}

# matches SOURCE FOLDER: every file that SOURCE pins lies in FOLDER and is intact.
matches() {
	pins "$1" | {
		seen=1
		while read -r file sum; do
			seen=0
			path=$2/$(installed_name "$file")
			[ -f "$path" ] && [ "$(sha256 "$path")" = "$sum" ] || exit 1
		done
		exit $seen
	}
}

# shellcheck disable=SC2086 # the limit is two words, or none
run_python() {
	for p in python3 python; do
		if command -v "$p" >/dev/null 2>&1; then
			$limit "$p" "$@"
			return
		fi
	done
	return 127
}

have() {
	case $1 in
	pip) run_python -m pip --version >/dev/null 2>&1 ;;
	npm) command -v npm >/dev/null 2>&1 ;;
	esac
}

# unpack_pip FOLDER and unpack_npm FOLDER download the package and leave its
# library files in FOLDER. The tags name a wheel that exists, so any Python will do.
unpack_pip() {
	package=onnxruntime
	[ "$variant" = cpu ] || package=onnxruntime-gpu
	run_python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
		--implementation cp --python-version 3.12 --abi cp312 --platform "manylinux_2_28_$machine" \
		--dest "$1/download" "$package==$version" || return 1
	run_python -m zipfile -e "$1"/download/*.whl "$1/download" || return 1
	mv "$1"/download/onnxruntime/capi/lib*.so* "$1/"
}

unpack_npm() {
	arch=x64
	[ "$machine" = x86_64 ] || arch=arm64
	mkdir -p "$1/download"
	# shellcheck disable=SC2086 # the limit is two words, or none
	(cd "$1/download" && $limit npm pack --silent --ignore-scripts "onnxruntime-node@$version" >/dev/null) || return 1
	tar -xzf "$1"/download/onnxruntime-node-*.tgz -C "$1/download" || return 1
	mv "$1"/download/package/bin/napi-v*/linux/"$arch"/lib*.so* "$1/"
}

# install SOURCE FOLDER checks the unpacked files and moves them into place one by
# one; a rename is atomic, and the main library's link comes last.
install_from() {
	pins "$1" | while read -r file sum; do
		[ -f "$2/$file" ] || fail "$file is not in the package that $1 gave"
		got=$(sha256 "$2/$file")
		[ "$got" = "$sum" ] || fail "$file from $1 has SHA-256 $got, not the pinned $sum: not installed"
	done
	pins "$1" | while read -r file sum; do
		chmod 644 "$2/$file"
		mv -f "$2/$file" "$target/$(installed_name "$file")"
	done
	ln -s "libonnxruntime.so.$version" "$2/link"
	mv -f "$2/link" "$target/libonnxruntime.so"
}

variant=cpu
from="pip npm"
while [ $# -gt 0 ]; do
	case $1 in
	--gpu) variant=gpu ;;
	--from)
		[ $# -gt 1 ] || fail "--from needs pip or npm"
		shift
		case $1 in
		pip | npm) from=$1 ;;
		*) fail "--from $1: only pip and npm are known" ;;
		esac
		;;
	*) fail "unknown argument $1; usage: fetch-onnxruntime.sh [--gpu] [--from pip|npm]" ;;
	esac
	shift
done

if [ -n "${ONNXRUNTIME_LIB:-}" ]; then
	say "ONNXRUNTIME_LIB is $ONNXRUNTIME_LIB: nothing to fetch"
	exit 0
fi

machine=$(uname -m)
[ "$machine" != arm64 ] || machine=aarch64
[ "$(uname -s)" = Linux ] && [ -n "$(pins pip)" ] ||
	fail "no $variant build is pinned for $(uname -s) on $machine: install ONNX Runtime $version yourself and set ONNXRUNTIME_LIB to its library"

# A network that answers nothing ends here, and not in the patience of pip or npm.
limit="timeout 300"
suffix=
[ "$variant" = cpu ] || suffix=-gpu limit="timeout 1800"
command -v timeout >/dev/null 2>&1 || limit=
target=$here/../.millrace/onnxruntime$suffix/lib
mkdir -p "$target"
target=$(cd "$target" && pwd)

for source in $from; do
	if [ -e "$target/libonnxruntime.so" ] && matches "$source" "$target"; then
		exit 0
	fi
done

# The work folder is on the target's file system, so that the moves are renames.
work=$(mktemp -d "$target/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

tried=
for source in $from; do
	[ -n "$(pins "$source")" ] && have "$source" || continue
	tried="$tried $source"
	say "fetching ONNX Runtime $version ($variant, $machine) with $source"
	mkdir -p "$work/$source"
	if "unpack_$source" "$work/$source"; then
		install_from "$source" "$work/$source"
		say "installed $target/libonnxruntime.so.$version"
		exit 0
	fi
	say "$source could not fetch it"
done

[ -n "$tried" ] || fail "neither pip (python3 -m pip) nor npm was found: install one of them, or set ONNXRUNTIME_LIB to a libonnxruntime.so of version $version"
fail "could not fetch ONNX Runtime $version with$tried: see the messages above, or set ONNXRUNTIME_LIB to a libonnxruntime.so of that version"
