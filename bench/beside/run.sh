#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Prints what other libraries take for products and trees beside ours, on one core. What
# is not there is left out, with a message: OpenBLAS and oneDNN are found by the C++
# compiler (Debian: libopenblas-dev libdnnl-dev), LightGBM and XGBoost are fetched by pip
# into .millrace/beside.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
work=$PWD/.millrace/beside
mkdir -p "$work/trees"

# Idle threads must not spin on the core that is measured.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=1

# has_libraries tells whether the compiler finds both libraries.
has_libraries() {
	# shellcheck disable=SC2086 # the variables hold lists of flags
	printf '#include <cblas.h>\n#include <dnnl.hpp>\nint main() { openblas_set_num_threads(1); return dnnl_version()->major < 2; }\n' |
		${CXX:-c++} ${CGO_CXXFLAGS:-} ${CGO_CFLAGS:-} -x c++ - -o "$work/probe" ${CGO_LDFLAGS:-} -lopenblas -ldnnl 2>/dev/null &&
		"$work/probe" 2>/dev/null
}

tags=
if has_libraries; then
	tags=beside
else
	echo "bench-beside: OpenBLAS and oneDNN are left out: install libopenblas-dev and libdnnl-dev"
fi
go -C "$here" build -tags "$tags" -o "$work/beside" .
"$work/beside" products
echo
"$work/beside" trees "$work/trees"
echo

if ! command -v python3 >/dev/null 2>&1; then
	echo "bench-beside: LightGBM and XGBoost are left out: there is no python3"
	exit 0
fi
# The folder is named by what is in it, so that other pins make another one.
venv=$work/python-$(cksum <"$here/requirements.txt" | cut -d ' ' -f 1)
if [ ! -x "$venv/done" ]; then
	rm -rf "$venv"
	if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"; }; then
		echo "bench-beside: LightGBM and XGBoost are left out: pip cannot fetch them"
		exit 0
	fi
	ln -s bin/python "$venv/done"
fi
"$venv/bin/python" "$here/trees.py" "$work/trees"
