// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"math"
	"os"
	"testing"

	"github.com/millrace-ml/millrace/bench/foreigntest"
)

// compareEnv asks for the comparison at the size of the target: its value is an
// interpreter with the packages of requirements.txt, or "fetch".
const compareEnv = "MILLRACE_BENCH_TREES"

// MILLRACE_BENCH_TREES=fetch go test -count=1 -v -run Target ./bench/learn/trees
func TestTarget(t *testing.T) {
	python := os.Getenv(compareEnv)
	switch python {
	case "":
		t.Skipf("takes a minute of both cores; %s=fetch asks for it", compareEnv)
	case "fetch":
		python = foreigntest.Python(t, "requirements.txt")
	}
	results, err := Run(t.Context(), Options{Python: python})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		t.Log(r)
		if r.OursAUC < r.TheirsAUC-0.002 {
			t.Errorf("depth %d: our model is worse", r.Depth)
		}
	}
}

// The comparison by itself, on a table that takes a moment.
func TestSmall(t *testing.T) {
	python := os.Getenv(compareEnv)
	switch python {
	case "":
		t.Skipf("fetches hundreds of megabytes of Python packages; %s=fetch asks for it", compareEnv)
	case "fetch":
		python = foreigntest.Python(t, "requirements.txt")
	}
	results, err := Run(t.Context(), Options{Python: python, Rows: 2000, Features: 10, Trees: 5, Rounds: 1, Depths: []int{3}})
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Ours <= 0 || r.Theirs <= 0 || math.Abs(r.OursAUC-r.TheirsAUC) > 0.03 || r.OursAUC < 0.6 {
		t.Error(r)
	}
}
