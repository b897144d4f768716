// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestGolden holds the tests of matured windows to statsmodels and SciPy, see
// testdata/golden.py. Those of AUC, Holm and Wilson are held in package interval.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Fell []struct {
			Counts [4]int
			P      float64
		}
		Below []struct{ Z, P float64 }
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	for _, g := range golden.Fell {
		c := g.Counts
		got := worse(float64(c[0])/float64(c[1]), float64(c[2])/float64(c[3]), c[1], c[3])
		if math.Abs(got-g.P) > 1e-9*math.Max(g.P, 1e-12) && math.Abs(got-g.P) > 1e-14 {
			t.Errorf("%v: p %v, want %v", c, got, g.P)
		}
	}
	for _, g := range golden.Below {
		if got := below(g.Z); math.Abs(got-g.P) > 1e-12*g.P {
			t.Errorf("below %v: %v, want %v", g.Z, got, g.P)
		}
	}
	if len(golden.Fell) < 5 || len(golden.Below) < 5 || below(math.NaN()) != 1 || worse(1, 1, 50, 50) != 1 {
		t.Error("there are too few golden values, or what is not known is no 1")
	}
}
