// SPDX-License-Identifier: Apache-2.0

package suite_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/bench/foreigntest"
	"github.com/millrace-ml/millrace/bench/suite"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
)

// TestQuickSuite runs every scenario against the real program. It asserts that
// everything is measured, and nothing about how fast it is.
func TestQuickSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and runs it for ten seconds")
	}
	backend := onnxrttest.Backend(t)
	t.Setenv(onnxrt.LibraryEnv, onnxrttest.Runtime(t).Library())
	t.Setenv("TMPDIR", t.TempDir())

	var measured []string
	r, err := suite.Serve(t.Context(), suite.Options{
		Binary: foreigntest.Build(t), Backend: backend, Source: "../..", Quick: true,
		Progress: func(text string) { measured = append(measured, text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(measured, " "), strings.Join(suite.ServeScenarios(), " "); got != want {
		t.Errorf("measured %s, want %s", got, want)
	}
	if len(r.Rows) != len(suite.ServeScenarios())+1 { // the swap has two
		t.Errorf("%d rows for %d scenarios", len(r.Rows), len(suite.ServeScenarios()))
	}
	for _, row := range r.Rows {
		if row.Value == nil {
			t.Errorf("%s: not measured: %s", row.Name, row.Note)
		} else if strings.HasSuffix(row.Name, "failed requests") && *row.Value != 0 {
			t.Errorf("%s: %g", row.Name, *row.Value)
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "millrace-bench-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestScenarioThatFailsLeavesItsRowUnmeasured(t *testing.T) {
	r, err := suite.Serve(t.Context(), suite.Options{
		Binary: filepath.Join(t.TempDir(), "nothing"), Backend: onnxrt.NewBackend(onnxrt.Options{}),
		Quick: true, Only: []string{"start", "unary"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 2 {
		t.Fatalf("rows are %+v, want two", r.Rows)
	}
	for _, row := range r.Rows {
		if row.Value != nil || row.Holds || !strings.Contains(row.Note, "no such file") {
			t.Errorf("the row is %+v", row)
		}
	}
}

func TestSuiteEndsWithItsContext(t *testing.T) {
	stopped := errors.New("stopped by hand")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	_, err := suite.Serve(ctx, suite.Options{Binary: "nothing", Backend: onnxrt.NewBackend(onnxrt.Options{}), Quick: true})
	if !errors.Is(err, stopped) {
		t.Errorf("the suite ended with %v", err)
	}
}

func TestInvalidOptions(t *testing.T) {
	_, err := suite.Serve(t.Context(), suite.Options{Only: []string{"unary", "none such"}})
	if !errors.Is(err, suite.ErrInvalidOptions) {
		t.Fatalf("error is %v", err)
	}
	for _, text := range []string{"no program", "no backend", `"none such"`} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is missing in: %v", text, err)
		}
	}
}

// TestQuickKernelSuite is TestQuickSuite for the suite of one core.
func TestQuickKernelSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and runs it for ten seconds")
	}
	backend := onnxrttest.Backend(t)
	t.Setenv(onnxrt.LibraryEnv, onnxrttest.Runtime(t).Library())
	t.Setenv("TMPDIR", t.TempDir())
	r, err := suite.Kernels(t.Context(), suite.Options{Binary: foreigntest.Build(t), Backend: backend, Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 25 {
		t.Errorf("%d rows, want 25", len(r.Rows))
	}
	for _, row := range r.Rows {
		if row.Value == nil && !strings.Contains(row.Note, errors.ErrUnsupported.Error()) {
			t.Errorf("%s: not measured: %s", row.Name, row.Note)
		}
	}
	encoded, err := json.Marshal(r.Details)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append(suite.KernelScenarios(), `"checksum"`, `"allocations_per_run"`, `"onnxruntime"`) {
		if !strings.Contains(string(encoded), text) {
			t.Errorf("%s is missing in the details", text)
		}
	}
}

func TestKernelSuiteWithoutItsPeer(t *testing.T) {
	backend := onnxrt.NewBackend(onnxrt.Options{Library: filepath.Join(t.TempDir(), "nothing")})
	r, err := suite.Kernels(t.Context(), suite.Options{Binary: "nothing", Backend: backend, Quick: true, Only: []string{"mlp", "dispatch"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 4 {
		t.Fatalf("rows are %+v, want four", r.Rows)
	}
	for _, row := range r.Rows[:3] {
		if row.Value != nil || row.Holds || row.Note == "" {
			t.Errorf("the row is %+v", row)
		}
	}
	if r.Rows[3].Value == nil {
		t.Errorf("the row is %+v", r.Rows[3])
	}
}

// Without published data and without XGBoost the rows that need them say so, and the
// others are measured.
func TestQuickLearnSuiteWithoutItsData(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r, err := suite.Learn(t.Context(), suite.Options{
		Binary: "nothing", Backend: onnxrt.NewBackend(onnxrt.Options{}), Source: t.TempDir(), Quick: true,
		Only: []string{"single", "tuned", "electricity", "trees", "evaluate"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 11 {
		t.Fatalf("%d rows, want 11", len(r.Rows))
	}
	for i, row := range r.Rows {
		switch {
		case i < 10 && (row.Value != nil || row.Holds || row.Note == ""):
			t.Errorf("the row is %+v", row)
		case i == 10 && row.Value == nil:
			t.Errorf("%s: not measured: %s", row.Name, row.Note)
		}
	}
}

// Without published data the rows that need it say so, and the simulated ones are measured.
func TestQuickLoopSuiteWithoutItsData(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r, err := suite.Loop(t.Context(), suite.Options{
		Binary: "nothing", Backend: onnxrt.NewBackend(onnxrt.Options{}), Source: t.TempDir(), Quick: true,
		Only: []string{"alarms", "shifts", "estimates", "margin", "errors"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 7 {
		t.Fatalf("%d rows, want 7", len(r.Rows))
	}
	for i, row := range r.Rows {
		if measured := i < 3; (row.Value != nil) != measured || (row.Note == "") != measured {
			t.Errorf("the row is %+v", row)
		}
	}
}
