// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestGolden compares with SciPy; ../testdata/golden.py wrote the values.
func TestGolden(t *testing.T) {
	var golden struct {
		Numeric []struct {
			Reference, Current []float64
			KS                 float64 `json:"ks"`
			KSP                float64 `json:"ks_p"`
			CvMP               float64 `json:"cvm_p"`
			Wasserstein        float64
		}
		Tables []struct {
			Reference, Current []int
			PSI                float64 `json:"psi"`
			JensenShannon      float64 `json:"jensen_shannon"`
			G                  float64 `json:"g"`
			ChiSquared         float64 `json:"chi_squared"`
			ChiSquaredP        float64 `json:"chi_squared_p"`
		}
		Fisher []struct {
			Counts [4]int
			Mid    float64
		}
		P  []float64
		BH []float64 `json:"benjamini_hochberg"`
	}
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	for i, g := range golden.Numeric {
		n := NewReference(g.Reference).Against(g.Current)
		ks, err := n.Test(KS, 0)
		if err != nil {
			t.Fatal(err)
		}
		cvm, err := n.Test(CvM, 0)
		if err != nil {
			t.Fatal(err)
		}
		ties := i == 2
		// SciPy has no mid-p and no ties: its p is a little more, and much more with ties.
		if !near(ks.Statistic, g.KS, 1e-9) || ks.P > g.KSP || !ties && ks.P < 0.6*g.KSP {
			t.Errorf("%d: KS %v, p %v; SciPy has %v and %v", i, ks.Statistic, ks.P, g.KS, g.KSP)
		}
		if !ties && !near(cvm.P, g.CvMP, 0.06) {
			t.Errorf("%d: p of CvM %v, SciPy has %v", i, cvm.P, g.CvMP)
		}
		if w := n.Wasserstein(); !near(w, g.Wasserstein, 1e-9) {
			t.Errorf("%d: Wasserstein %v, SciPy has %v", i, w, g.Wasserstein)
		}
	}
	for i, g := range golden.Tables {
		table := Table{g.Reference, g.Current}
		for test, want := range map[Test]float64{PSI: g.PSI, JensenShannon: g.JensenShannon, GTest: g.G, ChiSquared: g.ChiSquared} {
			r, err := table.Test(test, 0)
			if err != nil || !near(r.Statistic, want, 1e-9) {
				t.Errorf("%d: %s %v, want %v (%v)", i, test, r.Statistic, want, err)
			}
			if test == ChiSquared && math.Abs(r.P-g.ChiSquaredP) > 0.03 {
				t.Errorf("%d: p of chi-squared %v, by 4000 permutations %v", i, r.P, g.ChiSquaredP)
			}
		}
	}
	for _, g := range golden.Fisher {
		if r, err := MissingRate(g.Counts[0], g.Counts[1], g.Counts[2], g.Counts[3]); err != nil || !near(r.P, g.Mid, 1e-7) {
			t.Errorf("%v: mid-p %v, want %v (%v)", g.Counts, r.P, g.Mid, err)
		}
	}
	for i, p := range BenjaminiHochberg(golden.P) {
		if !near(p, golden.BH[i], 1e-12) {
			t.Errorf("Benjamini-Hochberg of %d: %v, want %v", i, p, golden.BH[i])
		}
	}
}
