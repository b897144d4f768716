// SPDX-License-Identifier: Apache-2.0

package estimate

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// TestNannyML compares with NannyML's CBPE, chunk by chunk; ../testdata/golden_nannyml.py
// wrote the values. From the same chances realised metrics are the same, and estimates are
// but for one thing: NannyML lets a row be beside itself, as half a pair of a positive and
// a negative (AUC), and as positive by its own chance where it is known to be positive
// (average precision). By labels neither happens, and here neither is counted.
func TestNannyML(t *testing.T) {
	var g struct {
		Threshold float64
		Metrics   []Metric
		Sets      []struct {
			Chunks []struct{ Scores, Truth, Chances, Estimated, Realised []float64 }
		}
	}
	data, err := os.ReadFile("testdata/nannyml.json")
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for set, s := range g.Sets {
		for i, c := range s.Chunks {
			realised, err := Realised(c.Scores, c.Truth, g.Threshold)
			if err != nil {
				t.Fatal(err)
			}
			estimated := newSweep(c.Scores, g.Threshold).values(c.Chances)
			itself := besideItself(c.Scores, c.Chances, estimated)
			for j, m := range g.Metrics {
				compared++
				if !near(realised.Of(m), c.Realised[j], 1e-9) {
					t.Errorf("set %d, chunk %d: realised %s is %v, NannyML has %v", set, i, m, realised.Of(m), c.Realised[j])
				}
				// NannyML rounds sums to five places.
				if got := itself.Of(m); !near(got, c.Estimated[j], 2e-6) {
					t.Errorf("set %d, chunk %d: estimated %s is %v, NannyML has %v", set, i, m, got, c.Estimated[j])
				}
				if m == AUC && !near(estimated.Of(m), c.Estimated[j], 0.005) || m == AveragePrecision && !near(estimated.Of(m), c.Estimated[j], 0.03) {
					t.Errorf("set %d, chunk %d: %s is %v, and %v with rows beside themselves", set, i, m, estimated.Of(m), c.Estimated[j])
				}
			}
		}
	}
	if compared != 48 {
		t.Errorf("%d metrics were compared", compared)
	}
}

// besideItself is what estimates are if a row is beside itself, for scores without ties.
func besideItself(scores, chances []float64, v Values) Values {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if scores[a] > scores[b] {
			return -1
		}
		return 1
	})
	positives, noise, more := 0.0, 0.0, 0.0
	for rank, i := range order {
		p := chances[i]
		positives, noise, more = positives+p, noise+p*(1-p), more+p*(1-p)/float64(rank+1)
	}
	both := positives * (float64(len(scores)) - positives)
	v[0] = (v[0]*(both-noise) + noise/2) / both
	v[1] -= more / positives
	return v
}
