#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs Debian's Chromium, with which the tests in console/browser drive the console.
# Nothing happens when there is one in the path already, or when CHROMIUM names one. It
# gives up after two minutes of downloading; the tests that need it skip then, and say so.
#
# usage: fetch-chromium.sh
set -eu

say() { echo "fetch-chromium: $*"; }
fail() {
	echo "fetch-chromium: $*" >&2
	exit 1
}

[ $# -eq 0 ] || fail "unknown argument $1; usage: fetch-chromium.sh"

if [ -n "${CHROMIUM:-}" ]; then
	[ -x "$CHROMIUM" ] || fail "CHROMIUM is $CHROMIUM, which is no program"
	exit 0
fi

# The same names as in console/browser.
for name in chromium chromium-browser google-chrome-stable google-chrome chrome; do
	! command -v "$name" >/dev/null 2>&1 || exit 0
done

command -v apt-get >/dev/null 2>&1 ||
	fail "no Chromium, and no apt-get to install it with: install Chromium or Chrome, or set CHROMIUM to its path"
[ "$(id -u)" -eq 0 ] ||
	fail "no Chromium: run \"sudo apt-get install chromium\", or set CHROMIUM to the path of one"

say "installing Chromium with apt-get, which takes a minute"
limit="timeout 120"
command -v timeout >/dev/null 2>&1 || limit=
export DEBIAN_FRONTEND=noninteractive
# Only what waits for the network has a limit. An installation that is broken off leaves
# half of a Chromium in the path, which the tests would take for a whole one.
# shellcheck disable=SC2086 # the limit is two words, or none
$limit sh -ec '
	apt-get update -qq
	apt-get install -qq -y --no-install-recommends --download-only chromium fonts-dejavu-core
' >/dev/null &&
	apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null ||
	fail "apt-get could not install chromium: see its messages above, or set CHROMIUM to the path of one"
say "installed $(command -v chromium)"
