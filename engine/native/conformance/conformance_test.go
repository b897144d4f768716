// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"errors"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/bench/foreigntest"
	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

var update = flag.Bool("update", false, "write testdata anew")

const keptCases = "testdata/cases.tar.gz"

// TestAllCases runs all that the Python package onnx has.
func TestAllCases(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches a Python package")
	}
	python := foreigntest.Python(t, "requirements.txt")
	archive := filepath.Join(t.TempDir(), "cases.tar.gz")
	foreigntest.Run(t, exec.CommandContext(t.Context(), python, "-B", "cases.py", archive))
	covered := runCases(t, readArchive(t, archive), "testdata/coverage.txt")
	if *update {
		keep(t, python, covered)
	}
}

// TestKeptCases runs those in testdata.
func TestKeptCases(t *testing.T) {
	list := readArchive(t, keptCases)
	if covered := runCases(t, list, "testdata/coverage-kept.txt"); len(covered) != len(list) {
		t.Errorf("%d of %d cases are covered", len(covered), len(list))
	}
}

// runCases runs cases at every CPU level, holds their coverage to a file, and gives
// those that are covered in some way.
func runCases(t *testing.T, list []example, file string) (covered []example) {
	t.Helper()
	coverage := make(coverage)
	folder := t.TempDir()
	var running []form // at the first level, which decides what is covered
	for i := range list {
		before := len(running)
		for w := range ways {
			f, is, err := list[i].in(way(w))
			switch {
			case err != nil:
				t.Errorf("%s: %v", f.name, err)
			case is:
				undo := cpu.Limit(cpu.Generic)
				outcome := check(t, folder, f)
				undo()
				if coverage.count(outcome, way(w)); outcome == runsRight {
					running = append(running, f)
				}
			}
		}
		if len(running) > before {
			covered = append(covered, list[i])
		}
	}
	compareCoverage(t, file, coverage)
	for _, level := range cpu.Available()[1:] {
		undo := cpu.Limit(level)
		for _, f := range running {
			if outcome := check(t, folder, f); outcome != runsRight {
				t.Errorf("%s: at level %s: %s", f.name, level, outcome)
			}
		}
		undo()
	}
	return covered
}

// runsRight is what coverage calls a case that loads.
const runsRight = "RUNS"

// check runs a case in one way, and says what came of it.
func check(t *testing.T, folder string, f form) string {
	t.Helper()
	for i, s := range f.sets {
		m, err := load(t, folder, f.models[min(i, len(f.models)-1)], s)
		if err != nil {
			if !errors.Is(err, native.ErrNotCovered) && !cannotBeServed(err) {
				t.Errorf("%s, %s: %v", f.name, cpu.Active(), err)
			}
			return reason(err)
		}
		what := fmt.Sprintf("%s, set %d, %s", f.name, i, cpu.Active())
		got, err := run(t.Context(), m, s)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		checkOutputs(t, what, f.example, s, m, got)
	}
	return runsRight
}

// checkOutputs compares what a case gave with what it should.
func checkOutputs(t *testing.T, what string, e *example, s set, m engine.Model, got []tensor.Tensor) {
	t.Helper()
	if len(got) != len(s.outputs) {
		t.Errorf("%s: %d outputs, want %d", what, len(got), len(s.outputs))
		return
	}
	relative, absolute := e.bounds()
	for i, out := range got {
		if how := differ(out, s.outputs[i], relative, absolute); how != "" {
			t.Errorf("%s: output %q %s", what, m.Signature().Outputs[i].Name, how)
		}
	}
}
