// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestNannyML compares the statistics that NannyML has too, chunk by chunk, on rows that
// shift more and more; ../testdata/golden_nannyml.py wrote the values. Its Jensen-Shannon
// is the distance in bits, the root of the divergence in nats over ln 2, and of numbers in
// bins that the reference makes: the counts in them are given.
func TestNannyML(t *testing.T) {
	var g struct {
		Numbers []struct {
			Reference, Current []float64
			Bins               [2][]int
			KS                 float64 `json:"kolmogorov_smirnov"`
			JensenShannon      float64 `json:"jensen_shannon"`
			Wasserstein        float64
		}
		Tables []struct {
			Reference, Current []int
			Chi2               float64
			JensenShannon      float64 `json:"jensen_shannon"`
			LInfinity          float64 `json:"l_infinity"`
		}
	}
	data, err := os.ReadFile("testdata/nannyml.json")
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil || len(g.Numbers) != 8 || len(g.Tables) != 4 {
		t.Fatalf("%d and %d chunks, %v", len(g.Numbers), len(g.Tables), err)
	}
	statistic := func(test Test, of func(Test, float64) (Result, error)) float64 {
		t.Helper()
		r, err := of(test, 0)
		if err != nil {
			t.Fatal(err)
		}
		return r.Statistic
	}
	check := func(i int, what string, got, want float64) {
		t.Helper()
		if !near(got, want, 1e-9) {
			t.Errorf("chunk %d: %s is %v, NannyML has %v", i, what, got, want)
		}
	}
	distance := func(divergence float64) float64 { return math.Sqrt(divergence / math.Ln2) }
	for i, c := range g.Numbers {
		n := NewReference(c.Reference).Against(c.Current)
		check(i, "KS", statistic(KS, n.Test), c.KS)
		check(i, "Wasserstein", n.Wasserstein(), c.Wasserstein)
		check(i, "Jensen-Shannon of numbers", distance(statistic(JensenShannon, Table{c.Bins[0], c.Bins[1]}.Test)), c.JensenShannon)
	}
	for i, c := range g.Tables {
		table := Table{c.Reference, c.Current}
		check(i, "chi-squared", statistic(ChiSquared, table.Test), c.Chi2)
		check(i, "Jensen-Shannon", distance(statistic(JensenShannon, table.Test)), c.JensenShannon)
		check(i, "L infinity", table.LInfinity(), c.LInfinity)
	}
}
