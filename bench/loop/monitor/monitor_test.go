// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"os"
	"testing"

	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
)

const (
	transactionsFile = "../../../../shared/data/card-transactions/transactions.parquet"
	featuresFile     = "../../../examples/card-fraud/features.yaml"
)

// TestSmall runs all of it with a few windows, so that it cannot rot.
func TestSmall(t *testing.T) {
	rates, err := FalseAlarms(t.Context(), Options{Sizes: [][2]int{{60, 200}}, Windows: 50, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	again, err := FalseAlarms(t.Context(), Options{Sizes: [][2]int{{60, 200}}, Windows: 50, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[drift.Test]bool{}
	for i, r := range rates {
		if tests[r.Test] = true; r.Windows != 50 || r.Alarms > 5 || r != again[i] {
			t.Errorf("rate %+v, with one worker %+v", r, again[i])
		}
	}
	if len(tests) != 9 {
		t.Errorf("tests %v", tests)
	}
	shifts, err := Shifts(t.Context(), 3, []float64{0.5})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shifts {
		if s.Found != 3 {
			t.Errorf("shift %+v", s)
		}
	}
}

// TestAll prints the numbers; make bench-loop asks for it with MILLRACE_SIMULATION.
func TestAll(t *testing.T) {
	if os.Getenv("MILLRACE_SIMULATION") == "" {
		t.Skip("it takes minutes; MILLRACE_SIMULATION=1 asks for it")
	}
	if err := Print(t.Context(), os.Stdout, Options{Windows: 500, RowsMax: 5_000_000}, transactionsFile, featuresFile, t.TempDir()); err != nil {
		t.Fatal(err)
	}
}

// TestPayments holds the promise on the weeks of the published payments.
func TestPayments(t *testing.T) {
	if os.Getenv("MILLRACE_SIMULATION") == "" {
		t.Skip("it reads 1.75 million payments; MILLRACE_SIMULATION=1 asks for it")
	}
	if _, err := os.Stat(transactionsFile); err != nil {
		t.Skip("no card payments beside the checkout: ", err)
	}
	windows, err := Payments(t.Context(), transactionsFile, featuresFile, t.TempDir(), 7)
	if err != nil {
		t.Fatal(err)
	}
	off := 0.0
	for _, w := range windows {
		if !w.Unreliable {
			off += w.Error() / float64(len(windows))
		}
		if w.Rows < 60_000 || w.Positives < 500 || !(w.Low < w.Estimated && w.Estimated < w.High) {
			t.Errorf("week %+v", w)
		}
	}
	if len(windows) != 5 || off > ErrorMax {
		t.Errorf("the AUC of %d weeks is off by %.4f on average, want at most %v", len(windows), off, ErrorMax)
	}
}
